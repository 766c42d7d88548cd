"""How commands begin and end: streams that fail, signals, threads, errors of the system. CPU, 2 s."""

import errno
import gc
import io
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.cli.entry import OWN_PROGRAM, STOPPED, answer, loading
from ablate.config.errors import UserError, nearest


class Failing(io.StringIO):
    """A stream on a full disk, or whose reader has gone."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def prints(status: int = 0) -> Callable[[], int]:
    def work() -> int:
        print("a table")
        return status

    return work


@pytest.mark.parametrize(
    ("number", "status", "expected"), [(errno.EPIPE, 0, 0), (errno.ENOSPC, 0, 1), (errno.ENOSPC, 130, 130)]
)
def test_output_that_cannot_be_written_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, status: int, expected: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(number))
    assert answer(prints(status)) == expected
    told = capsys.readouterr().err
    assert ("standard output" in told) == (number != errno.EPIPE)


def test_an_ascii_terminal_gets_what_it_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))

    def work() -> int:
        print("3.1 ± 0.2")
        return 0

    assert answer(work) == 0
    assert raw.getvalue() == b"3.1 ? 0.2\n"


def test_no_output_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python makes of `>&-`."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert answer(prints()) == 0


def fails(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.usefixtures("errors_are_ours")
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (UserError("lr is -1"), "lr is -1"),
        (PermissionError(errno.EACCES, "Permission denied", "results/x"), "results/x: permission denied; change who"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000), "name=NAME"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; free some space"),
        (OSError(errno.EROFS, "Read-only", "a", None, "b"), "a and b: the disk is read-only; use another folder"),
        (OSError(errno.EDQUOT, "Quota", b"results/\xff"), "quota is used up; free some space"),
        (OSError(errno.ENXIO, "No such device"), "No such device"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "too little memory; free some"),
        (MemoryError(), "too little memory; free some"),
        (MemoryError("Unable to allocate 9 TiB"), "too little memory (Unable to allocate 9 TiB); free some"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error 12"),
            "too little memory (tried to allocate 9 bytes); free some",
        ),
        (RuntimeError("Could not determine home directory."), "HOME"),
    ],
)
def test_what_a_person_can_put_right_is_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception, says: str
) -> None:
    assert answer(fails(error)) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("ablate: ")
    assert says in line
    assert len(line) < 400


@pytest.mark.usefixtures("errors_are_ours")
def test_an_error_of_ours_is_no_mistake_of_theirs() -> None:
    with pytest.raises(ZeroDivisionError):
        answer(fails(ZeroDivisionError()))


def test_without_a_home_matplotlib_keeps_its_fonts_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    seen: list[str | None] = []

    def work() -> int:
        seen.append(os.environ.get("MPLCONFIGDIR"))
        return 0

    (tmp_path / "file").write_text("")
    for home in (tmp_path, tmp_path / "file"):
        monkeypatch.setenv("HOME", str(home))
        assert answer(work) == 0
        assert "MPLCONFIGDIR" not in os.environ
    assert seen[0] is None
    assert str(seen[1]).endswith("matplotlib")
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    assert answer(work) == 0
    assert seen[2] == "mine" == os.environ["MPLCONFIGDIR"]


def test_a_stop_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(fails(KeyboardInterrupt())) == STOPPED
    assert "stopped" in capsys.readouterr().err


def test_handlers_are_as_before_and_nothing_is_needed_of_the_main_thread() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(answer(prints(1))))
    thread.start()
    thread.join()
    assert found == [1]
    assert answer(prints()) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_main_in_a_thread_leaves_the_process_as_it_was(main: Any, small_arguments: list[str]) -> None:
    argv, environment = list(sys.argv), dict(os.environ)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(main("--cfg", "job", *small_arguments)))
    thread.start()
    thread.join()
    assert found[0].status == 0
    assert main("--cfg", "job", "num_hiddens=many").status == 2
    assert sys.argv == argv
    assert dict(os.environ) == environment


def test_info_does_not_make_later_commands_talk(main: Any, small_arguments: list[str]) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    assert "Hydra" in main("--info=plugins", *small_arguments).out
    assert (root.level, root.handlers) == before


@pytest.mark.full
def test_torch_computes_with_as_many_threads_as_before(main: Any, small_arguments: list[str]) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert main(*small_arguments, "engine=torch_nn").status == 0
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


THIRD = """
import os, signal
from ablate.cli.entry import run_program
def command():
    for _ in range(3):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            print("heard", flush=True)
    return 0
run_program(command)
"""


def test_the_third_stop_ends_at_once(program_environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THIRD], env=program_environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (130, ["heard", "heard"], "")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("table12", "table12_rnn"),
        ("rnn", "table12_rnn"),
        ("gruu", "gru"),
        ("gr", "gru or gru-no-reset"),
        ("tabel12_rnn", "table12_rnn"),
    ],
)
def test_the_nearest_choice(value: str, found: str) -> None:
    assert nearest(value, ["gru", "gru-no-reset", "table12_rnn", "lstm"]) == f"; did you mean {found}?"


def test_nothing_is_near() -> None:
    assert nearest("xyz", ["gru"]) == nearest("", ["gru"]) == ""


def test_no_garbage_is_looked_for_while_a_program_of_its_own_loads_modules() -> None:
    def stopped() -> None:
        with loading():
            assert not gc.isenabled()
            raise KeyboardInterrupt

    token = OWN_PROGRAM.set(True)
    try:
        with pytest.raises(KeyboardInterrupt):
            stopped()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        OWN_PROGRAM.reset(token)
        gc.unfreeze()


def test_the_garbage_of_a_program_of_others_is_its_own() -> None:
    with loading():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_line_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A name may hold line ends, and what colours a terminal or clears it."""

    def work() -> int:
        raise UserError("there is no a\nb\x1b[2Jc\rd; choose ü")

    assert answer(work) == 2
    assert capsys.readouterr().err == "ablate: there is no a\\nb\\x1b[2Jc\\rd; choose ü\n"
