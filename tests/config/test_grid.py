"""Knobs that change together, typed, in presets, as a grid and in names. CPU, 1 s."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ablate.config.composing import compose, compose_all
from ablate.config.errors import UserError
from ablate.config.grid import Axis, portions, product
from ablate.config.overrides import for_hydra
from ablate.config.preset_checks import check_preset
from ablate.sweeping.naming import folder_name
from ablate.sweeping.path.question import Change, Question, read

TOGETHER = "num_hiddens:lr=32:1,64:0.5"


def values(overrides: list[str]) -> list[tuple[str, int, float]]:
    return [(config.model.name, config.num_hiddens, config.lr) for config in compose_all(overrides)]


@pytest.mark.parametrize("word", [TOGETHER, "zip(num_hiddens,lr)=[32:1,64:0.5]", "zip(num_hiddens, lr)=32:1, 64:0.5"])
def test_knobs_that_change_together_are_one_axis(word: str) -> None:
    assert values([word, "model=rnn,gru"]) == [
        (model, width, lr) for model in ("rnn", "gru") for width, lr in ((32, 1.0), (64, 0.5))
    ]


def test_a_choice_of_a_group_may_change_with_a_number() -> None:
    assert values(["model:num_hiddens=gru:32,lstm:64", "lr=2"]) == [("gru", 32, 2.0), ("lstm", 64, 2.0)]
    [fixed] = compose_all(["model.gates.reset:clip=0:null", "model=gru"])
    assert (fixed.model.gates, fixed.clip) == ({"reset": 0}, None)


def test_one_row_composes() -> None:
    assert compose(["num_hiddens:lr=32:0.25"]) == compose(["num_hiddens=32", "lr=0.25"])


def test_values_without_end_are_refused_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.config.grid.MOST_SETTINGS", 3)
    parser = OverridesParser.create()

    def read(word: str) -> Axis:
        return Axis.of(parser.parse_override(word))

    assert read("seed=range(0,3)").rows == (("seed=0",), ("seed=1",), ("seed=2",))
    with pytest.raises(UserError, match=r"^seed=range\(0,1000000000\) is more than 3 settings; give"):
        read("seed=range(0,1000000000)")


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("range(1.1,1.5,0.1)", ["1.1", "1.2", "1.3", "1.4"]),
        ("range(0.4,0.05,-0.1)", ["0.4", "0.3", "0.2", "0.1"]),
        ("range(0,3.5e-5,1e-5)", ["0.0", "1e-05", "2e-05", "3e-05"]),
        ("float(range(1,3))", ["1.0", "2.0"]),
        ("range(10,40,10)", ["10", "20", "30"]),
    ],
)
def test_a_range_has_the_values_that_one_would_type(typed: str, values: list[str]) -> None:
    axis = Axis.of(OverridesParser.create().parse_override(f"lr={typed}"))
    assert [word for (word,) in axis.rows] == [f"lr={value}" for value in values]


def test_reading_again_changes_nothing() -> None:
    once = for_hydra([TOGETHER, "seeds=3"])
    assert for_hydra(once) == once


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["num_hiddens:lr=32:1,64"], "'64' has 1 value for the 2 knobs num_hiddens, lr"),
        (["num_hiddens:lr=32:1,64:0.5:2"], "has 3 values for the 2 knobs"),
        (["num_hiddens:lr=32:,64:0.5"], "'32:' has 1 value"),
        (["zip(num_hiddens,lr)=[32,64]"], "'32' has 1 value"),
        (["num_hiddens:lrr=32:1,64:2"], "did you mean lr?"),
        (["lr:lr=1:2,2:3"], "lr stands in it twice"),
        (["num_hiddens:seeds=32:1,64:2"], "seeds cannot be swept"),
        (["num_hiddens:lr=choice(1,2):1,3:2"], "is several values"),
        ([TOGETHER, "lr=1"], "lr is given twice"),
        ([TOGETHER, "lr:clip=1:1,2:2"], "lr is given twice"),
    ],
)
def test_what_cannot_change_together_is_refused_in_one_line(words: list[str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        for_hydra(words)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_later_axis_replaces_its_knobs_in_an_earlier_one() -> None:
    axes = [Axis.zipped(TOGETHER), Axis((("lr=1",), ("lr=2",)))]
    assert product(axes) == [[f"num_hiddens={width}", f"lr={lr}"] for width in (32, 64) for lr in (1, 2)]
    assert portions([["a"], ["b"], ["c"]], 2) == [[["a"], ["b"]], [["c"]]]
    assert portions([["a"], ["b"]], None) == [[["a"], ["b"]]]


def test_the_folder_of_a_sweep_names_them() -> None:
    assert folder_name([TOGETHER]) == folder_name(["zip(num_hiddens,lr)=[32:1,64:0.5]"])
    assert folder_name([TOGETHER, "seeds=3"]) == "num_hiddens+lr-32+1-64+0.5"


def test_a_path_makes_them_one_change() -> None:
    assert read([TOGETHER, "model=rnn,gru", "seeds=4"]) == Question(
        ("seeds=4",), (Change("num_hiddens:lr=32:1", "num_hiddens:lr=64:0.5"), Change("model=rnn", "model=gru"))
    )
    assert read([TOGETHER]).config({0}).num_hiddens == 64
    with pytest.raises(UserError, match="has 3 values"):
        read(["num_hiddens:lr=1:1,2:2,3:3"])


PRESET = """\
# @package _global_
# Mine
hydra:
  sweeper:
    {}
"""


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ('params: {num_hiddens:lr: "32:1,64"}', "mine.yaml, line 5: num_hiddens:lr=32:1,64: '64' has 1 value"),
        ("params: {num_hiddens:lr: 32:1}", "line 5: the values of num_hiddens:lr stand in quotes"),
        ('params: {num_hiddens:lrr: "32:1,64:2"}', "line 5: there is no knob 'lrr'"),
        ('params: {num_hiddens:lr: "32:1,64:2", lr: "1,2"}', "line 5: lr stands twice"),
        ('blocks: [{num_hiddens:seeds: "32:1,64:2"}]', "line 5: seeds cannot be swept"),
        ('params: {impl: "api", formulation: "textbook"}', "line 5: formulation stands twice"),
    ],
)
def test_a_mistake_in_a_preset_names_its_line(tmp_path: Path, inside: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(PRESET.format(inside))
    with pytest.raises(UserError) as caught:
        check_preset(path, ("params", "blocks"))
    assert says in str(caught.value)


@pytest.mark.full
def test_a_preset_of_knobs_that_change_together(
    main: Callable[..., Any], small_arguments: list[str], tmp_path: Path
) -> None:
    """As the preset says; a typed value replaces one of them, typed ones replace both; the report has one factor."""
    from ablate.analysis.frames import factor_name, factors, runs_frame
    from ablate.records import results
    from ablate.records.reading import RecordError

    def trained(name: str, *words: str) -> set[tuple[int, float]]:
        done = main("sweeps=mine", f"name={name}", *usual, *words)
        assert done.status == 0, done.err
        found = list(results.records(tmp_path / "results" / name))
        assert not [one for one in found if isinstance(one, RecordError)]
        configs = [one["config"] for one in found if isinstance(one, dict)]
        return {(config["num_hiddens"], config["lr"]) for config in configs}

    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(PRESET.format('params: {num_hiddens:lr: "4:1,6:0.5"}'))
    usual = [argument for argument in small_arguments if not argument.startswith("num_hiddens")]
    assert trained("asked") == {(4, 1.0), (6, 0.5)}
    assert trained("one", "lr=2") == {(4, 2.0), (6, 2.0)}
    assert trained("both", "zip(num_hiddens,lr)=[3:1,5:2]") == {(3, 1.0), (5, 2.0)}
    assert [factor_name(one) for one in factors(runs_frame(tmp_path / "results" / "asked")[0])] == [
        "num_hiddens + lr (confounded)"
    ]


def test_a_gate_that_is_held_and_one_that_is_not_are_one_axis() -> None:
    """Regression: null was refused, so that the cell with a gate and without were two commands."""
    held = compose_all(["model=gru", "model.gates.reset=1,null,0.5"])
    assert [one.model.gates for one in held] == [{"reset": 1.0}, {}, {"reset": 0.5}]
    [free] = compose_all(["model=gru-no-reset", "model.gates.reset=null"])
    assert free.model.but(name="gru") == compose_all(["model=gru"])[0].model
    rows = compose_all(["model=gru", "model.gates.reset:model.gates.update=1:null,null:0"])
    assert [one.model.gates for one in rows] == [{"reset": 1.0}, {"update": 0.0}]
