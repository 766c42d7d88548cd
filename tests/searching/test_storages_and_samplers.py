"""What samplers see and make, where a study is stored, and what is said of a storage that cannot be used. CPU, 3 s."""

import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import PendingRollbackError
from synthetic import BOWL, LINE, Noisy, counted, line, run, searching, settings, space_of

from ablate.analysis.study import stored_search
from ablate.config.errors import ConfigError, UserError
from ablate.searching import samplers, storage
from ablate.searching.jobs import directed
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
from ablate.searching.settings import Objective, named, objectives, race_of, whole
from ablate.searching.storage import Connection, check_same, first_line, location


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
    assert first_line(PendingRollbackError("Please rollback() fully before proceeding")) == "its connection was broken"


def test_the_seed_of_a_sampler_depends_on_where_it_goes_on() -> None:
    assert sampler_seed("tpe", 5, trials=0, alone=True, worker="a") == 5
    later = [sampler_seed("tpe", 5, trials=n, alone=True, worker="a") for n in range(1, 5)]
    assert len({5, *later}) == 5
    assert sampler_seed("tpe", 5, 0, alone=False, worker="a") != sampler_seed("tpe", 5, 0, alone=False, worker="b")
    assert sampler_seed("qmc", 5, trials=9, alone=False, worker="a") == 5  # counts its points in the study


def sampled(name: str, **options: Any) -> Any:
    return make_sampler(name, options, 0, LINE, False)


def pruned(name: str, **options: Any) -> Any:
    return make_pruner(name, options, 10, False)


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
        (lambda: race_of({"p": "abc"}), "race.p is 'abc'"),
        (lambda: race_of({"p": None}), "race.p is None"),
        (lambda: race_of({"p": False}), "race.p is False"),
        (lambda: race_of({"first": True}), "race.first is True; it must be a whole number, 1 or more"),
        (lambda: race_of({"fresh": True}), "race.fresh is True; it must be a whole number, 1 or more"),
        (lambda: objectives(None), "objective is None, for which no search looks; choose"),
        (lambda: objectives(3), "objective is 3, for which no search looks; choose"),
        (lambda: objectives({"a": 1}), "objective is {'a': 1}, for which no search looks; choose"),
        (lambda: directed(3), "direction is 3; choose minimize or maximize"),
        (lambda: whole(True, "seed", 0), "seed is True; it must be a whole number, 0 or more"),
        (lambda: sampled("tpe", n_startup_trials="abc"), "n_startup_trials is 'abc'; it must be a whole number, 0 or"),
        (lambda: sampled("tpe", n_startup_trials=True), "n_startup_trials is True; it must be a whole number"),
        (lambda: sampled("tpe", n_startup_trials=None), "n_startup_trials is None; it must be a whole number"),
        (lambda: sampled("tpe", n_ei_candidates=0), "n_ei_candidates is 0; it must be a whole number, 1 or more"),
        (lambda: sampled("tpe", multivariate=1), "multivariate is 1; it must be true or false, or null"),
        (lambda: sampled("tpe", seed="abc"), "seed is 'abc'; it must be a whole number, 0 or more, or null"),
        (lambda: sampled("tpe", gamma=3), "tpe has no option 'gamma'"),
        (lambda: sampled("nsga2", crossover_prob="abc"), "crossover_prob is 'abc'; it must be a number, 0 or more"),
        (lambda: sampled("tpe", prior_weight=math.inf), "prior_weight is inf; it must be a number, 0 or more"),
        (lambda: sampled("cmaes", x0={"x": "abc"}), "x0 is {'x': 'abc'}; it must have a number for x"),
        (lambda: sampled("cmaes", x0={"y": 1}), "x0 is {'y': 1}; it must have a number for x"),
        (lambda: pruned("hyperband", max_resource=0), "max_resource is 0; it must be a text, or a whole number, 1"),
        (lambda: sampled("grid", search_space={}), "grid has no option 'search_space'"),
        (lambda: pruned("median", n_warmup_steps="abc"), "n_warmup_steps is 'abc'; it must be a whole number, 0 or"),
        (lambda: pruned("percentile", percentile="abc"), "percentile is 'abc'; it must be a number"),
        (lambda: pruned("hyperband", reduction_factor=1), "reduction_factor is 1; it must be a whole number, 2 or"),
        (lambda: pruned("halving", min_resource=1.5), "min_resource is 1.5; it must be a text, or a whole number, 1"),
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


def test_an_option_that_is_given_replaces_the_default_of_its_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(samplers, "_make", lambda kind, name, options, what: made.update({name: options}))
    conditional = space_of("a=1,2", "b=1,2", conditions={"b": {"a": [1]}})
    make_sampler("tpe", {}, 7, conditional, False)
    make_sampler("grid", {"seed": 3}, 7, conditional, False)
    make_sampler("qmc", {}, 7, conditional, False)
    assert made == {
        "tpe": {"seed": 7, "group": True},
        "grid": {"seed": 3, "search_space": {"a": [1, 2], "b": [1, 2]}},
        "qmc": {"seed": 7, "scramble": True, "warn_independent_sampling": False},
    }
    make_sampler("tpe", {"group": False}, 7, conditional, False)
    make_sampler("qmc", {"scramble": False, "warn_independent_sampling": True}, 7, conditional, False)
    assert made["tpe"] == {"seed": 7, "group": False}
    assert made["qmc"] == {"seed": 7, "scramble": False, "warn_independent_sampling": True}


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
        (LINE, {"seeds": tuple(range(8))}, "begun with the seeds 0, 1, 2, 3, 4, 5, not 0, 1, 2, 3, 4, 5, 6, 7"),
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


def test_several_objectives_are_told_apart_from_one() -> None:
    two = {"objectives": ["accuracy", "certainty"], "seeds": [0]}
    with pytest.raises(UserError, match="begun with the objectives accuracy, certainty, not accuracy;"):
        check_same(two, two | {"objectives": ["accuracy"]}, "it")


def test_trials_that_took_no_slot_are_counted_by_what_they_were() -> None:
    def trial(**attributes: str) -> FrozenTrial:
        return create_trial(state=TrialState.COMPLETE, value=1.0, user_attrs=attributes)

    found = Counts.of([trial(), trial(excluded="reused"), trial(excluded="reused"), trial(excluded="duplicate")])
    assert str(found) == "1 done, 2 reused, 1 duplicate"
