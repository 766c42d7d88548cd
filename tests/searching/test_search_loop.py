"""The loop on made-up objectives: totals, twins, what is told, pruning, several objectives, samplers and storages.

CPU, 12 s.
"""

import errno
import math
import os
import re
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from synthetic import Noisy, knobs, run, searching, settings, space_of

from ablate.analysis.study import state_of, stored_search
from ablate.config.errors import ConfigError, UserError
from ablate.searching import storage
from ablate.searching.evaluation import Overrides
from ablate.searching.finale import against_divergence, alone, conclude
from ablate.searching.progress import Counts
from ablate.searching.samplers import (
    PRUNERS,
    SAMPLERS,
    ScaledStudy,
    finite_column,
    make_pruner,
    make_sampler,
    sampler_seed,
)
from ablate.searching.settings import Objective, Race, named, objectives, race_of
from ablate.searching.space import Space
from ablate.searching.storage import Connection, first_line, location, takes_slot


def bowl(knobs: dict[str, str]) -> float:
    """Lowest, 5, at x = 0.3."""
    return 5 + (float(knobs["x"]) - 0.3) ** 2


def line(knobs: dict[str, str]) -> float:
    return 5 + float(knobs["x"])


LINE = space_of("x=range(0,10)")
BOWL = space_of("x=interval(-2,2)")


def counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if takes_slot(trial)]


# --- totals and twins -----------------------------------------------------------------------------------


@pytest.mark.full
def test_n_trials_is_the_total_however_often_the_command_is_typed(tmp_path: Path) -> None:
    first = Noisy(bowl)
    assert len(run(BOWL, settings(n_trials=5), first, tmp_path)) == 5
    again = Noisy(bowl)
    assert len(run(BOWL, settings(n_trials=5), again, tmp_path)) == 5
    assert again.evaluated == []
    more = Noisy(bowl)
    trials = run(BOWL, settings(n_trials=8), more, tmp_path)
    assert len(trials) == 8
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({trial.params["x"] for trial in trials}) == 8  # the seeds of the sampler do not repeat trials


def test_the_same_seed_searches_the_same(tmp_path: Path) -> None:
    one, two, other = (
        [
            trial.params["x"]
            for trial in run(
                BOWL, settings(seed=seed, sampler="tpe", n_trials=15, storage="memory"), Noisy(bowl), tmp_path / name
            )
        ]
        for name, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert one == two != other


def test_the_same_configuration_is_never_computed_twice_and_takes_no_slot(tmp_path: Path) -> None:
    evaluator = Noisy(line, own=0.01)
    trials = run(LINE, settings(n_trials=8, race=None, parallel=3, storage="memory"), evaluator, tmp_path)
    assert max(Counter(evaluator.evaluated).values()) == 1
    assert len(counted(trials)) == 8
    assert len({trial.params["x"] for trial in counted(trials)}) == 8
    twins = [trial for trial in trials if not takes_slot(trial)]
    assert twins  # ten values, eight slots: some were proposed again
    by_number = {trial.number: trial for trial in trials}
    for twin in twins:
        original = by_number[twin.user_attrs["duplicate_of"]]
        assert twin.values == original.values
        assert twin.params == original.params
        assert state_of(twin) == "duplicate"


@pytest.mark.full
def test_a_trial_that_an_older_version_stored_is_not_computed_again(tmp_path: Path) -> None:
    """It told configurations apart by other ids."""

    class Older(Noisy):
        def identify(self, overrides: Overrides) -> str:
            return f"former {super().identify(overrides)}"

    older, today = Older(line), Noisy(line)
    run(LINE, settings(n_trials=4, race=None), older, tmp_path)
    today.former_keys = {f"x={x}": (f"former x={x}",) for x in range(10)}
    trials = run(LINE, settings(n_trials=10, race=None), today, tmp_path)
    assert len({trial.params["x"] for trial in counted(trials)}) == 10
    assert {one for one, _ in older.evaluated}.isdisjoint({one for one, _ in today.evaluated})
    assert len({one for one, _ in older.evaluated} | {one for one, _ in today.evaluated}) == 10


def test_a_space_that_is_exhausted_ends_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("random", "grid", "tpe"):
        evaluator = Noisy(line)
        trials = run(LINE, settings(n_trials=50, sampler=name, storage="memory"), evaluator, tmp_path / name)
        assert {trial.params["x"] for trial in trials} == set(range(10))
        assert max(Counter(evaluator.evaluated).values()) == 1
        assert re.search(r"every configuration .*: 10\b", capsys.readouterr().err)


@pytest.mark.full
@pytest.mark.parametrize("name", ["grid", "random"])
@pytest.mark.parametrize(
    ("space", "size"), [(LINE, 10), (space_of("x=choice(1,2,3)", "y=choice(0.5,a)"), 6), (space_of("x=range(0,2)"), 2)]
)
def test_an_exhausted_space_gets_no_more_trials_when_the_command_is_typed_again(
    name: str, space: Space, size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = settings(n_trials=50, sampler=name)
    first = run(space, wanted, Noisy(line), tmp_path)
    capsys.readouterr()
    for _ in range(2):
        again = Noisy(line)
        assert len(run(space, wanted, again, tmp_path)) == len(first)
        assert again.evaluated == []
        assert re.search(rf"every configuration .*: {size}\b", capsys.readouterr().err)


@pytest.mark.full
def test_a_grid_that_is_not_used_up_is_gone_on_with(tmp_path: Path) -> None:
    run(LINE, settings(n_trials=6, sampler="grid"), Noisy(line), tmp_path)
    trials = run(LINE, settings(n_trials=50, sampler="grid"), Noisy(line), tmp_path)
    assert {trial.params["x"] for trial in counted(trials)} == set(range(10))


def test_what_another_sweep_has_is_told_and_the_slot_spent_elsewhere(tmp_path: Path) -> None:
    evaluator = Noisy(line)
    evaluator.free = {"x=3", "x=4"}
    trials = run(LINE, settings(n_trials=8, sampler="grid", storage="memory"), evaluator, tmp_path)
    free = [trial for trial in trials if trial.params["x"] in (3, 4)]
    assert {state_of(trial) for trial in free if "duplicate_of" not in trial.user_attrs} == {"reused"}
    assert all(trial.value == pytest.approx(5 + trial.params["x"]) for trial in free)
    assert {trial.params["x"] for trial in counted(trials)} == set(range(10)) - {3, 4}


# --- what is told ---------------------------------------------------------------------------------------


def test_a_diverged_configuration_is_told_as_infinite_and_wins_nothing(tmp_path: Path) -> None:
    evaluator = Noisy(line, diverges=lambda knobs: knobs["x"] in ("0", "1"))
    wanted = settings(n_trials=10, sampler="grid", storage="memory")
    with searching(LINE, wanted, evaluator, tmp_path) as (search, study):
        search.run()
        found = conclude(search, evaluator, None)
        trials = study.get_trials()
    told = {trial.params["x"]: trial for trial in trials}
    assert [told[x].value for x in (0, 1)] == [math.inf, math.inf]
    assert [told[x].user_attrs["n"] for x in (0, 1)] == [2, 2]  # no more seeds for them
    assert state_of(told[0]) == "diverged"
    assert found.winner is not None
    assert found.winner.values == {"x": 2}
    assert Counts.of(trials).diverged == 2


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_no_sampler_is_upset_by_failures_and_divergence(name: str, tmp_path: Path) -> None:
    if name == "cmaes":
        pytest.importorskip("cmaes")
    space = (
        space_of("x=range(0,10)", "y=choice(0,1,2)")
        if name == "grid"
        else space_of("x=interval(-2,2)", "y=interval(0,1)")
    )
    evaluator = Noisy(
        lambda knobs: 5 + float(knobs["x"]) ** 2,
        own=0.01,
        breaks=lambda knobs: float(knobs["x"]) < -1.5,
        diverges=lambda knobs: float(knobs["x"]) > 1,
    )
    options = {"n_startup_trials": 8} if name in ("gp", "tpe") else {}
    count = 12 if name == "gp" else 16
    wanted = settings(n_trials=count, sampler=name, sampler_options=options, parallel=2, storage="memory")
    trials = run(space, wanted, evaluator, tmp_path)
    assert len(counted(trials)) == count
    assert all(trial.state.is_finished() for trial in trials)


@pytest.mark.parametrize(
    ("space", "fixed", "advice"),
    [
        (("lr=choice(1,2)",), {"clip": None}, "lower values of lr than 1, or .*clip=1$"),
        (("lr=choice(1,2)",), {"clip": 1.0}, "lower values of lr than 1, or lower values of clip than 1$"),
        (("num_hiddens=choice(1,2)", "clip=null,0.5"), {}, "a lower lr, or lower values of clip than 0.5$"),
        (("lr=interval(0.1,2)", "clip=interval(0.25,2)"), {}, "of lr than 0.1, or lower values of clip than 0.25$"),
        (("num_hiddens=choice(1,2)",), {}, "a lower lr$"),  # of an experiment, which may have no clip
    ],
)
def test_what_to_search_where_everything_diverged(space: tuple[str, ...], fixed: dict[str, Any], advice: str) -> None:
    assert re.search(advice, against_divergence(space_of(*space), fixed))


def test_a_broken_configuration_fails_alone_with_its_reason(tmp_path: Path) -> None:
    evaluator = Noisy(line, breaks=lambda knobs: knobs["x"] == "4")
    trials = run(LINE, settings(n_trials=10, sampler="grid", storage="memory"), evaluator, tmp_path)
    [failed] = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert failed.params == {"x": 4}
    assert failed.user_attrs["reason"] == "RuntimeError: it broke"
    impossible = run(space_of("illegal=0,1"), settings(n_trials=2, storage="memory"), Noisy(lambda k: 5.0), tmp_path)
    assert Counter(state_of(trial) for trial in impossible if takes_slot(trial)) == {"done": 1, "failed": 1}


@pytest.mark.full
def test_stopped_in_the_middle_no_trial_stays_running_and_its_parameters_come_again(tmp_path: Path) -> None:
    class Interrupted(Noisy):
        def poll(self, timeout_s: float) -> Any:
            if len(self.evaluated) > 12:
                raise KeyboardInterrupt
            return super().poll(timeout_s)

    wanted = settings(n_trials=10, parallel=3)
    with pytest.raises(KeyboardInterrupt):
        run(BOWL, wanted, Interrupted(bowl), tmp_path)
    with searching(BOWL, wanted, Noisy(bowl), tmp_path) as (_, study):
        stopped = [trial for trial in study.get_trials() if state_of(trial) == "stopped"]
        assert stopped
        assert not study.get_trials(states=(TrialState.RUNNING,))
    trials = run(BOWL, wanted, Noisy(bowl), tmp_path)
    again = {trial.user_attrs["again"]: trial for trial in trials if "again" in trial.user_attrs}
    assert {trial.number for trial in stopped} == set(again)
    for trial in stopped:
        assert again[trial.number].params == trial.params
        assert again[trial.number].state == TrialState.COMPLETE
    assert len(counted(trials)) == 10


# --- pruning within a run -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["median", "percentile", "halving", "hyperband"])
def test_runs_are_pruned_by_epoch(name: str, tmp_path: Path) -> None:
    evaluator = Noisy(line, epochs=20)
    trials = run(LINE, settings(n_trials=10, sampler="grid", pruner=name, storage="memory"), evaluator, tmp_path)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert {trial.number for trial in pruned} == evaluator.abandoned
    best = min(trial.params["x"] for trial in trials if trial.state == TrialState.COMPLETE)
    assert best < min(9, *(trial.params["x"] for trial in pruned)) or name in ("hyperband", "halving")
    for trial in pruned:
        assert trial.last_step is not None
        assert trial.user_attrs["reason"] == f"pruned after epoch {trial.last_step}"


def test_what_is_reported_is_the_mean_over_the_first_seeds(tmp_path: Path) -> None:
    evaluator = Noisy(bowl, own=0.1, epochs=5)
    [trial] = run(BOWL, settings(n_trials=1, pruner="median", storage="memory"), evaluator, tmp_path)
    values = [evaluator.value(evaluator.evaluated[0][0], seed) for seed in (0, 1)]
    expected = {epoch: math.sqrt(values[0] * values[1]) * (1 + 1 / epoch) for epoch in range(1, 5)}
    assert trial.intermediate_values == pytest.approx(expected)


def test_the_wilcoxon_pruner_judges_by_seed(tmp_path: Path) -> None:
    evaluator = Noisy(line, common=0.1, own=0.01)
    wanted = settings(n_trials=10, sampler="grid", pruner="wilcoxon", seeds=tuple(range(8)), storage="memory")
    trials = run(LINE, wanted, evaluator, tmp_path)
    given = {trial.params["x"]: trial.user_attrs["n"] for trial in trials}
    assert given[0] == 8
    assert min(given.values()) == 4  # four pairs are the fewest that can decide at p = 0.1
    assert max(trial.last_step for trial in trials if trial.intermediate_values) <= 7


# --- several objectives ---------------------------------------------------------------------------------


def test_several_objectives_have_a_front_evaluated_on_fresh_seeds(tmp_path: Path) -> None:
    """Quality 5 + |x − 3|, speed 10 + x: everything from 3 up is on the front, the rest is beaten by 3."""
    evaluator = Noisy(lambda k: 5 + abs(float(k["x"]) - 3), speed=lambda k: 10 + float(k["x"]))
    wanted = settings(
        objectives=(Objective("val_perplexity"), Objective("tokens_per_s", "higher")),
        n_trials=10,
        seeds=(0, 1),
        sampler="grid",
        parallel=4,
        storage="memory",
        baseline=("x=0",),
    )
    with searching(LINE, wanted, evaluator, tmp_path) as (search, study):
        search.run()
        found = conclude(search, evaluator, None)
        assert len(study.trials) == 10
    assert [one.values["x"] for one in found.front] == list(range(3, 10))
    assert found.winner is None
    for one in found.front:
        assert (sorted(one.choosing), sorted(one.runs)) == ([2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13])  # fresh
        assert one.told == pytest.approx([5 + one.values["x"] - 3, 10 + one.values["x"]])


@pytest.mark.parametrize("name", ["tpe", "nsga2", "gp"])
def test_pruning_with_several_objectives_looks_at_the_primary_metric(name: str, tmp_path: Path) -> None:
    evaluator = Noisy(line, epochs=20, speed=lambda k: 10.0)
    wanted = settings(
        objectives=(Objective("tokens_per_s", "higher"), Objective("val_perplexity")),
        n_trials=16,
        seeds=(0,),
        sampler=name,
        pruner="median",
        storage="memory",
    )
    assert wanted.primary == "val_perplexity"
    trials = run(space_of("x=interval(0,10)"), wanted, evaluator, tmp_path)
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.PRUNED] > 0
    assert states[TrialState.PRUNED] + states[TrialState.COMPLETE] == 16


def test_a_speed_that_cannot_be_measured_cleanly_fails_its_trial(tmp_path: Path) -> None:
    evaluator = Noisy(line, speed=lambda k: 10.0 if k["x"] != "2" else 0.0)
    wanted = settings(objectives=(Objective("tokens_per_s", "higher"),), n_trials=10, sampler="grid", storage="memory")
    trials = run(LINE, wanted, evaluator, tmp_path)
    [failed] = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert failed.params == {"x": 2}
    assert re.search(r"\b3 attempts: too noisy$", failed.user_attrs["reason"])
    assert evaluator.evaluated == []  # nothing needs to be trained


def test_a_speed_that_was_disturbed_is_measured_again(tmp_path: Path) -> None:
    """Nothing is trained again for it, and what was clean is not timed twice."""
    asked: Counter[str] = Counter()

    def speed(k: dict[str, str]) -> float:
        asked[k["x"]] += 1
        return 10.0 if asked[k["x"]] > 2 or k["x"] not in ("2", "5") else 0.0

    evaluator = Noisy(line, speed=speed)
    wanted = settings(
        objectives=(Objective("perplexity"), Objective("tokens_per_s", "higher")),
        n_trials=10,
        sampler="grid",
        parallel=4,
        seeds=(0, 1),
        storage="memory",
    )
    trials = run(LINE, wanted, evaluator, tmp_path)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 10
    assert asked == {str(x): 3 if x in (2, 5) else 1 for x in range(10)}
    assert len(evaluator.evaluated) == 20


# --- the finale -----------------------------------------------------------------------------------------


def test_the_best_few_and_the_baseline_are_evaluated_on_fresh_seeds(tmp_path: Path) -> None:
    evaluator = Noisy(line, common=0.3, own=0.01)
    wanted = settings(n_trials=10, sampler="grid", storage="memory", race=Race(best=2, fresh=7), baseline=("x=9",))
    with searching(LINE, wanted, evaluator, tmp_path) as (search, _):
        search.run()
        before = len(evaluator.evaluated)
        found = conclude(search, evaluator, None)
    extra = evaluator.evaluated[before:]
    by_x = {x: sorted(seed for overrides, seed in extra if knobs(overrides)["x"] == x) for x in "019"}
    assert by_x == {"0": list(range(6, 13)), "1": [6, 7, 8], "9": [9, 10, 11, 12]}  # three choose, four report
    assert len(extra) == sum(map(len, by_x.values()))
    assert found.confirmed
    assert found.winner is not None
    assert found.winner.values == {"x": 0}
    against = found.against_baseline
    assert against is not None
    assert against.n == 4
    assert against.low < 5 / 14 < against.high


def concluded(evaluator: Noisy, folder: Path, space: Any = LINE, **changes: Any) -> Any:
    """The outcome of a search of the whole grid."""
    wanted = settings(**{"n_trials": 10, "sampler": "grid", "storage": "memory"} | changes)
    with searching(space, wanted, evaluator, folder) as (search, _):
        search.run()
        return conclude(search, evaluator, None)


def test_the_reported_half_of_the_fresh_seeds_chooses_nothing(tmp_path: Path) -> None:
    """x = 1 is the best on the reporting seeds alone: it does not win by them."""

    class Lucky(Noisy):
        def value(self, overrides: Any, seed: int) -> float:
            return 1.0 if seed >= 12 and knobs(overrides)["x"] == "1" else super().value(overrides, seed)

    found = concluded(Lucky(line), tmp_path, race=Race(best=3, fresh=12))
    assert found.winner.values == {"x": 0}
    assert found.winner.estimate(Objective("perplexity")) == pytest.approx(5.0)


def test_one_fresh_seed_reports_and_the_search_chooses(tmp_path: Path) -> None:
    found = concluded(Noisy(line), tmp_path, race=Race(fresh=1))
    assert (found.winner.values, sorted(found.winner.runs), found.winner.choosing) == ({"x": 0}, [6], {})


@pytest.mark.parametrize(("part", "seed"), [("choosing", 7), ("reporting", 13)])
def test_a_finalist_that_diverges_on_fresh_seeds_gives_way_and_that_is_said(
    part: str, seed: int, tmp_path: Path
) -> None:
    evaluator = Noisy(line, diverges_on=lambda k, s: k["x"] == "0" and s == seed)
    found = concluded(evaluator, tmp_path)
    assert found.winner.values == {"x": 1}
    [gone] = [one for one in found.finalists if one.values == {"x": 0}]
    assert re.search(rf"^trial {gone.number} diverged .*\b1 of 6 {part} seeds$", gone.trouble)
    assert sum(gone.trouble in note for note in found.notes) == (part == "reporting")  # it had been chosen


def test_where_no_finalist_survives_the_reasons_are_told(tmp_path: Path) -> None:
    found = concluded(Noisy(line, diverges_on=lambda k, s: s > 5), tmp_path)
    assert (found.winner, found.concluded, found.waits) == (None, True, False)
    assert found.notes[-1].startswith("none of the best 3 survived")
    assert found.notes[-1].count("6 of 6 choosing") == 3


def test_a_baseline_that_diverges_counts_as_worse_and_that_is_said(tmp_path: Path) -> None:
    found = concluded(Noisy(line, diverges_on=lambda k, s: k["x"] == "9" and s > 12), tmp_path, baseline=("x=9",))
    assert (found.against_baseline.n, found.against_baseline.reference_diverged) == (6, 5)
    assert found.against_baseline.p < 0.05
    [note] = [note for note in found.notes if "baseline" in note]
    assert re.search(r"\bdiverged .*\b5 of 6 reporting seeds$", note)


@pytest.mark.parametrize(
    ("evaluator", "words"),
    [
        (Noisy(line, diverges=lambda k: True), ["none of 10 trials", "10 diverged", "2 of 2 runs diverged", "lower"]),
        (Noisy(line, breaks=lambda k: True), ["none of 10 trials", "10 failed", "RuntimeError: it broke"]),
        (
            Noisy(line, breaks=lambda k: int(k["x"]) < 4, diverges=lambda k: True),
            ["6 diverged", "4 failed", "it broke"],
        ),
    ],
)
def test_a_search_without_any_value_says_why(evaluator: Noisy, words: list[str], tmp_path: Path) -> None:
    found = concluded(evaluator, tmp_path)
    assert (found.winner, found.finalists, found.concluded) == (None, [], True)
    [note] = found.notes
    assert [word for word in words if word not in note] == []
    assert "\n" not in note


def test_the_remedy_for_divergence_names_the_searched_lr(tmp_path: Path) -> None:
    space = space_of("lr=choice(10.0,20.0)")
    found = concluded(Noisy(lambda k: 5.0, diverges=lambda k: True), tmp_path, space, n_trials=2)
    assert "lower values of lr than 10" in found.notes[0]


def test_where_no_trial_differs_there_is_no_winner(tmp_path: Path) -> None:
    evaluator = Noisy(lambda k: 28.77 * (1 + 1e-8 * float(k["x"])), common=0.01)  # seeds differ, knobs by rounding
    found = concluded(evaluator, tmp_path)
    assert (found.winner, found.finalists) == (None, [])
    assert "no trial differs" in found.notes[0]
    assert {seed for _, seed in evaluator.evaluated} <= set(range(6))  # nothing is spent on fresh seeds


def test_ties_are_named(tmp_path: Path) -> None:
    """Two values of x, four configurations of each: the first three of the better four go on, and are equal again."""
    evaluator = Noisy(lambda k: 5.0 if int(k["x"]) < 4 else 6.0)
    found = concluded(evaluator, tmp_path, space_of("x=range(0,8)"), n_trials=8)
    assert found.winner is not None
    assert "equal in the search" in found.notes[0]
    assert "equal on the choosing seeds" in found.notes[1]
    for note in found.notes:
        assert str(found.winner.number) in note


def test_a_metric_that_may_be_0_is_searched_for_its_largest_value(tmp_path: Path) -> None:
    """Accuracy, best at x = 5; x = 0 has an accuracy of 0, x = 9 diverges."""
    evaluator = Noisy(
        lambda k: 1 - abs(float(k["x"]) - 5) / 5,
        own=0.01,
        names=("accuracy", "val_perplexity"),
        diverges=lambda k: k["x"] == "9",
    )
    wanted = {"objectives": objectives("accuracy"), "baseline": ("x=0",)}
    found = concluded(evaluator, tmp_path, **wanted)
    assert found.winner.values == {"x": 5}
    assert found.winner.estimate(wanted["objectives"][0]) == pytest.approx(1, abs=0.02)
    against = found.against_baseline
    assert (against.kind, against.n) == ("difference", 6)
    assert against.value == pytest.approx(1, abs=0.02)
    assert against.low > 0.9
    both = concluded(
        Noisy(lambda k: float(k["x"]) / 10, names=("accuracy",), speed=lambda k: 100 - float(k["x"])),
        tmp_path,
        objectives=objectives(["accuracy", "tokens_per_s"]),
        seeds=(0, 1),
        parallel=4,
    )
    assert {one.values["x"] for one in both.front} == set(range(10))


def test_a_lock_that_cannot_be_had_is_not_one_that_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for number in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):

        def broken(*_: Any, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("portalocker.portalocker.LOCKER", broken)
        with alone(tmp_path, said.append) as first:
            assert first
    assert len(said) == 3
    monkeypatch.undo()
    with alone(tmp_path) as first, alone(tmp_path) as second:
        assert (first, second) == (True, False)


# --- what samplers see ----------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["perplexity", "accuracy"])
def test_samplers_see_finite_values_on_the_scale_on_which_effects_add_up(objective: str, tmp_path: Path) -> None:
    [wanted] = objectives(objective)
    evaluator = Noisy(lambda k: (1 + float(k["x"])) / 10, names=(objective,), diverges=lambda k: k["x"] in ("3", "7"))
    with searching(
        LINE, settings(n_trials=10, sampler="grid", storage="memory", objectives=(wanted,)), evaluator, tmp_path
    ) as (search, study):
        search.run()
        stored = {t.params["x"]: t.value for t in study.get_trials()}
        assert [math.isinf(stored[x]) for x in (3, 7)] == [True, True]  # the study keeps what was measured
        seen = {t.params["x"]: t.value for t in ScaledStudy(study, [wanted.scale]).get_trials()}
        assert {t.params["x"]: t.value for t in ScaledStudy(study, [wanted.scale])._get_trials()} == seen
    known = [x for x in range(10) if x not in (3, 7)]
    expected = {x: (1 + x) / 10 if objective == "accuracy" else math.log((1 + x) / 10) for x in known}
    assert {x: seen[x] for x in known} == pytest.approx(expected)
    low, high = min(expected.values()), max(expected.values())
    worse = low - 0.1 * (high - low) if objective == "accuracy" else high + 0.1 * (high - low)
    assert [seen[3], seen[7]] == pytest.approx([worse, worse])


def test_where_everything_diverged_samplers_see_equal_values() -> None:
    assert finite_column([math.inf, math.inf]) == [0.0, 0.0]
    assert finite_column([2.0, math.inf]) == [2.0, pytest.approx(2.2)]
    assert finite_column([]) == []


# --- samplers, storages, names --------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("storage", ["sqlite", "journal", "memory"])
def test_storages(storage: str, tmp_path: Path) -> None:
    trials = run(LINE, settings(n_trials=4, storage=storage), Noisy(line, diverges=lambda k: k["x"] == "7"), tmp_path)
    assert len(counted(trials)) == 4
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"sqlite": {"study.db"}, "journal": {"study.journal"}, "memory": set()}[storage]
    if storage == "sqlite":
        with sqlite3.connect(tmp_path / "study.db") as database:
            assert database.execute("select count(*) from trials").fetchone()[0] == len(trials)
        database.close()


@pytest.mark.full
def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own limit of a file's size, which it tells as it tells a full disk."""

    class Full(Connection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            pages = self.execute("pragma page_count").fetchone()[0]
            self.execute(f"pragma max_page_count={pages}")

    run(LINE, settings(n_trials=2), Noisy(line), tmp_path)
    monkeypatch.setattr(storage, "Connection", Full)
    with pytest.raises(UserError, match=r"study\.db.*disk is full; free some space"):
        run(LINE, settings(n_trials=10), Noisy(line), tmp_path)


@pytest.mark.parametrize(
    ("content", "remedy"),
    [(b"not a database at all", "move it away"), (b"SQLite format 3\0" + b"x" * 4096, "move it away")],
)
def test_a_study_that_is_none_is_said_with_what_to_do(content: bytes, remedy: str, tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(content)
    for use in (lambda: run(LINE, settings(n_trials=2), Noisy(line), tmp_path), lambda: stored_search(tmp_path)):
        with pytest.raises(UserError, match=rf"study\.db.*; {remedy}"):
            use()


@pytest.mark.parametrize(
    ("raises", "remedy"),
    [
        ("insert into t values (zeroblob(100000))", "free some space"),
        ("create table u (x)", "free some space"),
        ("attach 'nowhere/at/all.db' as other", "its folder is there"),
    ],
)
def test_what_sqlite_says_has_a_remedy(raises: str, remedy: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (x)")
        database.execute("pragma max_page_count=1")
        with pytest.raises(sqlite3.OperationalError) as found:
            database.execute(raises)
    database.close()
    assert remedy in first_line(found.value).partition("; ")[2]
    assert first_line(ValueError("no such thing.")) == "no such thing"


def test_the_seed_of_a_sampler_depends_on_where_it_goes_on() -> None:
    assert sampler_seed("tpe", 5, trials=0, alone=True, worker="a") == 5
    later = [sampler_seed("tpe", 5, trials=n, alone=True, worker="a") for n in range(1, 5)]
    assert len({5, *later}) == 5
    assert sampler_seed("tpe", 5, 0, alone=False, worker="a") != sampler_seed("tpe", 5, 0, alone=False, worker="b")
    assert sampler_seed("qmc", 5, trials=9, alone=False, worker="a") == 5  # counts its points in the study


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_sampler("tpee", {}, 0, BOWL, False), "'tpee'; choose tpe, gp, .*mean tpe"),
        (
            lambda: make_sampler("tpe", {"n_startup": 3}, 0, BOWL, False),
            "tpe has no option 'n_startup'.*n_startup_trials",
        ),
        (lambda: make_sampler("nsga2", {"population_size": 1}, 0, BOWL, False), "greater than or equal to 2"),
        (lambda: make_sampler("grid", {}, 0, BOWL, False), "x is an interval; write x=choice"),
        (lambda: make_sampler("cmaes", {}, 0, BOWL, True), "has one objective only"),
        (lambda: make_pruner("medan", {}, 10, False), "'medan'; choose none, median.*mean median"),
        (lambda: make_pruner("hyperband", {}, 10, True), "hyperband has one objective only"),
        (lambda: objectives("perplexit"), "objective is 'perplexit'.*mean perplexity"),
        (lambda: objectives(["perplexity", "perplexity"]), "name one or several different ones"),
        (lambda: race_of({"frist": 2}), "its options are first, p, best or fresh"),
        (lambda: race_of({"first": 0}), "race.first is 0; .*1 or more"),
        (lambda: race_of({"p": 0.7}), "race.p is 0.7"),
        (lambda: named(3, "sampler"), "sampler is 3; write a name"),
        (lambda: location("postgres", Path("x")), "write sqlite, journal, or a URL such as postgresql://"),
    ],
)
def test_mistakes_are_one_line(make: Any, message: str) -> None:
    with pytest.raises((ConfigError, UserError), match=message) as caught:
        make()
    assert len(str(caught.value).splitlines()) == 1


def test_every_name_makes_what_it_says() -> None:
    assert {name: type(make_pruner(name, {}, 100, False)) for name in PRUNERS} == PRUNERS
    made = {name: make_sampler(name, {}, 1, LINE, False) for name in SAMPLERS if name != "cmaes"}
    assert all(isinstance(sampler, SAMPLERS[name]) for name, sampler in made.items())
    conditional = space_of("a=1,2", "b=1,2", conditions={"b": {"a": [1]}})
    tpe = make_sampler("tpe", {"n_startup_trials": 3}, 1, conditional, False)
    assert isinstance(tpe, optuna.samplers.TPESampler)


def test_a_url_is_shown_without_its_password() -> None:
    where = location("postgresql://me:se?cret@host:5432/db", Path("x"))
    assert where.url is not None
    assert (where.url.drivername, where.url.password, where.url.database) == ("postgresql+psycopg", "se?cret", "db")
    assert str(where) == "postgresql+psycopg://me:***@host:5432/db"
    assert str(location(None, Path("results/x"))) == "results/x/study.db"


AWKWARD = ["q?x", "a#b", "50%", "%41", "two words", "it's", 'say "so"', "{x}", "a&b=c;d", "Größe-名前", "n" * 200]
"""Names of folders of which each means something in an address, a template or a shell."""


@pytest.mark.full
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
@pytest.mark.parametrize("name", AWKWARD)
def test_a_study_lies_in_its_folder_whatever_that_is_called(name: str, storage: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    wanted = settings(n_trials=2, storage=storage)
    run(LINE, wanted, Noisy(line), folder)
    assert len(counted(run(LINE, replace(wanted, n_trials=3), Noisy(line), folder))) == 3  # found again
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in folder.iterdir()} == {"study.db" if storage == "sqlite" else "study.journal"}
    stored = stored_search(folder)
    assert stored is not None
    assert len(stored.trials) >= 3


@pytest.mark.full
@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        (space_of("x=range(0,11)"), {}, r"another space: x was range\(0 to 9\), now it is range\(0 to 10\)"),
        (space_of("x=range(0,10)", "y=1,2"), {}, r"y was not searched, now it is choice\(1, 2\)"),
        (
            LINE,
            {"objectives": (Objective("val_perplexity"),)},
            "begun with the objective perplexity, not val_perplexity",
        ),
        (LINE, {"seeds": tuple(range(8))}, "begun with the seeds 0 1 2 3 4 5, not 0 1 2 3 4 5 6 7"),
    ],
)
def test_another_search_under_the_same_name_is_refused(
    space: Any, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    before = run(LINE, settings(n_trials=2), Noisy(line), tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        run(space, settings(n_trials=9, **changes), Noisy(line), tmp_path)
    assert "study.db" in str(caught.value)
    assert "give another name=NAME" in str(caught.value)
    assert len(run(LINE, settings(n_trials=2), Noisy(line), tmp_path)) == len(before)
