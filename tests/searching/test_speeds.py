"""Waiting for the machine, in a search by tokens per second: for what passes, and not for what does not. CPU, 1 s."""

import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ablate.cli import main
from ablate.config.errors import UserError
from ablate.searching import speeds
from ablate.timing.machine import MachineInUse, quality_jobs, speed_lane


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Exception | None]:
    """What the speed lane raises, one time after the other; None: it has measured."""
    left: list[Exception | None] = []

    def measure(*_: Any) -> bool:
        if (error := left.pop(0)) is not None:
            raise error
        return True

    monkeypatch.setattr(speeds, "time_missing", measure)
    monkeypatch.setattr(speeds, "WAIT_S", 0.01)
    return left


def test_a_machine_in_use_is_waited_for_and_said_once(answers: list[Exception | None], tmp_path: Path) -> None:
    answers += [MachineInUse("another ablate trains"), MachineInUse("another ablate trains"), None]
    said = list[str]()
    speeds.time_when_free(tmp_path, [], 1.0, said.append, threading.Event())
    assert said == ["waiting for the speed lane: another ablate trains"]
    assert answers == []


def test_what_does_not_pass_is_not_waited_for(answers: list[Exception | None], tmp_path: Path) -> None:
    answers += [UserError("this job of SLURM shares its node"), None]
    with pytest.raises(UserError, match="shares its node"):
        speeds.time_when_free(tmp_path, [], 1.0, lambda _: None, threading.Event())
    assert len(answers) == 1


def test_a_search_that_stops_waits_no_longer(answers: list[Exception | None], tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    answers += [MachineInUse("another ablate trains")]
    with pytest.raises(MachineInUse):
        speeds.time_when_free(tmp_path, [], 1.0, lambda _: None, stop)
    with speed_lane(), ExitStack() as held, pytest.raises(MachineInUse):
        speeds.train_when_free(held, stop)


def test_training_goes_on_once_the_lane_is_free(answers: list[Exception | None]) -> None:
    with ExitStack() as lane, ExitStack() as held:
        lane.enter_context(speed_lane())
        threading.Timer(0.05, lane.pop_all().close).start()
        speeds.train_when_free(held, threading.Event())
        with pytest.raises(MachineInUse), speed_lane():
            pass
    with quality_jobs():
        pass


def test_a_job_that_shares_its_node_is_refused_before_it_trains(
    small_arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho 'JobId=7 JobName=ablate OverSubscribe=OK Contiguous=0'\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.chdir(tmp_path)
    space = ("num_hiddens=choice(4,8)", "objective=[val_perplexity,tokens_per_s]", "n_trials=2", "name=a")
    own = [word for word in small_arguments if not word.startswith("num_hiddens=")]
    assert main(["search", *own, *space]) == 2
    assert capsys.readouterr().err.count("--exclusive") == 1
    assert not (tmp_path / "results").exists()
