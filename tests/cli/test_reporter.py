"""The process that reports what a command has trained: what it does, and that the command manages without."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.cli import reporter
from ablate.cli.entry import OWN_PROGRAM
from ablate.config import plugins

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are only used on Linux")

HERE = os.getpid()


@pytest.fixture(autouse=True)
def own_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(reporter, "cores", lambda: 2)
    monkeypatch.setattr(reporter, "can_fork", lambda: True)
    before = OWN_PROGRAM.set(True)
    yield
    OWN_PROGRAM.reset(before)


def nothing() -> None:
    pass


def says(folder: Path, pack: bool) -> int:
    print(f"{folder.name} {pack} {os.getpid() == HERE}")
    print("a warning", file=sys.stderr)
    return 7


def test_it_reports_as_the_command_would(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter.reporter(nothing, says):
        reporter.asleep()
        assert [reporter.reported(Path(name), pack) for name, pack in (("a", True), ("b", False))] == [7, 7]
    assert capsys.readouterr() == ("a True False\nb False False\n", "a warning\n" * 2)
    assert reporter.reported(Path("c"), True) is None  # there is none any more


@pytest.mark.parametrize("when", ["loading", "reporting", "idle"])
def test_what_it_cannot_do_is_the_commands(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    monkeypatch.setattr(reporter, "KEPT_S", 0.0 if when == "idle" else 60.0)
    load = killed if when == "loading" else nothing
    with reporter.reporter(load, killed if when == "reporting" else says):
        reporter.asleep()
        assert reporter.reported(Path("a"), True) is None


def test_an_error_is_raised_by_the_command_itself() -> None:
    def wrong(folder: Path, pack: bool) -> int:
        raise ValueError(folder)

    with reporter.reporter(nothing, wrong):
        assert reporter.reported(Path("a"), True) is None


def test_files_of_a_persons_own_are_not_executed_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plugins.LOADED, Path("mine.py"), "hash")
    with reporter.reporter(nothing, says):
        assert reporter.reported(Path("a"), True) is None


def test_none_in_a_program_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    OWN_PROGRAM.set(False)
    with reporter.reporter(nothing, says):
        assert reporter.reported(Path("a"), True) is None


def test_a_stop_lets_it_tidy_up(tmp_path: Path) -> None:
    begun, tidy = tmp_path / "begun", tmp_path / "tidy"

    def slow(folder: Path, pack: bool) -> int:
        try:
            begun.touch()
            os.kill(HERE, signal.SIGINT)
            time.sleep(60)
        finally:
            tidy.touch()
        return 0

    with pytest.raises(KeyboardInterrupt), reporter.reporter(nothing, slow):
        reporter.reported(tmp_path, True)
    assert begun.exists()
    assert tidy.exists()


PROGRAM = """
import os, time
from ablate.cli import reporter
from ablate.cli.entry import OWN_PROGRAM

OWN_PROGRAM.set(True)
reporter.cores = lambda: 2


def told():
    os.write(1, f"{os.getpid()}\\n".encode())


with reporter.reporter(told, lambda folder, pack: 0):
    time.sleep(600)
"""


def test_it_ends_with_a_command_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        pid = int(command.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        command.kill()
        assert command.stdout.read() == ""  # nobody holds the other end of the pipe
