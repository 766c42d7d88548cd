"""Files are whole or absent, nothing else is left behind, and nothing else in the package writes. CPU, 2 s."""

import ast
import errno
import json
import os
import pickle
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from ablate.config.errors import OS_ERRORS, StorageError, UserError, os_reason, reason
from ablate.config.schema import PACKAGE_DIR
from ablate.data.cache import data_dir
from ablate.records import files
from ablate.records.files import (
    cache_folder,
    entries,
    present,
    replacing,
    user_folder,
    write_atomically,
    write_csv,
    write_json,
    write_text,
)


def test_it_makes_the_folder_and_leaves_only_the_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b.txt", b"one")
    write_atomically(tmp_path / "a" / "b.txt", b"two")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"two"
    assert os.listdir(tmp_path / "a") == ["b.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_where_it_is_cut_short_the_old_content_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "b.txt"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["b.txt"]


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    """What lies beside the target must not be the longer for it."""
    path = tmp_path / ("x" * 255)
    write_text(path, "whole")
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(StorageError, match="too long"):
        write_text(tmp_path / ("x" * 256), "whole")
    assert os.listdir(tmp_path) == [path.name]


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    """One of the contents is there at the end, whole, and no write fails."""
    contents = [str(number) * 100_000 for number in range(4)]
    failed: list[BaseException] = []

    def write(content: str) -> None:
        try:
            for _ in range(10):
                write_text(tmp_path / "a.txt", content)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert (tmp_path / "a.txt").read_text() in contents
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_mode_follows_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_what_fails_while_it_is_made_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ValueError, match="odd"), replacing(tmp_path / "a.txt") as file:  # noqa: PT012
        file.write(b"half")
        raise ValueError("odd")
    assert (tmp_path / "a.txt").read_text() == "old"
    with replacing(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_frames_and_json(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", pd.DataFrame({"a": [1, 2], "b": ["x", None]}))
    assert (tmp_path / "a.csv").read_bytes() == b"a,b\n1,x\n2,\n"
    write_json(tmp_path / "a.json", {"a": float("nan"), "b": (1, "é")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": None, "b": [1, "é"]}


# --- errors of the operating system ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_an_error_of_the_disk_is_one_line_with_the_path_and_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))  # as of a write: without a path

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError) as caught:
        write_text(tmp_path / "a.txt", "x")
    what, remedy = OS_ERRORS[number]
    assert isinstance(caught.value, UserError)
    assert caught.value.errno == number
    for part in (str(tmp_path / "a.txt"), what, remedy):
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert reason(caught.value) == str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # figures are drawn in other processes


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    for path in (tmp_path / "results" / "a.txt", tmp_path / "results" / "deeper" / "a.txt"):
        with pytest.raises(StorageError) as caught:
            write_text(path, "x")
        assert str(tmp_path / "results") in str(caught.value)
        assert "file" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (OSError(), ["OSError"]),
        (OSError("a plugin's own words"), ["a plugin's own words"]),
        (OSError(123_456, "odd", "x.txt"), ["x.txt", "odd"]),
        (PermissionError(errno.EACCES, "…", b"caf\xe9.txt"), ["caf", "permission denied"]),
        (FileNotFoundError(errno.ENOENT, "…", "x" * 5_000), ["xxx…xxx", "no such file"]),
    ],
)
def test_every_error_has_a_line(error: OSError, parts: list[str]) -> None:
    line = os_reason(error)
    assert len(line.splitlines()) == 1
    assert len(line) < 400
    for part in parts:
        assert part in line


# --- what can be read -------------------------------------------------------------------------------------


def test_what_is_present(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert present(tmp_path / "a.txt") == "file"
    assert present(tmp_path) == "folder"
    for name in ("nowhere", "a.txt/deeper", "loop", "loop/deeper", "dangling", "x" * 300, "a\0b", "pipe"):
        assert present(tmp_path / name) is None, name
        assert entries(tmp_path / name) == []
    assert [path.name for path in entries(tmp_path)] == ["a.txt", "dangling", "loop", "pipe"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.EIO, errno.ENAMETOOLONG])
def test_what_the_system_refuses_to_show_is_not_present(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        patch.setattr(os, "listdir", refuse)
        patch.setattr(os, "scandir", refuse)
        assert present(tmp_path) is None
        assert entries(tmp_path) == []
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # may be seen, but not read
    assert present(tmp_path) is None


# --- nothing else writes ----------------------------------------------------------------------------------

MAY_WRITE = {
    "records/files.py": "what all others write with",
    "records/locks.py": "an empty file to hold",
    "cli/entry.py": "os.devnull, in the place of a stream that is closed or full",
    "export/tabular.py": "Parquet and Excel workbooks in memory, which are then moved into place",
    "sweeping/devices.py": "to the standard input of a process",
    "timing/process.py": "its answers, to the process that asks",
    "engines/cohort/native/build.py": "a compiler writes the library itself, into a folder that is moved into place",
}
WRITING = {"write_text", "write_bytes", "to_feather", "to_parquet", "to_pickle", "to_excel", "to_hdf", "symlink_to"}
WRITING_OF_OS = {"open", "fdopen", "replace", "rename", "link", "symlink"}
OPENING = {"open", "fdopen", "NamedTemporaryFile", "TemporaryFile"}
INTO = {
    **dict.fromkeys(("to_csv", "to_json", "to_latex", "to_markdown", "to_html", "to_string"), 0),
    **dict.fromkeys(("savefig", "print_png", "print_svg", "print_pdf", "tofile"), 0),
    **dict.fromkeys(("dump", "safe_dump", "save", "copyfile", "copy", "copy2", "copytree", "move"), 1),
}
"""Calls that write, and which of their arguments tells where."""
MODULES = {"json", "yaml", "pickle", "np", "numpy", "torch", "shutil", "OmegaConf"}
"""Whose `dump`, `save`, `copy` and `move` are meant."""
PATH_KEYWORDS = {"path", "path_or_buf", "buf", "fname", "stream", "fp", "f", "file"}


def writes(tree: ast.Module) -> Iterator[str]:
    """Every call that writes to a path; to a buffer, whose name is `file`, `content` or `buffer`, is not one."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "ablate.records.files"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(getattr(node.func, "value", None), "id", "")
        where = f"line {node.lineno}: {owner}.{name}"
        literals = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        literals += [str(k.value.value) for k in node.keywords if k.arg == "mode" and isinstance(k.value, ast.Constant)]
        if name in imported:
            continue
        opened = name in OPENING and any(set(text) <= set("rwxabt+") and set(text) & set("wxa+") for text in literals)
        if opened or name in WRITING or (owner == "os" and name in WRITING_OF_OS):
            yield where
        elif name in INTO and (INTO[name] == 0 or owner in MODULES):
            targets = node.args[INTO[name] : INTO[name] + 1]
            targets += [k.value for k in node.keywords if k.arg in PATH_KEYWORDS]
            if any(getattr(target, "id", None) not in ("file", "content", "buffer") for target in targets):
                yield where


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text('x')",
        "path.open('w')",
        "open(path, mode='ab')",
        "frame.to_csv(path, index=False)",
        "frame.to_csv(path_or_buf=path)",
        "figure.savefig(path, dpi=150)",
        "json.dump(value, path.open())",
        "yaml.safe_dump(value, stream=target)",
        "OmegaConf.save(config, path)",
        "torch.save(state, path)",
        "os.replace(a, b)",
        "shutil.copy2(a, b)",
    ],
)
def test_the_scan_sees_every_way_of_writing(line: str) -> None:
    assert len(list(writes(ast.parse(line)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from ablate.records.files import write_text\nwrite_text(path, 'x')",
        "frame.to_csv(index=False)",
        "text.replace('a', 'b')",
        "figure.savefig(file, dpi=150)",
        "torch.save(state, content)",
        "yaml.safe_dump(body, sort_keys=False)",
        "path.open('rb')",
        "storage.save(a, b)",
        "json.dumps(value)",
    ],
)
def test_the_scan_lets_the_rest_pass(line: str) -> None:
    assert list(writes(ast.parse(line))) == []


@pytest.mark.full
def test_nothing_else_writes() -> None:
    """A table that is written in place is torn where the disk is full. Write with ablate.records.files."""
    sources = {str(path.relative_to(PACKAGE_DIR)): path for path in sorted(PACKAGE_DIR.rglob("*.py"))}
    others = {name: path.read_text(encoding="utf-8") for name, path in sources.items() if name not in MAY_WRITE}
    found = {name: list(writes(ast.parse(text))) for name, text in others.items()}
    assert {name: places for name, places in found.items() if places} == {}


# --- where a user's files are kept ------------------------------------------------------------------------


def test_a_user_without_a_home_has_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container a process may run under a number that has no name, and without HOME."""

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("ABLATE_DATA_DIR", raising=False)
    assert data_dir() == cache_folder()
    assert cache_folder().parent == user_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ablate"
    monkeypatch.setenv("ABLATE_DATA_DIR", "~no-such-user-here/data")
    assert data_dir() == Path("~no-such-user-here/data")  # as a shell takes it


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
def test_a_home_that_can_be_none_has_its_cache_elsewhere(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a message says to put there can be put there."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "file").write_text("")
    for path in ("file", "file/below"):
        monkeypatch.setenv(variable, str(tmp_path / path))
        assert cache_folder() == user_folder() / "ablate-cache"
    for path in (".", "not/there/yet"):
        monkeypatch.setenv(variable, str(tmp_path / path))
        assert cache_folder().is_relative_to(tmp_path)


def test_a_cache_that_can_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ablate").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    assert cache_folder() == tmp_path / "ablate"
    assert cache_folder(writable=True) == user_folder() / "ablate-cache"


def test_what_a_killed_write_has_left_goes_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / "runs" / ".mine.tmp", tmp_path / "runs" / "a.json", tmp_path / ".0123456789abcdef.tmp.bak"]
    left = [tmp_path / ".0123456789abcdef.tmp", tmp_path / "runs" / ".fedcba9876543210.tmp"]
    (tmp_path / "runs").mkdir()
    for path in (*kept, *left):
        path.touch()
    files.remove_unfinished(tmp_path)
    assert [path.exists() for path in kept] == [True] * 3
    assert [path.exists() for path in left] == [False] * 2


@pytest.mark.parametrize("times", [1, files.TRIES - 1])
def test_who_writes_while_others_clear_up_writes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """As two searches do that share a folder, of which one packs its records."""
    replace, left = os.replace, [*range(times)]

    def cleared(source: Path, target: Path) -> None:
        if left:
            left.pop()
            files.remove_unfinished(tmp_path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", cleared)
    files.write_text(tmp_path / "search.json", "{}")
    assert not left
    assert [path.name for path in tmp_path.iterdir()] == ["search.json"]
    assert (tmp_path / "search.json").read_text() == "{}"


def test_a_file_is_written_under_a_name_that_is_found_where_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(os, "replace", lambda aside, path: seen.append(Path(aside).name))
    files.write_atomically(tmp_path / "a", b"")
    assert files.UNFINISHED.fullmatch(seen[0])


def test_folders_that_are_not_absolute_count_as_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a lock of the machine would be another one in each working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, ".")
    assert user_folder().is_absolute()
    assert cache_folder() == tmp_path / ".cache" / "ablate"
