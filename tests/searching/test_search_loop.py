"""The loop on made-up objectives: totals, twins, what is told, pruning, several objectives, samplers and storages.

CPU, 12 s.
"""

import math
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from synthetic import Noisy, knobs, run, searching, settings, space_of

from ablate.analysis.study import state_of
from ablate.errors import ConfigError, UserError
from ablate.searching.finale import conclude
from ablate.searching.progress import Counts
from ablate.searching.samplers import PRUNERS, SAMPLERS, make_pruner, make_sampler, sampler_seed
from ablate.searching.settings import Objective, Race, named, objectives, race_of
from ablate.searching.storage import location, shown, takes_slot


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


def test_a_space_that_is_exhausted_ends_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("random", "grid", "tpe"):
        evaluator = Noisy(line)
        trials = run(LINE, settings(n_trials=50, sampler=name, storage="memory"), evaluator, tmp_path / name)
        assert {trial.params["x"] for trial in trials} == set(range(10))
        assert max(Counter(evaluator.evaluated).values()) == 1
        assert "every configuration of the space has been tried: 10" in capsys.readouterr().err


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


def test_a_broken_configuration_fails_alone_with_its_reason(tmp_path: Path) -> None:
    evaluator = Noisy(line, breaks=lambda knobs: knobs["x"] == "4")
    trials = run(LINE, settings(n_trials=10, sampler="grid", storage="memory"), evaluator, tmp_path)
    [failed] = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert failed.params == {"x": 4}
    assert failed.user_attrs["reason"] == "RuntimeError: it broke"
    impossible = run(space_of("illegal=0,1"), settings(n_trials=2, storage="memory"), Noisy(lambda k: 5.0), tmp_path)
    assert Counter(state_of(trial) for trial in impossible if takes_slot(trial)) == {"done": 1, "failed": 1}


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
        assert sorted(one.runs) == [2, 3, 4, 5, 6]  # fresh
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
    assert failed.user_attrs["reason"] == "no clean timing in 3 attempts: too noisy"
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
    assert Counter(seed for _, seed in extra) == dict.fromkeys(range(6, 13), 3)
    assert {knobs(overrides)["x"] for overrides, _ in extra} == {"0", "1", "9"}
    assert found.confirmed
    assert found.winner is not None
    assert found.winner.values == {"x": 0}
    ratio = found.against_baseline
    assert ratio is not None
    assert ratio.n == 7
    assert ratio.low < 5 / 14 < ratio.high  # paired: what the seeds have in common cancels
    assert ratio.high / ratio.low < 1.05


# --- samplers, storages, names --------------------------------------------------------------------------


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


def test_the_seed_of_a_sampler_depends_on_where_it_goes_on() -> None:
    assert sampler_seed("tpe", 5, trials=0, alone=True, worker="a") == 5
    later = [sampler_seed("tpe", 5, trials=n, alone=True, worker="a") for n in range(1, 5)]
    assert len({5, *later}) == 5
    assert sampler_seed("tpe", 5, 0, alone=False, worker="a") != sampler_seed("tpe", 5, 0, alone=False, worker="b")
    assert sampler_seed("qmc", 5, trials=9, alone=False, worker="a") == 5  # counts its points in the study


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_sampler("tpee", {}, 0, BOWL, False), "sampler is 'tpee'; choose tpe, gp, .*did you mean tpe"),
        (
            lambda: make_sampler("tpe", {"n_startup": 3}, 0, BOWL, False),
            "tpe has no option 'n_startup'.*n_startup_trials",
        ),
        (lambda: make_sampler("nsga2", {"population_size": 1}, 0, BOWL, False), "greater than or equal to 2"),
        (lambda: make_sampler("grid", {}, 0, BOWL, False), "x is an interval; write x=choice"),
        (lambda: make_sampler("cmaes", {}, 0, BOWL, True), "has one objective only"),
        (lambda: make_pruner("medan", {}, 10, False), "pruner is 'medan'; choose none, median.*did you mean median"),
        (lambda: make_pruner("hyperband", {}, 10, True), "hyperband has one objective only"),
        (lambda: objectives("perplexit"), "objective is 'perplexit', for which no search looks.*mean perplexity"),
        (lambda: objectives(["perplexity", "perplexity"]), "name one or several different ones"),
        (lambda: race_of({"frist": 2}), "its options are first, p, best or fresh"),
        (lambda: race_of({"first": 0}), "race.first is 0; it must be a whole number, 1 or more"),
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
    url = location("postgresql://me:secret@host:5432/db", Path("x"))
    assert url == "postgresql+psycopg://me:secret@host:5432/db"
    assert shown(url) == "postgresql+psycopg://me:***@host:5432/db"
    assert shown(location(None, Path("results/x"))) == "results/x/study.db"


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
