"""State tracking as a task: what is trained on, what is tried beyond it, and a network that follows. CPU, 1 s."""

from typing import Any

import pytest
import torch
from torch import Generator

from ablate.config.composing import compose as composed
from ablate.config.errors import CombinationError
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved, resolve
from ablate.data.corpora import load
from ablate.tasks import task_of
from ablate.tasks.state_tracking import StateTracking
from ablate.training.loop import train

SMALL = ["task=state_tracking", "num_hiddens=8", "num_steps=6", "task.long=15", "task.sequences=64"]


def task(*overrides: str) -> tuple[StateTracking, Resolved]:
    config = resolve(composed([*SMALL, *overrides]))
    made = task_of(config, load(config.data))
    assert isinstance(made, StateTracking)
    return made, config


@pytest.mark.parametrize(("data", "words"), [("parity", 2), ("modular", 5), ("s3", 6), ("s5", 120)])
def test_every_step_is_asked_in_training_and_none_of_those_lengths_beyond_it(data: str, words: int) -> None:
    made, _ = task(f"data={data}")
    X, Y = next(made.minibatches(Generator().manual_seed(0)))
    assert X.shape == (6, 64)
    assert made.sizes == words
    assert (Y != UNSCORED).all()
    X, Y = made.long
    assert len(X) == len(Y) == 15
    assert (Y[:6] == UNSCORED).all()
    assert (Y[6:] != UNSCORED).all()


def test_the_modulus_is_a_knob_of_its_own_data() -> None:
    assert task("data=modular", "data.modulus=3")[0].words == ["0", "1", "2"]


@pytest.mark.parametrize("overrides", [["task.long=6"], ["num_steps=15"]])
def test_nothing_longer_than_what_is_trained_on_is_an_error(overrides: list[str]) -> None:
    with pytest.raises(CombinationError, match=r"task\.long is .* num_steps="):
        task(*overrides)


def test_a_network_that_follows_is_right_beyond_the_training_length(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = task("data=parity")

    class Follows(torch.nn.Module):
        output_b = torch.zeros(2)

        def initial_state(self, B: int) -> Any:
            return None

        def forward(self, X: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
            logits = torch.nn.functional.one_hot(X.cumsum(0) % 2, 2).double()
            logits[12:] = torch.tensor([1.0, 0.0])  # and from there on says even
            return logits.view(-1, 2), state

    monkeypatch.setattr("ablate.tasks.state_tracking.readable", lambda *_: Follows())
    _, Y = made.long
    even = (Y[12:] == 0).double().mean().item()
    assert made.final_scores({}, 1.0) == {"accuracy_long": pytest.approx((6 + 3 * even) / 9)}


def test_a_run_measures_both() -> None:
    _, config = task("data=s3", "epochs=2", "model=mingru")
    metrics = train(config, load(config.data)).metrics
    assert 0 <= metrics["accuracy"] <= 1
    assert 0 <= metrics["accuracy_long"] <= 1
