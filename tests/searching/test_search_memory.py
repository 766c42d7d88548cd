"""A search whose programs are too large for the memory: trained as smaller ones, with the same readings. CPU, 3 s.

The error is made by the test, where a program begins.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.searching import trainer as module
from ablate.searching.evaluation import Failed, Finished
from ablate.searching.trainer import Trainer

Compose = Callable[..., Any]
Outcomes = dict[int, Finished | Failed]


@pytest.fixture
def searched(small: Compose, tmp_path: Path) -> Callable[[str], Outcomes]:
    """Three seeds of one trial and one of another, in a results folder of this name: ticket → what came of it."""

    def search(name: str) -> Outcomes:
        def compose(overrides: tuple[str, ...]) -> Any:
            return small("engine=cohort", *overrides)

        outcomes: Outcomes = {}
        with Trainer(tmp_path / name / "search", compose, "", side_by_side=1) as trainer:
            trainer.submit(0, ("lr=0.5",), [0, 1, 2])
            trainer.submit(1, ("lr=1",), [0])
            while len(outcomes) < 2:
                outcomes |= {e.ticket: e for e in trainer.poll(1.0) if isinstance(e, Finished | Failed)}
        return outcomes

    return search


def room_for(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train = module.train_together

    def limited(configs: Any, *arguments: Any, **options: Any) -> Any:
        if len(configs) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(configs, *arguments, **options)

    monkeypatch.setattr(module, "train_together", limited)


@pytest.mark.full
def test_fewer_runs_at_once_read_the_same(
    searched: Callable[[str], Outcomes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = searched("one")
    room_for(1, monkeypatch)
    found = searched("two")
    assert {ticket: event.runs for ticket, event in found.items() if isinstance(event, Finished)} == {
        ticket: event.runs for ticket, event in undisturbed.items() if isinstance(event, Finished)
    }
    records = [json.loads(path.read_text()) for path in (tmp_path / "two" / "search" / "runs").glob("*.json")]
    assert len(records) == 4
    assert {record["timing"]["trained_together"] for record in records} == {1}
    assert {tuple(record["timing"]["out_of_memory_with"]) for record in records} == {(3, 2)}


@pytest.mark.full
def test_one_run_that_is_too_large_by_itself_fails(
    searched: Callable[[str], Outcomes], monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(0, monkeypatch)
    found = searched("none")
    assert all(isinstance(event, Failed) and "CUDA out of memory" in event.reason for event in found.values()), found
