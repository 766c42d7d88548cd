"""engine=auto in a search: timed once for each shape, while nothing trains, and kept in the study. CPU, 3 s."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from ablate.searching import trainer as module
from ablate.searching.evaluation import Finished
from ablate.searching.study import StudyEngines
from ablate.searching.trainer import Trainer
from ablate.training.choice import Choice

Compose = Callable[..., Any]


def finish(trainer: Trainer, count: int) -> None:
    """Poll until so many tickets are finished."""
    left = time.monotonic() + 600  # what takes longer hangs, however busy the machine is
    while count:
        assert time.monotonic() < left
        events = trainer.poll(0.05)
        assert all(isinstance(event, Finished) for event in events if not hasattr(event, "epoch")), events
        count -= sum(isinstance(event, Finished) for event in events)


@pytest.mark.full
def test_an_engine_is_timed_while_the_programs_rest_and_only_once(
    small: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an engine is timed no minibatch is trained; the second search of the study times nothing."""
    steps: list[bool] = []  # one for each time that a worker went on, which it asks before each minibatch
    timed: list[tuple[int, int, int]] = []  # num_hiddens, programs that stood still, and how often one went on
    inside = threading.Event()
    original = Trainer._given_up

    def given_up(self: Trainer, run_ids: Any) -> bool:
        if not inside.is_set():  # the first program stays under way until the second shape asks for a timing
            inside.set()
            left = time.monotonic() + 600
            while not self.halted:
                assert time.monotonic() < left
                time.sleep(0.01)
            time.sleep(0.2)  # a timing that does not wait for it begins now, and finds nobody resting
        told = original(self, run_ids)
        steps.append(told)
        return told

    def choose(config: Any, *_: Any) -> Choice:
        resting, before = trainer.resting, len(steps)
        time.sleep(0.1)
        timed.append((config.num_hiddens, resting, len(steps) - before))
        return Choice("cohort", {"cohort": 1.0, "torch_nn": 2.0})

    monkeypatch.setattr(Trainer, "_given_up", given_up)
    monkeypatch.setattr(module, "choose", choose)

    def compose(overrides: tuple[str, ...]) -> Any:
        return small("seeds=1", *overrides)

    study = optuna.create_study()
    with Trainer(tmp_path / "one", compose, "", side_by_side=2) as trainer:
        trainer.engines = StudyEngines(study)
        trainer.submit(0, ("num_hiddens=16",), [0])
        assert inside.wait(600)  # a program is under way when the second shape needs an engine
        trainer.submit(1, ("num_hiddens=24",), [0])
        finish(trainer, 2)
        trainer.submit(2, ("num_hiddens=16", "lr=0.5"), [0])  # the same shape
        finish(trainer, 1)
    assert timed == [(16, 0, 0), (24, 1, 0)]
    assert len(steps) > 3  # and then it went on
    assert sorted(StudyEngines(study).values()) == ["cohort", "cohort"]

    with Trainer(tmp_path / "two", compose, "", side_by_side=2) as trainer:
        trainer.engines = StudyEngines(study)
        trainer.submit(0, ("num_hiddens=24",), [0])
        finish(trainer, 1)
    assert len(timed) == 2
