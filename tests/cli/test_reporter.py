"""The process that reports what a command has trained: what it does, and that the command manages without."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ablate.cli import reporter
from ablate.cli.entry import OWN_PROGRAM
from ablate.report.products import products

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are only used on Linux")

HERE = os.getpid()


@pytest.fixture(autouse=True)
def own_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("ablate.records.environment.cores", lambda: 2)
    monkeypatch.setattr(reporter, "can_fork", lambda: True)
    monkeypatch.setattr(reporter, "_trained", False)
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
        assert reporter.reported(Path("a"), True) is None  # it has not begun
        reporter.begin()
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
        reporter.begin()
        reporter.asleep()
        if when == "idle":
            assert reporter._reporter is not None
            reporter._reporter.process.join()  # it has waited for long enough
        assert reporter.reported(Path("a"), True) is None


def test_an_error_is_raised_by_the_command_itself() -> None:
    def wrong(folder: Path, pack: bool) -> int:
        raise ValueError(folder)

    with reporter.reporter(nothing, wrong):
        reporter.begin()
        assert reporter.reported(Path("a"), True) is None


def test_what_cannot_be_understood_is_the_commands_to_do() -> None:
    """As when two of its threads write into the pipe at once."""

    def garbles(folder: Path, pack: bool) -> int:
        told: Any = sys.stdout
        told.connection.send_bytes(b"no message")
        time.sleep(60)
        return 0

    with reporter.reporter(nothing, garbles):
        reporter.begin()
        assert reporter.reported(Path("a"), True) is None
        assert reporter._reporter is not None
        assert not reporter._reporter.process.is_alive()


def test_a_stop_leaves_nothing_that_was_begun(tmp_path: Path) -> None:
    """Also where an exception would be lost, as one is that is raised while an object is freed."""

    def draws() -> None:
        time.sleep(60)

    def goes_on(folder: Path, pack: bool) -> int:
        with products(folder) as files:
            drawer = multiprocessing.get_context("fork").Process(target=draws)
            drawer.start()
            files.write("runs.csv", str(drawer.pid))
            while True:
                with suppress(BaseException):
                    os.kill(HERE, signal.SIGUSR1)
                    time.sleep(60)

    def stop(*_: object) -> NoReturn:
        [made] = tmp_path.glob(".report-*/runs.csv")
        drawers.append(int(made.read_text()))
        raise KeyboardInterrupt

    drawers: list[int] = []
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with reporter.reporter(nothing, goes_on):
            reporter.begin()
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                reporter.reported(tmp_path, True)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - began < reporter.END_S
    assert not list(tmp_path.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(drawers[0], 0)


def test_what_it_says_is_in_order_with_what_the_other_stream_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both are one file, `> FILE 2>&1`, of which the first is written in blocks."""
    with (tmp_path / "both").open("a") as out, (tmp_path / "both").open("a", buffering=1) as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        with reporter.reporter(nothing, says):
            reporter.begin()
            assert reporter.reported(Path("a"), True) == 7
    assert (tmp_path / "both").read_text() == "a True False\na warning\n"


def test_none_once_anything_was_trained() -> None:
    with reporter.reporter(nothing, says):
        reporter.asleep()
        reporter.begin()
        assert reporter.reported(Path("a"), True) is None


SET: ContextVar[str] = ContextVar("set", default="nothing")


def test_what_the_words_of_the_command_set_is_not_set_there(capsys: pytest.CaptureFixture[str]) -> None:
    """As when `ablate report` is typed: a preset of --config-dir, say, is found while words are read alone."""

    def asks(folder: Path, pack: bool) -> int:
        print(SET.get())
        return 0

    before = SET.set("something")
    with reporter.reporter(nothing, asks):
        reporter.begin()
        assert reporter.reported(Path("a"), True) == 0
    SET.reset(before)
    assert capsys.readouterr().out == "nothing\n"


def test_none_in_a_program_of_others() -> None:
    OWN_PROGRAM.set(False)
    with reporter.reporter(nothing, says):
        reporter.begin()
        assert reporter.reported(Path("a"), True) is None


PROGRAM = """
import os, time
from ablate.cli import reporter
from ablate.cli.entry import OWN_PROGRAM
from ablate.records import environment

OWN_PROGRAM.set(True)
environment.cores = lambda: 2


def told():
    os.write(1, f"{os.getpid()}\\n".encode())


with reporter.reporter(told, lambda folder, pack: 0):
    reporter.begin()
    time.sleep(600)
"""


def test_it_ends_with_a_command_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        pid = int(command.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        command.kill()
        assert command.stdout.read() == ""  # nobody holds the other end of the pipe
