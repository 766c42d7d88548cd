"""Classification as a task: what is asked, in which order, and of which data. CPU, 2 s."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import runs_frame
from ablate.config.composing import compose as composed
from ablate.config.errors import CombinationError
from ablate.config.identity import run_id
from ablate.config.metrics import UNSCORED, metrics_of_test
from ablate.config.resolved import Resolved, resolve
from ablate.data.corpora import load
from ablate.networks.parameters import Features, initial
from ablate.records.results import save
from ablate.report.wording import main_metric
from ablate.tasks import task_of
from ablate.tasks.classification import Classification
from ablate.training.loop import train

STEPS = 5
NONE_KEPT = "task.val_sequences=0"


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


def test_sequences_kept_back_are_never_trained_on_and_the_test_set_reports(file: str) -> None:
    made, _ = task(file, "task.val_sequences=7", "batch_size=6")
    seen = torch.cat([Y[-1] for _, Y in made.minibatches(Generator().manual_seed(0))])
    chosen, tested = made.held_out[1][-1], made.test
    assert (len(seen), len(chosen)) == (18, 7)
    assert sorted([*seen.tolist(), *chosen.tolist()]) == sorted(np.arange(25) % 3)
    assert tested is not None
    assert tested[1][-1].tolist() == (np.arange(9) % 3).tolist()
    again, _ = task(file, "task.val_sequences=7", "seed=5")
    assert torch.equal(again.held_out[0], made.held_out[0])  # the same ones for all runs
    assert task(file)[0].test is None


def test_without_them_runs_are_the_ones_that_they_were(file: str) -> None:
    (_, plain), (_, none), (_, some) = (task(file, *own) for own in ([], [NONE_KEPT], ["task.val_sequences=7"]))
    sha256 = load(plain.data).sha256
    assert run_id(plain, sha256) == run_id(none, sha256) != run_id(some, sha256)


def test_a_run_is_chosen_by_them_and_reported_by_the_test_set(file: str, tmp_path: Path) -> None:
    _, config = task(file, "model=gru", "task.val_sequences=7", "patience=5")
    record = train(config, load(config.data))
    assert {"accuracy", "test_accuracy", "test_perplexity_at_best"} <= record.metrics.keys()
    assert record.counts["val_tokens"] == 7
    save(tmp_path, record)
    settings = aggregate(runs_frame(tmp_path)[0])
    assert main_metric(settings) == "test_perplexity_at_best"
    _, config = task(file, "model=gru", "epochs=2")
    assert not {*metrics_of_test()} & train(config, load(config.data)).metrics.keys()


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("num_steps=6", "num_steps=5"),
        ("batch_size=26", "25 or less"),
        ("task.val_sequences=20", r"5 sequences to train on beside task.val_sequences=20; give a batch_size of 5 or"),
        ("task.val_sequences=30", "0 sequences to train on beside task.val_sequences=30; give a task.val_sequences of"),
    ],
)
def test_what_does_not_fit_the_data_says_what_does(file: str, override: str, remedy: str) -> None:
    with pytest.raises(CombinationError, match=remedy):
        task(file, override)


def test_a_network_learns_it(file: str) -> None:
    _, config = task(file, "model=gru")
    assert train(config, load(config.data)).metrics["accuracy"] == 1
