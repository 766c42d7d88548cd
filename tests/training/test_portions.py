"""Training as it goes on a GPU, done on the CPU: the records of every task are those of training there, bit for bit.

CPU, 15 s.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config
from ablate.data.corpora import Corpus, load
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.stacked import StackedCohort
from ablate.training import choice
from ablate.training.checkpoints import Checkpoints
from ablate.training.choice import Choice
from ablate.training.loop import train_together
from ablate.training.trajectory import Stopped, epochs_ahead, measures_held_out

Configs = Callable[..., Config]
SIZES = ("num_hiddens=3", "num_steps=4", "batch_size=4", "layers=2", "dropout=0.3", "schedule=cosine", "epochs=5")
TEXT = ("max_tokens=300", "val_tokens=60")
TASKS = [
    ("task=language_model", *TEXT),
    ("task=language_model", "model.connection=residual", *TEXT),
    ("task=language_model", "model.bidirectional=true", "sampling=random", *TEXT),
    ("task=fill_in", "sampling=random", *TEXT),
    ("task=memory", "data=copy", "num_steps=8", "task.sequences=16"),
    ("task=translation", "data=number_pairs", "task.pairs=34", "task.val_pairs=10"),
]


@pytest.fixture
def silently(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, programs are as on a GPU."""
    monkeypatch.setenv("ABLATE_NATIVE", "0")

    def begin() -> None:
        monkeypatch.setattr(choice, "Cohort", partial(Cohort, cuda_graphs=True))
        monkeypatch.setattr(choice, "StackedCohort", partial(StackedCohort, cuda_graphs=True))

    return begin


def configs_of(compose: Configs, *overrides: str) -> list[Resolved]:
    small = [one for one in SIZES if one.split("=")[0] not in {own.split("=")[0] for own in overrides}]
    config = resolve(compose("model=gru", *small, *overrides))
    return [config.but(seed=k, lr=lr) for k, lr in enumerate((config.lr, 0.5 * config.lr, 1e19))]


def same(ours: Any, theirs: Any) -> None:
    for own, other in zip(ours, theirs, strict=True):
        assert (own.metrics, own.text, own.divergence, own.run_id) == (
            other.metrics,
            other.text,
            other.divergence,
            other.run_id,
        )
        assert own.curve == other.curve


@pytest.mark.full
@pytest.mark.parametrize(
    "overrides",
    [one if number in (0, 5) else pytest.param(one, marks=pytest.mark.full) for number, one in enumerate(TASKS)],
    ids=" ".join,
)
def test_every_task_comes_out_the_same(
    compose: Configs, corpus: Corpus, silently: Callable[[], None], overrides: tuple[str, ...]
) -> None:
    configs = configs_of(compose, *overrides)
    text = corpus if "max_tokens=300" in overrides else load(configs[0].data)
    expected = train_together(configs, text, Choice("cohort", {}))
    silently()
    found = train_together(configs, text, Choice("cohort", {}))
    same(found, expected)
    assert [record.timing.get("cuda_graphs") for record in found] == ["on"] * 3
    assert expected[0].timing.get("cuda_graphs") is None


@pytest.mark.full
def test_a_stopped_one_goes_on(compose: Configs, corpus: Corpus, silently: Callable[[], None], tmp_path: Path) -> None:
    configs = configs_of(compose, "epochs=24", "max_tokens=120", "val_tokens=60")
    expected = train_together(configs, corpus, Choice("cohort", {}))
    silently()
    seen: list[int] = []
    checkpoints = Checkpoints(tmp_path, ["a", "b", "c"])
    with pytest.raises(Stopped):
        train_together(
            configs,
            corpus,
            Choice("cohort", {}),
            on_epoch=lambda epoch, _: seen.append(epoch),
            checkpoints=checkpoints,
            stop=lambda: len(seen) > 4,
        )
    assert 4 < len(seen) < 24
    found = train_together(configs, corpus, Choice("cohort", {}), checkpoints=checkpoints)
    assert found[0].timing["resumed_at_epoch"] == seen[-1]
    same(found, expected)


@pytest.mark.full
def test_a_watch_that_gives_a_run_up_leaves_the_others_as_they_are(
    compose: Configs, corpus: Corpus, silently: Callable[[], None]
) -> None:
    configs = configs_of(compose, *TEXT)[:2]
    [expected] = train_together(configs[1:], corpus, Choice("cohort", {}))
    silently()
    found = train_together(
        configs, corpus, Choice("cohort", {}), watch=lambda epoch, replicas: [r.config.seed == 1 for r in replicas]
    )
    assert [record.seed for record in found] == [1]
    assert found[0].metrics == pytest.approx(expected.metrics, rel=1e-6)


@pytest.mark.parametrize(("epochs", "minibatches"), [(500, 9), (500, 1), (7, 300), (1, 1), (60, 20)])
def test_nothing_is_begun_beyond_a_reading(compose: Configs, epochs: int, minibatches: int) -> None:
    config = resolve(compose(f"epochs={epochs}"))
    done = 0
    while done < epochs:
        ahead = epochs_ahead(config, done, minibatches)
        assert ahead >= 1
        assert not any(measures_held_out(config, epoch) for epoch in range(done + 1, done + ahead))
        assert ahead == 1 or ahead * minibatches <= 256
        done += ahead
    assert done == epochs
