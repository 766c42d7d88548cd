"""Divergence is an outcome: what is recorded of it, and that it ends that run alone, also in company. CPU, 5 s."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from ablate.config.schema import Config, with_seed
from ablate.data.corpora import Corpus
from ablate.training.choice import Choice
from ablate.training.loop import train, train_together
from ablate.training.trajectory import Trajectory

Configs = Callable[..., Config]

EXPLODES = ("model=rnn", "model.activation=relu", "lr=300", "clip=null", "epochs=6")


@pytest.mark.parametrize("engine", ["torch_nn", "eager", "cohort"])
def test_divergence_is_an_outcome(small: Configs, corpus: Corpus, engine: str) -> None:
    called = []
    record = train(
        small(*EXPLODES, f"engine={engine}"), corpus, lambda epoch, perplexity: called.append((epoch, perplexity))
    )
    assert record.status == "diverged"
    assert record.divergence is not None
    whole = record.divergence["epoch"] - 1
    assert 0 <= whole < 6
    assert math.isfinite(record.divergence["last_finite_loss"])
    assert record.counts["epochs_done"] == whole == len(record.curve["perplexity"]) == len(called)
    assert all(math.isfinite(value) for value in record.curve["perplexity"])
    assert set(record.metrics.values()) == {None}
    assert record.text == {}


@pytest.mark.full
def test_divergence_ends_that_run_only(small: Configs, corpus: Corpus) -> None:
    """In a cohort of three the middle one explodes; the others are as if it were not there."""
    calm = small(*EXPLODES, "lr=0.1", "engine=cohort")
    members = [calm, calm.but(lr=300.0), with_seed(calm, 1)]
    records = train_together(members, corpus, Choice("cohort", {}))
    assert [record.status for record in records] == ["ok", "diverged", "ok"]
    for member, record in zip(members, records, strict=True):
        alone = train(member, corpus)
        assert record.curve["perplexity"] == pytest.approx(alone.curve["perplexity"], rel=1e-4)
        if record.divergence:
            assert record.divergence["epoch"] == alone.divergence["epoch"]


@pytest.mark.parametrize("native", ["1", "0"])
def test_what_the_program_cannot_see_ends_a_run_in_company_too(
    small: Configs, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, native: str
) -> None:
    """A finite loss whose perplexity is none: the weights that are kept are those that it diverged with."""
    monkeypatch.setenv("ABLATE_NATIVE", native)
    calm = small("model=gru", "clip=null", "engine=cohort", "batch_size=32", "max_tokens=2000", "epochs=6")
    members = [calm, calm.but(lr=1e4)]

    def trained(configs: list[Config]) -> tuple[Any, dict[str, Any]]:
        kept: dict[str, Any] = {}
        records = train_together(configs, corpus, Choice("cohort", {}), keep=kept.__setitem__)
        return records[-1], kept[records[-1].run_id]

    (together, in_company), (alone, by_itself) = trained(members), trained(members[1:])
    assert together.divergence == alone.divergence
    assert together.divergence["epoch"] < 6
    assert "gradient" not in str(together.divergence)
    for name, value in by_itself.items():
        assert (in_company[name] == value).all()


@pytest.mark.full
def test_a_sweep_with_a_divergent_setting_is_a_success(small: Configs, sweep: Callable[..., object]) -> None:
    configs = [small(*EXPLODES, "seeds=2"), small(*EXPLODES, "lr=0.1", "seeds=2")]
    summary = sweep(configs)
    assert (summary.trained, summary.failures, summary.exit_status) == (4, [], 0)
    statuses = [json.loads(path.read_text())["status"] for path in (summary.folder / "runs").iterdir()]
    assert sorted(statuses) == ["diverged", "diverged", "ok", "ok"]


@pytest.mark.parametrize(
    ("epochs", "epoch", "last_finite"),
    [
        ([([1.0, math.nan], None)], 1, 1.0),
        ([([2.0, 1.5], None), ([math.nan, math.nan], None)], 2, 1.75),
        ([([2.0, 1.5], None), ([1.25, math.inf], None)], 2, 1.25),
        ([([2.0, 1000.0], None)], 1, 2.0),  # exp(1000) overflows
        ([([2.0, 1.0], math.nan)], 1, 1.0),  # the held-out text shows it first
        ([([math.nan, math.nan], None)], 1, None),
    ],
)
def test_what_is_recorded_of_a_divergence(epochs: list, epoch: int, last_finite: float | None) -> None:
    trajectory = Trajectory()
    for losses, val_loss in epochs[:-1]:
        assert trajectory.add(losses, val_loss)
    assert not trajectory.add(*epochs[-1])
    assert trajectory.divergence["epoch"] == epoch
    assert trajectory.divergence["last_finite_loss"] == (None if last_finite is None else pytest.approx(last_finite))
    assert len(trajectory.perplexity) == len(epochs) - 1
