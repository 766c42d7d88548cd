"""Runs that a rule ends before their epochs: where they end, that they freeze and disturb nobody, and that a run that
was stopped ends as if it had not been. CPU, 5 s.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.config.schema import Config, with_seed
from ablate.config.stopping import Rule
from ablate.data.corpora import Corpus
from ablate.records.record import Record
from ablate.training import loop as training
from ablate.training.checkpoints import Checkpoints
from ablate.training.choice import Choice
from ablate.training.loop import train, train_together
from ablate.training.trajectory import Stopped, Trajectory, epochs_ahead, measures_held_out

Configs = Callable[..., Config]
ENGINES = ("cohort", "eager", "torch_nn")


def outcome(record: Record) -> tuple[object, ...]:
    return record.run_id, record.status, record.curve, record.metrics, record.text, record.counts, record.ended


def trained(configs: list[Config], corpus: Corpus, engine: str = "cohort", **means: object) -> list[Record]:
    return train_together(configs, corpus, Choice(engine, {}), **means)  # type: ignore[arg-type]


# --- the rules, on trajectories made up ------------------------------------------------------------------


def followed(config: Config, held_out: list[float], seconds: float = 1.0) -> Trajectory:
    """What is left of epochs of these held-out perplexities, each of so many seconds."""
    trajectory = Trajectory()
    for value in held_out:
        trajectory.add([math.log(value)], math.log(value))
        trajectory.seconds += seconds
        if trajectory.end_by_rule(config):
            break
    return trajectory


@pytest.mark.parametrize(
    ("overrides", "held_out", "epochs", "rule"),
    [
        (["patience=2"], [9, 8, 8, 8, 7], 4, "patience"),  # the first of equal ones is the best
        (["patience=2"], [9, 8, 8.5, 7, 7.5, 7.2], 6, "patience"),
        (["patience=9"], [9, 8, 9, 9], 4, None),
        (["until=val_perplexity<8"], [9, 8.1, 7.9, 7], 3, "until"),
        (["until=perplexity>10"], [9, 11, 9], 2, "until"),
        (["budget=3s"], [9, 8, 7, 6], 3, "budget"),
        (["budget=2.5s", "patience=1"], [9, 9, 9], 2, "patience"),
        (["epochs=2", "patience=1"], [9, 9], 2, None),  # its epochs are over
    ],
)
def test_where_a_rule_ends_a_run(
    small: Configs, overrides: list[str], held_out: list[float], epochs: int, rule: str | None
) -> None:
    config = small("epochs=20", *overrides)
    trajectory = followed(config, held_out)
    assert len(trajectory.perplexity) == epochs
    assert trajectory.ended == (rule and {"epoch": epochs, "rule": rule, "value": getattr(config, rule)})
    assert trajectory.goes_on == (rule is None)
    assert not trajectory.add([0.1], 0.1) or rule is None


@pytest.mark.parametrize("knob", ["patience=3", "until=perplexity<2", "budget=1h", "schedule=plateau"])
def test_what_may_end_after_any_epoch_is_measured_after_each(small: Configs, knob: str) -> None:
    usual, other = small("epochs=200"), small("epochs=200", knob)
    assert [epoch for epoch in range(1, 31) if measures_held_out(usual, epoch)] == [10, 20, 30]
    assert all(measures_held_out(other, epoch) for epoch in range(1, 31))
    assert (epochs_ahead(usual, 0, 1), epochs_ahead(other, 0, 1)) == (10, 1)


# --- in training -----------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_ends_in_the_first_epoch_that_fulfils_its_rule(small: Configs, corpus: Corpus, engine: str) -> None:
    config = small("model=gru", "epochs=8", "lr=2", f"engine={engine}")
    whole = train(config, corpus)
    curve = whole.curve["perplexity"]
    goal = math.sqrt(curve[3] * curve[4])  # passed in epoch 5
    assert min(curve[:4]) > goal > curve[4]
    ended = train(config.but(until=f"perplexity<{goal}"), corpus)
    assert ended.ended == {"epoch": 5, "rule": "until", "value": str(Rule("perplexity", "<", goal))}
    assert ended.status == "ok"
    assert ended.curve["perplexity"] == curve[:5]
    assert ended.counts["epochs_done"] == 5
    assert ended.metrics["perplexity"] == ended.metrics["tail_perplexity"] == curve[4]
    assert None not in ended.curve["val_perplexity"]
    assert (whole.ended, whole.run_id == ended.run_id) == (None, False)
    short = train(config.but(epochs=5), corpus)
    assert (ended.text, ended.metrics["val_perplexity"]) == (short.text, short.metrics["val_perplexity"])


EARLY = "perplexity<15"
"""What runs reach after a few epochs."""


def rules(small: Configs) -> list[Config]:
    """Three replicas, of which one is ended early, and the others not."""
    base = small("model=gru", "epochs=8", "lr=2")
    return [with_seed(base, 0).but(until=EARLY), with_seed(base, 1), with_seed(base, 2).but(patience=7)]


@pytest.mark.full
@pytest.mark.parametrize("native", ["0", "1"])
def test_each_replica_ends_as_if_it_were_alone(
    small: Configs, corpus: Corpus, native: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_NATIVE", native)
    configs = rules(small)
    together = trained(configs, corpus)
    epochs = [record.counts["epochs_done"] for record in together]
    assert 1 < epochs[0] < epochs[1] == 8
    assert [outcome(record) for record in together] == [outcome(trained([one], corpus)[0]) for one in configs]


def test_a_program_ends_with_its_last_run(small: Configs, corpus: Corpus) -> None:
    configs = [config.but(until=EARLY) for config in rules(small)]
    epochs: list[int] = []
    records = trained(configs, corpus, on_epoch=lambda epoch, _: epochs.append(epoch))
    assert {record.ended["rule"] for record in records if record.ended} == {"until"}
    assert max(epochs) == max(record.counts["epochs_done"] for record in records) - 1  # the last is no epoch to go on


def resumed_after(epochs: int, configs: list[Config], corpus: Corpus, folder: Path, ids: list[str]) -> list[Record]:
    """What comes of runs that were stopped after so many epochs and go on from their checkpoints."""
    done: list[int] = []
    with pytest.raises(Stopped):
        trained(
            configs,
            corpus,
            on_epoch=lambda epoch, _: done.append(epoch),
            checkpoints=Checkpoints(folder, ids, every_s=0),
            stop=lambda: len(done) == epochs,
        )
    return trained(configs, corpus, checkpoints=Checkpoints(folder, ids))


def test_a_run_goes_on_from_its_checkpoint_to_the_same_end(small: Configs, corpus: Corpus, tmp_path: Path) -> None:
    """The one that a rule ended before stays ended, the others go on."""
    configs = rules(small)
    whole = trained(configs, corpus)
    ends = whole[0].counts["epochs_done"]
    ids = [record.run_id for record in whole]
    resumed = resumed_after(ends + 1, configs, corpus, tmp_path, ids)
    assert [record.timing["resumed_at_epoch"] for record in resumed] == [ends + 1] * 3
    assert [outcome(record) for record in resumed] == [outcome(record) for record in whole]


def test_a_budget_counts_a_runs_own_share_of_the_training(
    small: Configs, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of 12 s by a clock that is made up: of three replicas 4 s are each one's share, of two 6 s."""
    now = [0.0]
    train_epochs = training.train_epochs

    def slow(*arguments: object) -> object:
        now[0] += 12
        return train_epochs(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "train_epochs", slow)
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    base = small("model=rnn", "epochs=8")
    configs = [base.but(budget="8s"), with_seed(base, 1).but(budget="15s"), with_seed(base, 2)]
    records = trained(configs, corpus)
    assert [record.counts["epochs_done"] for record in records] == [2, 4, 8]
    assert records[0].ended == {"epoch": 2, "rule": "budget", "value": "8s"}
    assert records[2].ended is None


@pytest.mark.full
def test_the_rate_of_a_plateau_follows_each_replicas_own_perplexities(
    small: Configs, corpus: Corpus, tmp_path: Path
) -> None:
    """With drops to nothing the run stands still from then on; in company, alone, and after a stop."""
    base = small("model=gru", "epochs=10", "lr=4", "schedule=plateau", "schedule.wait=1", "schedule.gamma=1e-6")
    base = base.but(schedule=base.schedule.but(floor=0.0))
    configs = [with_seed(base, k) for k in range(3)]
    together = trained(configs, corpus)
    drops = []
    for record in together:
        held_out = record.curve["val_perplexity"]
        drop = next((k for k in range(1, 10) if held_out[k] >= min(held_out[:k])), 9)
        assert held_out[drop + 1 :] == pytest.approx([held_out[drop]] * (9 - drop), rel=1e-3)
        drops.append(drop)
    assert min(drops) < 9
    assert len(set(drops)) == 3
    assert [outcome(record) for record in together] == [outcome(trained([one], corpus)[0]) for one in configs]
    resumed = resumed_after(5, configs, corpus, tmp_path, [record.run_id for record in together])
    assert [outcome(record) for record in resumed] == [outcome(record) for record in together]
