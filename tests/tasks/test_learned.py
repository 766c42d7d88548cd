"""What networks of each kind learn to remember, over seeds. Minutes of training each on one core, so all are slow."""

import pytest

from ablate.config.composing import compose
from ablate.config.resolved import resolve
from ablate.config.schema import with_seed
from ablate.data.corpora import load
from ablate.training.choice import Choice
from ablate.training.loop import train_together

pytestmark = pytest.mark.slow

SOLVED = 0.99
SEEDS = 3


def accuracies(*overrides: str) -> list[float]:
    """The held-out accuracy of each seed."""
    config = resolve(compose(["task=memory", *overrides]))
    runs = [with_seed(config, seed) for seed in range(SEEDS)]
    records = [train_together([run], load(run.data), Choice("cohort", {}))[0] for run in runs]
    return [record.metrics["accuracy"] or 0.0 for record in records]


def test_most_grus_solve_copy_of_length_20() -> None:
    """Measured: 0.9955, 0.9929 and 0.9698."""
    found = accuracies("data=copy", "model=gru", "num_steps=20", "num_hiddens=256", "lr=0.002", "epochs=600")
    assert sorted(found)[1] >= SOLVED, found
    assert min(found) > 0.9, found


def test_an_rnn_does_not_solve_adding_of_length_100_but_a_gru_does() -> None:
    knobs = ("data=adding", "num_steps=100")
    rnn, gru = (accuracies(*knobs, f"model={model}") for model in ("rnn", "gru"))
    assert max(rnn) < 0.6, rnn
    assert min(gru) >= SOLVED, gru
