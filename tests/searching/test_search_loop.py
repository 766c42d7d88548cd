"""The loop on made-up objectives: totals, twins, what is told, pruning, several objectives. CPU, 8 s."""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from synthetic import BOWL, LINE, Noisy, bowl, counted, line, run, searching, settings, space_of

from ablate.analysis.study import state_of
from ablate.searching.evaluation import Overrides
from ablate.searching.finale import against_divergence, conclude
from ablate.searching.progress import Counts
from ablate.searching.samplers import SAMPLERS
from ablate.searching.settings import Objective
from ablate.searching.space import Space
from ablate.searching.storage import takes_slot
from ablate.searching.workers import PREFIX, release

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


def test_a_configuration_that_failed_is_not_begun_again(tmp_path: Path) -> None:
    begun: list[str] = []

    def breaks(knobs: dict[str, str]) -> bool:
        begun.append(knobs["x"])
        return knobs["x"] == "2"

    trials = run(space_of("x=range(0,3)"), settings(storage="memory", race=None), Noisy(line, breaks=breaks), tmp_path)
    assert sorted(begun) == ["0", "1", "2"]
    assert Counter(state_of(trial) for trial in counted(trials)) == {"done": 2, "failed": 1}


def test_what_another_process_gave_back_is_tried_although_all_was_begun(tmp_path: Path) -> None:
    """It held x = 0, the best, when ours found nothing else to try, and was stopped then."""

    class Beside(Noisy):
        def poll(self, timeout_s: float) -> Any:
            if search.exhausted and not gone:
                gone.append(study.get_trials()[0])
                release(study, gone[0], "stopped", excluded="stopped")
            return super().poll(timeout_s)

    gone: list[Any] = []
    space, evaluator = space_of("x=range(0,4)"), Beside(line)
    wanted = settings(race=None, parallel=2, storage="sqlite", confirm=False)
    with searching(space, wanted, evaluator, tmp_path) as (search, study):
        other = study.ask()
        other.set_user_attr("worker", "another:1:1")
        study._storage.set_trial_param(other._trial_id, "x", 0.0, space.dimensions[0].distribution)
        other.set_user_attr("key", evaluator.identify(("x=0",)))
        study.set_user_attr(f"{PREFIX}another:1:1", search.worker.facts | {"left": False})
        search.run()
        found = conclude(search, evaluator, None)
        assert gone
        assert [trial.params for trial in study.get_trials() if trial.state == TrialState.WAITING] == []
    assert found.winner is not None
    assert found.winner.values == {"x": 0}


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
