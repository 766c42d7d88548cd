"""Figures drawn by several processes."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from ablate.report import drawing
from ablate.report.drawing import at_once

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    monkeypatch.setattr(drawing, "_can_fork", lambda: True)


def process(*_: object) -> list[Path]:
    return [Path(str(os.getpid()))]


def test_jobs_are_done_in_other_processes_and_need_not_be_picklable() -> None:
    here = os.getpid()
    with at_once({"a": lambda: [Path(f"{here}-a")], "b": process}) as jobs:
        assert jobs["a"]() == [Path(f"{here}-a")]
        assert jobs["b"]() != process()


def test_one_job_or_one_core_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_once({"only": process}) as jobs:
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
