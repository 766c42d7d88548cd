"""The override grammar as dimensions, conditions, grids, and one line for what means nothing. CPU, 1 s."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from synthetic import Noisy, run, settings, space_of

from ablate.config.errors import ConfigError
from ablate.searching import samplers
from ablate.searching import space as space_module
from ablate.searching.space import Space


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("num_hiddens=choice(32,64,128)", CategoricalDistribution([32, 64, 128])),
        ("num_hiddens=32,64", CategoricalDistribution([32, 64])),
        ("clip=null,1,0.5", CategoricalDistribution([None, 1, 0.5])),
        ("sampling=choice(sequential,'random')", CategoricalDistribution(["sequential", "random"])),
        ("model.write_back=choice(true,false)", CategoricalDistribution([True, False])),
        ("lr=interval(0.1,2)", FloatDistribution(0.1, 2.0)),
        ("lr=tag(log, interval(0.01,2))", FloatDistribution(0.01, 2.0, log=True)),
        ("num_hiddens=int(interval(16,256))", IntDistribution(16, 256)),
        ("num_hiddens=tag(log, int(interval(16, 256)))", IntDistribution(16, 256, log=True)),
        ("layers=range(1,4)", IntDistribution(1, 3)),
        ("layers=range(4,1,-1)", IntDistribution(2, 4)),
        ("num_steps=range(10,60,20)", IntDistribution(10, 50, step=20)),
        ("dropout=range(0.0,0.7,0.2)", FloatDistribution(0.0, 0.6, step=0.2)),
        ("layers=tag(log, range(1,9))", IntDistribution(1, 8, log=True)),
    ],
)
def test_the_grammar(override: str, distribution: optuna.distributions.BaseDistribution) -> None:
    [dimension] = space_of(override).dimensions
    assert dimension.distribution == distribution
    assert dimension.name == override.partition("=")[0]


@pytest.mark.parametrize(
    ("override", "written"),
    [
        ("clip=null,1", {"clip=null", "clip=1"}),
        ("model=choice(rnn,gru)", {"model=rnn", "model=gru"}),
        ("+model.gates.output=choice(0.5,1)", {"+model.gates.output=0.5", "+model.gates.output=1"}),
        ("prefixes=choice([a,b],[])", {"prefixes=[a,b]", "prefixes=[]"}),
        ("data.path=choice('a b.txt','c,d.txt')", {r"data.path=a\ b.txt", r"data.path=c\,d.txt"}),
        ("layers=range(1,3)", {"layers=1", "layers=2"}),
    ],
)
def test_a_choice_is_written_as_it_was_typed(override: str, written: set[str]) -> None:
    space = space_of(override)
    grid = space.grid()
    assert grid is not None
    assert {text for values in grid for text in space.written(values)} == written


def test_what_has_one_value_is_fixed() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from ablate.searching.space import build

    overrides = OverridesParser.create().parse_overrides(["epochs=3", "layers=choice(2)", "lr=0.1,0.2", "~data"])
    space, fixed = build(overrides)
    assert fixed == ["epochs=3", "layers=2", "~data"]
    assert [dimension.name for dimension in space.dimensions] == ["lr"]


CONDITIONS = {"dropout": {"layers": [2, 3]}, "alpha": {"optimizer": "rmsprop", "dropout": [0.0]}}


def test_a_dimension_exists_only_under_its_conditions() -> None:
    space = space_of(
        "alpha=0.1,0.2", "dropout=0.0,0.5", "layers=range(1,4)", "optimizer=sgd,rmsprop", conditions=CONDITIONS
    )
    order = [dimension.name for dimension in space.dimensions]
    assert order.index("layers") < order.index("dropout") < order.index("alpha")
    grid = space.grid()
    assert grid is not None
    for values in grid:
        assert ("dropout" in values) == (values["layers"] >= 2)
        assert ("alpha" in values) == (values.get("dropout") == 0.0 and values["optimizer"] == "rmsprop")
    # layers 1: 2 optimizers; layers 2 and 3: sgd with 2 dropouts, rmsprop with 0.0 and 2 alphas or with 0.5
    assert len(grid) == 2 + 2 * (2 + 2 + 1)

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {repr(space.suggest(study.ask())) for _ in range(200)}
    assert seen == {repr(values) for values in grid}
    rng = np.random.default_rng(0)
    assert {repr(space.draw(rng)) for _ in range(300)} == seen


def test_a_condition_on_what_is_fixed_holds_everywhere_or_nowhere() -> None:
    def layers(count: int) -> Space:
        return space_of(
            "lr=0.1,0.2", "dropout=0.1,0.2", conditions={"dropout": {"layers": [2]}}, others={"layers": count}
        )

    assert [dimension.name for dimension in layers(2).dimensions] == ["lr", "dropout"]
    assert [dimension.name for dimension in layers(1).dimensions] == ["lr"]


def test_draws_lie_within_and_a_logarithmic_scale_is_uniform_in_the_logarithm() -> None:
    space = space_of("lr=tag(log, interval(0.01,1))", "num_hiddens=tag(log, int(interval(4,64)))", "x=interval(-1,1)")
    assert space.grid() is None
    rng = np.random.default_rng(1)
    draws = [space.draw(rng) for _ in range(2000)]
    lr = np.array([values["lr"] for values in draws])
    assert lr.min() >= 0.01
    assert lr.max() <= 1
    assert np.log10(lr).mean() == pytest.approx(-1, abs=0.05)
    assert {type(values["num_hiddens"]) for values in draws} == {int}
    assert min(values["num_hiddens"] for values in draws) == 4
    assert max(values["num_hiddens"] for values in draws) == 64


def test_corners_show_every_end_of_every_dimension() -> None:
    space = space_of(
        "lr=interval(0.1,2)", "layers=range(1,4)", "dropout=0.1,0.3", conditions={"dropout": {"layers": [3]}}
    )
    corners = list(space.corners())
    assert {values["lr"] for values in corners} == {0.1, 2.0}
    assert {values["layers"] for values in corners} == {1, 3}
    assert {values["dropout"] for values in corners if "dropout" in values} == {0.1, 0.3}
    assert all(values["layers"] == 3 for values in corners if "dropout" in values)


def test_a_condition_of_a_knob_that_is_fixed_does_not_matter() -> None:
    space = space_of("lr=0.1,0.2", "dropout=0.1", "layers=1,2", conditions={"dropout": {"layers": [2]}})
    assert [dimension.name for dimension in space.dimensions] == ["lr", "layers"]


TENTHS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_range_has_the_values_that_one_would_type() -> None:
    """0.3, which is another setting than 0.30000000000000004."""
    space = space_of("dropout=range(0,0.6,0.1)")
    [dimension] = space.dimensions
    assert dimension.listed() == TENTHS
    assert dimension.ends() == [0.0, 0.5]
    rng = np.random.default_rng(0)
    assert {space.draw(rng)["dropout"] for _ in range(100)} == {*TENTHS}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert {space.suggest(study.ask())["dropout"] for _ in range(100)} == {*TENTHS}


@pytest.mark.parametrize("typed", ["x=interval(0.0,1)", "x=range(0,1.5,0.5)"])
def test_a_number_of_numpy_is_written_as_any_other(typed: str) -> None:
    """CMA-ES draws such where it meets the end of an interval."""
    [dimension] = space_of(typed).dimensions
    trial: Any = SimpleNamespace(suggest_float=lambda *_, **__: np.float64(0.5))
    assert dimension.written(dimension.suggest(trial)) == "x=0.5"


@pytest.mark.parametrize(
    "conditions",
    [
        {"optimizer.momentum": {"optimizer": ["sgd"]}},
        {"optimizer": {"momentum": {"optimizer": ["sgd"]}}},  # as Hydra reads it on the command line
    ],
)
def test_a_condition_may_be_of_a_knob_with_a_dot(conditions: Any) -> None:
    space = space_of("optimizer.momentum=0.1,0.2", "optimizer=sgd,adam", conditions=conditions)
    assert {dimension.name: dimension.conditions for dimension in space.dimensions} == {
        "optimizer": (),
        "optimizer.momentum": (("optimizer", ("sgd",)),),
    }


def test_a_condition_may_rest_on_a_knob_that_is_null() -> None:
    conditions = {"lr": {"clip": [None]}}
    assert len(space_of("lr=1,2", "epochs=1,2", conditions=conditions, others={"clip": None}).dimensions) == 2
    assert len(space_of("lr=1,2", "epochs=1,2", conditions=conditions, others={"clip": 1.0}).dimensions) == 1


def test_corners_have_none_of_the_values_that_only_a_condition_has() -> None:
    space = space_of("lr=0.1,0.2", "layers=1,2", conditions={"lr": {"layers": [3, 2]}})
    assert {space.written(corner) for corner in space.corners()} == {
        ("layers=1",),
        ("layers=2", "lr=0.1"),
        ("layers=2", "lr=0.2"),
    }


def test_whole_numbers_without_end_are_never_written_out() -> None:
    space = space_of("x=int(interval(0,1e15))", "y=tag(log, int(interval(1,1e15)))")
    assert space.grid() is None
    assert 0 <= space.draw(np.random.default_rng(0))["x"] <= 1e15
    with pytest.raises(ConfigError, match=r"would list .* configurations, more than 100,000"):
        samplers.grid_space(space)


def test_a_condition_may_rest_on_a_value_of_a_range() -> None:
    space = space_of("dropout=range(0,0.6,0.1)", "layers=1,2", conditions={"layers": {"dropout": [0.3]}})
    grid = space.grid()
    assert grid is not None
    assert [values["dropout"] for values in grid if "layers" in values] == [0.3, 0.3]


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe", "qmc"])
def test_the_study_has_the_values_that_one_would_type(sampler: str, tmp_path: Path) -> None:
    evaluator = Noisy(lambda knobs: 5 + float(knobs["x"]))
    wanted = settings(n_trials=6, seeds=(0,), race=None, sampler=sampler, storage="memory")
    trials = run(space_of("x=range(0,0.6,0.1)"), wanted, evaluator, tmp_path)
    assert {trial.params["x"] for trial in trials} == {*TENTHS}
    assert {overrides for overrides, _ in evaluator.evaluated} == {(f"x={value}",) for value in TENTHS}


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe"])
def test_an_older_study_goes_on_with_the_values_that_one_would_type(
    sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its values are sums; none of them is trained again."""
    space, evaluator = space_of("x=range(0,0.6,0.1)"), Noisy(lambda knobs: 5 + float(knobs["x"]))
    wanted = settings(n_trials=5, seeds=(0,), race=None, sampler=sampler)
    for module in (space_module, samplers):
        monkeypatch.setattr(module, "on_grid", lambda value, distribution: value)
    trials = run(space, wanted, evaluator, tmp_path)
    monkeypatch.undo()
    run(space, replace(wanted, n_trials=8), evaluator, tmp_path)
    values = [float(overrides[0].removeprefix("x=")) for overrides, _ in evaluator.evaluated]
    assert sorted(round(value, 12) for value in values) == TENTHS
    assert values[5:] == [round(value, 12) for value in values[5:]]
    assert any(trial.params["x"] == 0.1 + 0.2 for trial in trials)


@pytest.mark.parametrize(
    ("overrides", "conditions", "message"),
    [
        (["epochs=3"], None, "there is nothing to search"),
        (["epochs=choice(3)"], None, "there is nothing to search"),
        (
            ["lr=tag(log, interval(0,1))"],
            None,
            "a logarithmic interval cannot begin at 0; begin above zero, such as 0.001",
        ),
        (["lr=tag(log, interval(-1,1))"], None, "cannot begin at -1"),
        (["lr=interval(2,1)"], None, r"the interval is empty; write interval\(1, 2\)"),
        (["lr=tag(loq, interval(1,2))"], None, "there is no tag 'loq'; log is the only one"),
        (["lr=tag(log, choice(1,2))"], None, "a choice has no scale"),
        (["layers=range(3,3)"], None, "the range is empty"),
        (["layers=range(1,4,0)"], None, "a step other than 0"),
        (["layers=tag(log, range(1,9,2))"], None, "without a step, can be logarithmic"),
        (["lr=1,2"], {"lr": {"layrs": [1]}}, "rests on layrs, which is no knob"),
        (["lr=1,2", "layers=1,2"], {"lr": {"layers": [3]}}, "wants layers to be 3, but the search tries 1 or 2"),
        (["lr=1,2"], {"lr": [2]}, "conditions.lr is"),
        (["lr=1,2"], {"lrr": {"lr": [1]}}, "conditions.lrr is of a knob that is not searched; .*; did you mean lr"),
        (["lr=1,2"], ["lr"], "conditions is .*'lr'.*; write {KNOB: {OTHER: .VALUES.}}, such as"),
        (["lr=1,2"], "lr", "conditions is 'lr'; write"),
        (["lr=1,2"], {1: {"lr": [1]}}, "conditions.1 is of a knob that is not searched"),
        (["lr=1,2"], {"lr": {1: [1]}}, "conditions.lr rests on 1, which is no knob"),
        (["lr=1,2", "x=interval(0,1)"], {"lr": {"x": []}}, "conditions.lr is {'x': ..}; write"),
        (["lr=1,2", "x=interval(0,1)"], {"lr": {"x": [0.5]}}, "lr rests on x, which is drawn from an interval; give x"),
        (["lr=1,2", "x=range(0,99)"], {"lr": {"x": [100]}}, "wants x to be 100, but the search tries 0 to 98"),
        (["a=1,2", "b=1,2"], {"a": {"b": [1]}, "b": {"a": [1]}}, "a or b depend on each other in a circle"),
    ],
)
def test_what_means_nothing_is_one_line(overrides: list[str], conditions: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        space_of(*overrides, conditions=conditions)
    assert len(str(caught.value).splitlines()) == 1
