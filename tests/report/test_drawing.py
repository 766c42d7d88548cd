"""Figures drawn by several processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from ablate.report import drawing, material
from ablate.report.blocks import Attempts, unheard
from ablate.report.drawing import at_once
from ablate.report.material import gather

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    monkeypatch.setattr(drawing, "can_fork", lambda: True)


def process(*_: object) -> list[Path]:
    return [Path(str(os.getpid()))]


def test_jobs_are_done_in_other_processes_and_need_not_be_picklable() -> None:
    here = os.getpid()
    with at_once({"a": lambda: [Path(f"{here}-a")], "b": process}) as jobs:
        assert jobs["a"]() == [Path(f"{here}-a")]
        assert jobs["b"]() != process()


def test_of_one_core_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_once({"only": process}, own=1) as jobs:
        assert jobs["only"]() != process()
    with at_once({"only": process}, own=2) as jobs:
        assert jobs["only"]() == process()
    monkeypatch.setattr(drawing, "cores", lambda: 1)
    with at_once({"a": process, "b": process}) as jobs:
        assert jobs["a"]() == process()


def test_a_job_raises_what_it_raised_there_and_the_others_are_done() -> None:
    def strange() -> list[Path]:
        raise ValueError("a strange number")

    with at_once({"strange": strange, "sound": process}) as jobs:
        with pytest.raises(ValueError, match="a strange number"):
            jobs["strange"]()
        assert jobs["sound"]() != process()


def test_an_exception_ends_what_is_still_drawn(tmp_path: Path) -> None:
    """Ctrl-C comes when each process is in the middle of a figure that would take a minute."""
    began = time.monotonic()

    def slow(name: str) -> list[Path]:
        (tmp_path / name).touch()
        time.sleep(60)
        return []

    def stopped() -> None:
        with at_once({name: partial(slow, name) for name in "abcd"}):
            while len(list(tmp_path.iterdir())) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert time.monotonic() - began < 30
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    assert multiprocessing.active_children() == []


def test_what_a_killed_process_has_not_done_is_done_here() -> None:
    here = os.getpid()

    def killed_elsewhere() -> list[Path]:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return process()

    with at_once({"a": killed_elsewhere, "b": killed_elsewhere, "c": process}) as jobs:
        assert jobs["a"]() == jobs["b"]() == process()
        assert jobs["c"]()


PARENT = """
import os, time
from ablate.report import drawing

drawing.cores = lambda: 2


def job():
    os.write(1, f"{os.getpid()}\\n".encode())
    return []


with drawing.at_once({"a": job, "b": job}) as jobs:
    [one() for one in jobs.values()]
    time.sleep(600)
"""
"""A program that has drawn, and in which the processes that did wait for more."""


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="forks are only used on Linux")
def test_the_processes_end_with_a_program_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        drew = {int(parent.stdout.readline()) for _ in "ab"}
        parent.kill()
    end = time.monotonic() + 60
    while any(map(lives, drew)):
        assert time.monotonic() < end, "they wait for ever"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_another_process_finds_in_the_curves_is_what_is_found_here(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).parents[2] / "results" / "table15_rnn_lr"
    here = gather(folder, Attempts(unheard))
    assert "budgets" not in vars(here)
    monkeypatch.setattr(material, "MANY", 1)
    there = gather(folder, Attempts(unheard))
    assert_frame_equal(vars(there)["budgets"], here.budgets)
    assert len(here.budgets)
    assert there.warnings == here.warnings != []
