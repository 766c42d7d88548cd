"""What a command that is refused leaves in a sweep's folder. CPU, 1 s."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from ablate.config.errors import UserError
from ablate.records.locks import exclusive
from ablate.records.refused import undone_if_refused


def command(folder: Path, wrote: Sequence[str], opening: Sequence[str]) -> None:
    """Writes these files, and is refused."""
    with undone_if_refused(folder, *opening), exclusive(folder):
        for name in wrote:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("new")
        raise UserError("no")


def refused(folder: Path, *wrote: str, opening: Sequence[str] = ()) -> set[str]:
    """What lies there after a command that has written these files and is refused."""
    with pytest.raises(UserError, match="no"):
        command(folder, wrote, opening)
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_folders_that_were_made_for_it_are_gone(tmp_path: Path) -> None:
    assert refused(tmp_path / "results" / "a", "sweep.json") == set()
    assert not list(tmp_path.iterdir())
    (tmp_path / "results" / "b").mkdir(parents=True)
    assert refused(tmp_path / "results" / "a", "sweep.json", "study", opening=("study",)) == set()
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["b"]


def test_the_manifest_of_a_sweep_is_what_it_was(tmp_path: Path) -> None:
    for name in ("sweep.json", ".lock", "report.html"):
        (tmp_path / name).write_text("old")
    assert refused(tmp_path, "sweep.json") == {"sweep.json", ".lock", "report.html"}
    assert (tmp_path / "sweep.json").read_text() == "old"


@pytest.mark.parametrize("name", ["runs/1.json", "runs/2.json", "timings/a/1.json"])
def test_a_file_that_is_new_or_another_one_has_come_of_it(tmp_path: Path, name: str) -> None:
    """Whatever its folder looks like: that a file in it was made and deleted again does not count."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "timings" / "a").mkdir(parents=True)
    for there in ("sweep.json", "runs/1.json"):
        (tmp_path / there).write_text("old")

    def command() -> None:
        with undone_if_refused(tmp_path):
            (tmp_path / "sweep.json").write_text("new")
            (tmp_path / "runs" / "aside").touch()
            (tmp_path / "runs" / "aside").unlink()
            raise UserError("no")

    with pytest.raises(UserError, match="no"):
        command()
    assert (tmp_path / "sweep.json").read_text() == "old"
    refused(tmp_path, "sweep.json", name)
    assert (tmp_path / "sweep.json").read_text() == "new"


@pytest.mark.parametrize("is_new", [True, False])
def test_what_has_come_of_it_stays_with_the_manifest_that_says_so(tmp_path: Path, is_new: bool) -> None:
    folder = tmp_path / "a"
    if not is_new:
        (folder / "runs").mkdir(parents=True)
        (folder / "sweep.json").write_text("old")
    assert refused(folder, "sweep.json", "runs/1.json") == {"sweep.json", ".lock", "runs/1.json"}
    assert (folder / "sweep.json").read_text() == "new"


def test_a_folder_that_another_program_uses_is_left(tmp_path: Path) -> None:
    with ExitStack() as other:

        def command() -> None:
            with undone_if_refused(tmp_path):
                (tmp_path / "sweep.json").write_text("new")
                other.enter_context(exclusive(tmp_path))
                raise UserError("no")

        with pytest.raises(UserError, match="no"):
            command()
        assert (tmp_path / "sweep.json").exists()
