"""Classification as a task: what is asked, in which order, and of which data. CPU, 2 s."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from ablate.config.composing import compose as composed
from ablate.config.errors import CombinationError
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved, resolve
from ablate.data.corpora import load
from ablate.networks.parameters import Features, initial
from ablate.tasks import task_of
from ablate.tasks.classification import Classification
from ablate.training.loop import train

STEPS = 5


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Constant sequences, whose class is the number that they repeat: 0, 1 or 2."""
    y, y_test = np.arange(25) % 3, np.arange(9) % 3
    path = tmp_path / "constant.npz"
    np.savez(path, x=np.tile(y[:, None], (1, STEPS)), y=y, x_test=np.tile(y_test[:, None], (1, STEPS)), y_test=y_test)
    return str(path)


def task(file: str, *overrides: str) -> tuple[Classification, Resolved]:
    small = ["task=classification", "data=labelled_file", f"data.path={file}", f"num_steps={STEPS}", "batch_size=10"]
    config = resolve(composed([*small, "num_hiddens=8", "epochs=60", *overrides]))
    made = task_of(config, load(config.data))
    assert isinstance(made, Classification)
    return made, config


def test_only_the_last_step_is_asked(file: str) -> None:
    made, _ = task(file)
    assert made.sizes == Features(1, 3)
    X, Y = next(made.minibatches(Generator().manual_seed(0)))
    assert X.shape == (STEPS, 10, 1)
    assert (Y[:-1] == UNSCORED).all()
    assert torch.equal(Y[-1].float(), X[-1, :, 0])


def test_an_epoch_takes_each_sequence_once_in_an_order_of_its_own(file: str) -> None:
    made, _ = task(file, "batch_size=5")
    order = Generator().manual_seed(0)
    first, second = (torch.cat([Y[-1] for _, Y in made.minibatches(order)]) for _ in range(2))
    assert first.bincount().tolist() == second.bincount().tolist() == [9, 8, 8]
    assert not torch.equal(first, second)


def test_what_fills_no_minibatch_is_left_out(file: str) -> None:
    assert len(list(task(file)[0].minibatches(Generator().manual_seed(0)))) == task(file)[0].updates_per_epoch() == 2


def test_all_of_the_test_set_is_measured(file: str) -> None:
    made, config = task(file)
    weights = {
        name: torch.zeros_like(value) for name, value in initial(config, made.sizes, Generator().manual_seed(0)).items()
    }
    weights["output.b"] = torch.tensor([0.0, 1.0, 0.0])
    assert made.scores(weights) == {"accuracy": pytest.approx(1 / 3)}


@pytest.mark.parametrize(("override", "remedy"), [("num_steps=6", "num_steps=5"), ("batch_size=26", "25 or less")])
def test_what_does_not_fit_the_data_says_what_does(file: str, override: str, remedy: str) -> None:
    with pytest.raises(CombinationError, match=remedy):
        task(file, override)


def test_a_network_learns_it(file: str) -> None:
    _, config = task(file, "model=gru")
    assert train(config, load(config.data)).metrics["accuracy"] == 1
