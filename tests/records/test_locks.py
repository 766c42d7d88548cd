"""Locks: "in use" where another truly holds one, and only there; a place that nobody else can block. CPU, 1 s."""

import errno
import fcntl
import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from ablate.cli.status import in_use
from ablate.config.errors import StorageError, UserError
from ablate.records import compaction, locks
from ablate.records.files import user_folder
from ablate.records.locks import InUse, exclusive, held, held_on_machine
from ablate.searching.finale import alone
from ablate.timing.machine import quality_jobs, speed_lane

NO_LOCKS = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO]


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A file system whose locks answer with an error."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("portalocker.portalocker.LOCKER", refuse)


def test_who_may_hold_a_lock_with_whom(tmp_path: Path) -> None:
    path, said = tmp_path / "lock", list[str]()
    for first, second in ((False, False), (False, True), (True, False), (True, True)):
        with held(path, "…", shared=first, say=said.append) as locked:
            assert locked
            if first and second:
                with held(path, "…", shared=second, say=said.append):
                    pass
            else:
                with pytest.raises(InUse), held(path, "…", shared=second, say=said.append):
                    pass
    with held(path, "…"):  # nobody has it any more
        pass
    assert said == []


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_sweep_of_which_a_part_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    """So that no command writes outside of a folder that somebody else has made; the folder itself may be a link."""
    for place in ("elsewhere", "sweep/own", "disk"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "sweep" / "linked").symlink_to("own")
    (tmp_path / "linked").symlink_to(tmp_path / "disk")
    with exclusive(tmp_path / "sweep"), exclusive(tmp_path / "linked"):
        pass
    (tmp_path / "sweep" / "runs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"runs is a link to .*elsewhere"), exclusive(tmp_path / "sweep"):
        pass


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES])
def test_what_a_held_lock_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("portalocker.portalocker.LOCKER", refuse)
    with pytest.raises(InUse), held(tmp_path / "lock", "…"):
        pass


@pytest.mark.parametrize("no_locks", NO_LOCKS, indirect=True)
def test_where_there_are_no_locks_one_line_says_so(
    tmp_path: Path, no_locks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """And everything goes on: the sweep, the finale of a search, the speed lane."""
    said = list[str]()
    with held(tmp_path / "lock", "the harm", say=said.append) as locked:
        assert not locked
    assert len(said) == 1
    assert "the harm" in said[0]
    assert str(tmp_path) in said[0]
    with exclusive(tmp_path / "sweep"), alone(tmp_path) as first, quality_jobs(), speed_lane():
        assert first
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("warning:") for line in lines] == [True] * 4
    assert not any("in use" in line or "is measuring" in line for line in lines)


def test_what_is_in_use_is_said_to_be(tmp_path: Path) -> None:
    with exclusive(tmp_path / "sweep"):
        with pytest.raises(UserError, match="in use"), exclusive(tmp_path / "sweep"):
            pass
        with pytest.raises(UserError, match="in use"), exclusive(tmp_path / "sweep", shared=True):
            pass
    with exclusive(tmp_path / "sweep", shared=True), exclusive(tmp_path / "sweep", shared=True):
        pass
    with alone(tmp_path) as first, alone(tmp_path) as second:
        assert (first, second) == (True, False)
    with quality_jobs(), quality_jobs(), pytest.raises(UserError, match="training"), speed_lane():
        pass
    with speed_lane(), pytest.raises(UserError, match="measuring"), quality_jobs():
        pass


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("there", [(), ("results",), ("results", "results/a"), ("results", "results/a", "results/a/x")])
def test_what_is_refused_leaves_nothing(tmp_path: Path, there: tuple[str, ...], shared: bool) -> None:
    """Neither a lock nor a folder that was made for it; what somebody else has put there stays."""
    for name in there:
        (tmp_path / name).mkdir()

    def left() -> set[str]:
        return {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}

    with pytest.raises(UserError, match="no"), exclusive(tmp_path / "results" / "a", shared):
        raise UserError("no")
    assert left() == {*there}
    with exclusive(tmp_path / "results" / "a", shared):
        pass
    with pytest.raises(UserError, match="no"), exclusive(tmp_path / "results" / "a", shared):
        raise UserError("no")
    assert "results/a/.lock" in left(), "it was there before"


def test_a_refused_command_leaves_the_lock_that_another_holds(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a", shared=True):
        with pytest.raises(UserError, match="no"), exclusive(tmp_path / "a", shared=True):
            raise UserError("no")
        with pytest.raises(UserError, match="in use"), exclusive(tmp_path / "a"):
            pass
    assert (tmp_path / "a" / ".lock").exists()


@pytest.mark.parametrize("name", ["x" * 300, "file/lock", "link"])
def test_a_lock_that_cannot_be_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "file")  # would lock, and could truncate, what is not ours
    with pytest.raises(StorageError), held(tmp_path / name, "…"):
        pass


def test_a_file_of_another_user_can_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that a group shares the lock may be a file that only its maker can write to."""
    (tmp_path / "lock").write_text("")
    (tmp_path / "lock").chmod(0o444)
    opening = os.open

    def refuse(path: Path, flags: int, *mode: int) -> int:  # as for anybody but root
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opening(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with held(tmp_path / "lock", "…") as locked:
        assert locked
        with pytest.raises(InUse), held(tmp_path / "lock", "…"):
            pass


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize(("folder", "lock"), [(0o755, 0o600), (0o775, 0o660), (0o777, 0o666), (0o700, 0o600)])
def test_those_alone_can_hold_a_lock_who_can_write_beside_it(tmp_path: Path, folder: int, lock: int) -> None:
    """Whoever can open a file can lock it, and so keep everybody else from working there."""
    tmp_path.chmod(folder)
    (tmp_path / "of before").touch(0o644)
    before = os.umask(0o022)
    try:
        for name in ("new", "of before"):
            with held(tmp_path / name, "…") as locked:
                assert locked
            assert (tmp_path / name).stat().st_mode & 0o777 == lock
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a folder to another group")
@pytest.mark.parametrize("member", [True, False])
def test_the_group_that_shares_a_folder_can_hold_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: bool
) -> None:
    """A file has the group of its maker; one who is not in the folder's cannot give it to that."""

    def refuse(*_: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    os.chown(tmp_path, -1, 987_654)
    tmp_path.chmod(0o775)
    if not member:
        monkeypatch.setattr(os, "fchown", refuse)
    with held(tmp_path / "lock", "…") as locked:
        assert locked
    made = (tmp_path / "lock").stat()
    assert (made.st_gid == 987_654, made.st_mode & 0o777) == ((True, 0o660) if member else (False, 0o664))


def test_a_look_whether_a_folder_is_in_use_stands_in_nobodys_way(tmp_path: Path) -> None:
    """`ablate status` holds the lock for a moment: whoever begins to train then waits for so long."""
    with ExitStack() as looks:
        looks.enter_context(held(tmp_path / ".lock", "…"))
        threading.Timer(0.05, looks.pop_all().close).start()
        with exclusive(tmp_path):
            pass


@pytest.mark.skipif(os.name == "nt", reason="a file that is open cannot be deleted")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_that_was_deleted_before_it_was_held_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """Or the next program would hold another file of that name at the same time."""
    path, opened, times = tmp_path / ".lock", locks._opened, list[Path]()

    def open_and_lose(path: Path) -> int:
        descriptor = opened(path)
        times.append(path)
        if len(times) == 1:
            path.unlink()
            if replaced:
                path.touch()
        return descriptor

    monkeypatch.setattr(locks, "_opened", open_and_lose)
    with held(path, "…") as locked:
        assert locked
        with pytest.raises(InUse), held(path, "…"):
            pass
    assert len(times) == 3


def test_a_file_system_that_numbers_files_anew_has_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "samestat", lambda one, other: False)
    with held(tmp_path / ".lock", "…") as locked:
        assert locked
        with pytest.raises(InUse), held(tmp_path / ".lock", "…"):
            pass


def test_a_folder_that_was_deleted_meanwhile_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a command that was refused, and leaves nothing."""
    opened, times = locks._opened, list[Path]()

    def lose_and_open(path: Path) -> int:
        times.append(path)
        if len(times) == 1:
            path.parent.rmdir()
        return opened(path)

    monkeypatch.setattr(locks, "_opened", lose_and_open)
    with exclusive(tmp_path / "a"):
        assert (tmp_path / "a" / ".lock").exists()


def test_nor_in_the_way_of_a_sweep_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = list[Path]()
    monkeypatch.setattr(compaction, "compact", packed.append)
    with ExitStack() as looks:
        looks.enter_context(held(tmp_path / ".lock", "…"))
        threading.Timer(0.05, looks.pop_all().close).start()
        compaction.compacted(tmp_path)
    assert packed == [tmp_path]


def test_whether_a_folder_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_use(tmp_path) is False
    with exclusive(tmp_path):
        assert in_use(tmp_path) is True
    assert in_use(tmp_path) is False

    def refuse(path: Path, *_: int) -> int:  # as for a colleague who may read alone
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    assert in_use(tmp_path) is None


# --- the lock of the machine -------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like /tmp, in which others could have made what they like; no runtime folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    return tmp_path


def own(folder: Path) -> Path:
    os.chown(folder, 987_654, -1) if os.geteuid() == 0 else None
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("trap", ["of another user", "open to all", "link", "file", "dangling link"])
def test_a_place_that_others_could_block_is_not_taken(temporary: Path, trap: str) -> None:
    folder = temporary / "ablate-987654"
    match trap:
        case "of another user":
            folder.mkdir(mode=0o700)
        case "open to all":
            folder.mkdir()
            own(folder).chmod(0o777)
        case "link":
            (temporary / "real").mkdir(mode=0o700)
            folder.symlink_to(own(temporary / "real"))
        case "file":
            folder.write_text("")
        case "dangling link":
            folder.symlink_to(temporary / "nowhere-either")
    with pytest.raises(StorageError):
        user_folder()
    said = list[str]()
    with held_on_machine("ablate", "the harm", say=said.append) as locked:
        assert not locked
    assert len(said) == 1
    assert "ablate-987654" in said[0]
    assert "the harm" in said[0]


def test_the_runtime_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert user_folder() == runtime
    runtime.chmod(0o777)
    assert user_folder() != runtime


def test_no_lock_of_other_users_stands_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that all users once shared may be held by anyone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (tmp_path / "ablate-machine.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with speed_lane():
            pass
