"""Figures of what the analysis finds: Pareto front, effects, shares, path, claims, two knobs, speed. CPU, 8 s.

The frames are made by hand in the form that the analysis gives them; positions are compared with their numbers.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from read_figures import assert_legible, crosses, legend, said, tick_labels
from sweeps_for_plots import GATES, SHAPES, settings_of

from ablate.analysis.pareto import pareto as pareto_points
from ablate.report import plots
from ablate.report.plots.effects import short_share
from ablate.report.plots.fonts import text_width, wrapped
from ablate.report.plots.lines import facets, lines_of, values_of, x_knob
from ablate.report.plots.ticks import Places, log_ticks, measured_axis, plain, thousands

STEPS = pd.DataFrame(
    {
        "number": [0, 1, 2, 3],
        "change": ["baseline", "model=gru", "num_hiddens=512", "a_rather_long_knob_of_somebody=some-long-value"],
        "metric": "perplexity",
        "n": [10, 8, 10, 0],
        "diverged": [0, 2, 0, 10],
        "value": [5.2, 3.1, 3.0, np.nan],
        "value_low": [5.0, 3.0, 2.9, np.nan],
        "value_high": [5.4, 3.2, 3.1, np.nan],
        "ratio": [np.nan, 0.6, 0.97, np.inf],
        "low": [np.nan, 0.57, 0.92, 0.0],
        "high": [np.nan, 0.63, 1.02, np.inf],
    }
)

FAILS = "20 of 20 runs fail (83–100 %)"

VERDICTS = pd.DataFrame(
    {
        "id": ["sampling", "order", "layers", "clip", "bidirectional"],
        "statement": [
            "Sequential sampling gives lower perplexity than random sampling.",
            "At every num_hiddens perplexity is gru < lstm < rnn, and the gaps close as num_hiddens grows.",
            "Perplexity is U-shaped in layers with the best at 2.",
            "Without clipping sequential sampling fails nearly always.",
            "A bidirectional network is useless for next-token prediction.",
        ],
        "verdict": ["confirmed", "refuted", "undecided", "confirmed", "not testable"],
        "effect": ["", "", "", FAILS, ""],
        "ratio": [0.88, 1.2, 1.5, np.nan, np.nan],
        "low": [0.85, 1.1, 0.0, np.nan, np.nan],
        "high": [0.91, 1.31, np.inf, np.nan, np.nan],
        "n": [20, 20, 5, 20, 0],
        "needed": [None, None, 34, None, None],
        "sweep": "made-up",
    }
)


def assert_drawn(figure: Figure, folder: Path) -> None:
    assert_legible(figure)
    assert all(path.stat().st_size > 1000 for path in plots.save(figure, folder, "figure"))


def markers(axes: Axes) -> list[tuple[float, float]]:
    """Where single markers stand."""
    lines = [
        line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_marker() not in ("x", "|", "_", "None")
    ]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


@pytest.mark.full
@pytest.mark.parametrize("name", ["models_by_sizes", "models_diverged"])
def test_pareto_is_legible(name: str) -> None:
    assert_legible(plots.pareto(pareto_points(settings_of(SHAPES[name], timed=True)), "Perplexity against speed"))


@pytest.mark.full
def test_pareto_front_and_points(tmp_path: Path) -> None:
    settings = settings_of(SHAPES["gates"], timed=True)
    points = pareto_points(settings)
    figure = plots.pareto(points)
    (axes,) = figure.axes
    expected = set(zip(points["tokens_per_s"].round(3), points["tail_perplexity"].round(6), strict=True))
    assert {(round(x, 3), round(y, 6)) for x, y in markers(axes)} == expected
    border = next(line for line in axes.lines if len(line.get_xdata()) > 2)
    front = points[points["on_front"]]
    assert set(np.round(front["tail_perplexity"], 6)) <= set(np.round(border.get_ydata(), 6))
    assert (np.diff(border.get_xdata()) >= 0).all()
    assert (np.diff(border.get_ydata()) >= 0).all()
    solid = [line for line in axes.lines if line.get_marker() in tuple("osD^v<>") and line.get_alpha() == 1]
    assert {round(float(line.get_ydata()[0]), 6) for line in solid} == set(np.round(front["tail_perplexity"], 6))
    assert axes.get_ylabel() == "tail perplexity"
    assert legend(figure)[-1] == "front"
    assert_drawn(figure, tmp_path)


def test_a_front_by_the_last_epoch_says_so_on_the_axis() -> None:
    settings = settings_of(SHAPES["one_knob"], timed=True)
    (axes,) = plots.pareto(pareto_points(settings, "perplexity"), metric="perplexity").axes
    assert "last epoch" in axes.get_ylabel()
    assert {round(y, 6) for _, y in markers(axes)} == set(settings["perplexity"].round(6))


def test_pareto_labels_say_the_further_knob() -> None:
    figure = plots.pareto(pareto_points(settings_of(SHAPES["one_knob"], timed=True)))
    assert {text.get_text() for text in figure.axes[0].texts} == {"32", "64", "128", "256", "512", "1024"}
    assert any("Labels: num_hiddens." in text for text in said(figure))


@pytest.mark.full
def test_importance_names_its_evaluator(tmp_path: Path) -> None:
    approximate = {"low": [0.1, 0.7], "high": [0.3, 0.9], "total": np.nan, "evaluator": "PED-ANOVA"}
    table = pd.DataFrame({"knob": ["lr", "model"], "importance": [0.2, 0.8], **approximate})
    figure = plots.importance(table, "Importance")
    assert tick_labels(figure.axes[0], "y") == ["model", "lr"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.8, 0.2]
    assert {"80 %", "20 %"} <= set(said(figure))
    assert any("PED-ANOVA" in text for text in said(figure))
    assert_drawn(figure, tmp_path)


@pytest.mark.full
def test_variance_stands_in_order_of_kind_and_size(tmp_path: Path) -> None:
    sources = ["model", "lr", "model × lr", "seed", "residual"]
    split = pd.DataFrame({"source": sources, "share": [0.2, 0.5, 0.15, 0.0001, 0.1499]})
    figure = plots.variance(split, "Variance")
    assert tick_labels(figure.axes[0], "y") == ["lr", "model", "model × lr", "seed", "residual"]
    assert "<0.1 %" in said(figure)
    assert len({to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches}) == 4
    assert_drawn(figure, tmp_path)


def test_variance_of_many_sources_says_what_it_leaves_out() -> None:
    names = [f"knob{a} × knob{b}" for a in range(8) for b in range(a)]
    split = pd.DataFrame({"source": [*names, "seed", "residual"], "share": 1 / (len(names) + 2)})
    figure = plots.variance(split)
    assert len(figure.axes[0].patches) == 20
    assert any("10 smaller sources, together 33 %" in text.replace("\n", " ") for text in said(figure))
    assert_legible(figure)


@pytest.mark.full
def test_effects_share_an_axis_and_order_their_values(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "knob": ["model", "model", "lr", "lr", "lr", "clip", "clip"],
            "value": ["gru", "rnn", 1.0, 0.01, 0.1, None, 1.0],
            "mean": [2.0, 3.0, 2.2, 2.8, 2.5, 9.0, 2.0],
            "n": 10,
        }
    )
    table = table.assign(low=table["mean"] * 0.9, high=table["mean"] * 1.1)
    figure = plots.effects(table, "Main effects")
    assert [axes.get_xlabel() for axes in figure.axes] == ["model", "lr (learning rate)", "clip (gradient norm)"]
    assert [tick_labels(axes, "x") for axes in figure.axes] == [["gru", "rnn"], ["0.01", "0.1", "1"], ["1", "null"]]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert figure.axes[0].get_yscale() == "log"
    assert_drawn(figure, tmp_path)


@pytest.mark.parametrize("names", [GATES, [f"a_long_name_of_a_cell_with_everything_{n}" for n in range(12)]])
def test_effects_with_long_names_stand_upright(names: Sequence[str]) -> None:
    rows = {"knob": "model", "value": names, "mean": range(1, len(names) + 1), "low": np.nan, "high": np.nan, "n": 1}
    lr = {"knob": "lr", "value": [0.5, 1.0], "mean": [2.0, 3.0], "low": 1.5, "high": 3.5, "n": 2}
    figure = plots.effects(pd.concat([pd.DataFrame(rows), pd.DataFrame(lr)], ignore_index=True))
    assert figure.axes[0].get_xticklabels()[0].get_rotation() == 90
    assert any("no interval where a setting has one run" in text for text in said(figure))
    assert_legible(figure)


@pytest.mark.full
def test_ablation_path(tmp_path: Path) -> None:
    figure = plots.ablation_path(STEPS, "From the baseline to the target")
    (axes,) = figure.axes
    assert [label.replace("\n", "") for label in tick_labels(axes, "y")] == [
        "baseline",
        "1. model=gru",
        "2. num_hiddens=512",
        "3. a_rather_long_knob_of_somebody=some-long-value",
    ]
    assert markers(axes) == [(5.2, 0), (3.1, 1), (3.0, 2)]
    filled = [to_hex(line.get_markerfacecolor()) != "#ffffff" for line in axes.lines if line.get_marker() in "os"]
    assert filled == [True, True, False]  # 0.92–1.02 holds 1
    assert {"×0.6 (0.57–0.63)\n2 of 10 diverged", "–\n10 of 10 diverged"} <= set(said(figure))
    assert len(crosses(axes)) == 1
    assert any("ratios by Welch's t" in " ".join(text.split()) for text in said(figure))
    assert_drawn(figure, tmp_path)


@pytest.mark.full
def test_verdicts(tmp_path: Path) -> None:
    figure = plots.verdicts(VERDICTS, "Claims")
    (axes,) = figure.axes
    assert [label.replace("\n", " ") for label in tick_labels(axes, "y")] == list(VERDICTS["statement"])
    assert legend(figure) == ["confirmed (2)", "refuted (1)", "undecided (1)", "not testable (1)"]
    low, high = axes.get_xlim()
    assert low * high == pytest.approx(1)  # as far below 1 as above
    ratios = [x for x, _ in markers(axes) if low < x < high]
    assert ratios == [0.88, 1.2, 1.5]
    arrows = [line.get_marker() for line in axes.lines if line.get_marker() in ("<", ">")]
    assert arrows == ["<", ">"]  # of the interval from 0 to infinity
    assert {"confirmed\nn = 20", "undecided\n34 seeds needed", FAILS} <= set(said(figure))
    assert_drawn(figure, tmp_path)


@pytest.mark.full
def test_differences_have_an_axis_where_there_are_no_ratios(tmp_path: Path) -> None:
    apart = pd.DataFrame(
        {
            "difference": [-0.2, 0.1, 0.02, np.nan, np.nan],
            "difference_low": [-0.3, -0.05, -np.inf, np.nan, np.nan],
            "difference_high": [-0.1, 0.25, np.inf, np.nan, np.nan],
        }
    )
    frame = VERDICTS.assign(ratio=np.nan, low=np.nan, high=np.nan, **apart)
    figure = plots.verdicts(frame)
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert axes.get_xscale() == "linear"
    assert low == -high < -0.3
    assert [x for x, _ in markers(axes) if low < x < high] == [-0.2, 0.1, 0.02]
    bars = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert {(-0.3, -0.1), (-0.05, 0.25), (low, high)} <= set(bars)
    assert FAILS in said(figure)
    assert_drawn(figure, tmp_path)
    assert plots.scale_of(frame.drop(columns=list(apart))) is None
    assert plots.verdicts(VERDICTS.assign(**apart)).axes[0].get_xscale() == "log"  # ratios come first


def test_an_axis_of_differences_is_as_wide_as_those_of_the_metric() -> None:
    tiny = dict(zip(("difference", "difference_low", "difference_high"), (2e-7, 1e-7, 3e-7), strict=True))
    frame = VERDICTS.head(1).assign(ratio=np.nan, low=np.nan, high=np.nan, **tiny)
    of_accuracy = plots.verdicts(frame.assign(metric="accuracy")).axes[0].get_xlim()
    of_another = plots.verdicts(frame.assign(metric="mine")).axes[0].get_xlim()
    assert of_accuracy == pytest.approx((-0.054, 0.054))
    assert of_another == pytest.approx((-3.24e-7, 3.24e-7))


@pytest.mark.full
def test_shares_of_runs_have_an_axis_where_most_claims_are_of_them(tmp_path: Path) -> None:
    shares = {"share": [1.0, 0.0, 0.5], "share_low": [0.54, 0, 0.12], "share_high": [1, 0.46, 0.88]}
    frame = VERDICTS.head(3).assign(ratio=[0.88, np.nan, np.nan], share_bound=[0.5, 0.8, 0.5], **shares)
    frame["metric"] = ["tokens_per_s", "perplexity", "perplexity"]
    figure = plots.verdicts(frame)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert [x for x, _ in markers(axes)] == [1.0, 0.0, 0.5]
    claimed = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "|"]
    assert claimed == [0.5, 0.8, 0.5]
    bars = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert bars == [(0.54, 1.0), (0.0, 0.46), (0.12, 0.88)]
    assert any("5–20 seeds, 20 processes" in text for text in said(figure))
    assert_drawn(figure, tmp_path)


def test_verdicts_of_several_sweeps_name_them_and_need_no_ratio() -> None:
    frame = VERDICTS.tail(2).assign(sweep=["one", "two"])
    figure = plots.verdicts(frame)
    assert any(label.endswith("[two]") for label in tick_labels(figure.axes[0], "y"))
    assert_legible(figure)


@pytest.mark.full
def test_heatmap(tmp_path: Path) -> None:
    settings = settings_of(SHAPES["models_diverged"])
    figure = plots.heatmap(settings, "lr", "model", "perplexity", "Both")
    panel = figure.axes[0]
    assert tick_labels(panel, "x") == ["0.01", "0.1", "0.25", "0.5", "1"]
    assert tick_labels(panel, "y") == ["rnn", "lstm", "gru"]
    numbers = [text.get_text() for text in panel.texts]
    assert numbers == [f"{value:.2f}" for value in settings["perplexity"].dropna()]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses(panel)] == [(4, 0), (4, 1)]
    assert any("×: every run diverged" in text for text in said(figure))
    assert_drawn(figure, tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9871, "0.987"), (1.2, "1.20"), (-12.34, "-12.3"), (123.4, "123"), (0.0, "0.000"), (1.2e-5, "1.2e-05")],
)
def test_a_field_of_a_heatmap_has_the_digits_that_count(value: float, text: str) -> None:
    settings = settings_of(SHAPES["models_diverged"]).assign(n=1, perplexity=value)
    numbers = {text.get_text() for text in plots.heatmap(settings, "lr", "model").axes[0].texts}
    assert numbers == {text}


def test_a_heatmap_of_values_that_differ_by_rounding_has_one_colour() -> None:
    settings = settings_of(SHAPES["models_diverged"]).assign(n=1)
    settings["perplexity"] = [24.67 * (1 - 2e-16 * (place % 2)) for place in range(len(settings))]
    [image] = plots.heatmap(settings, "lr", "model").axes[0].images
    assert np.ptp(image.norm(settings["perplexity"])) < 1e-9


def test_a_heatmap_whose_fields_are_too_narrow_has_no_numbers() -> None:
    settings = settings_of(SHAPES["model_by_lr_by_size"])
    many = [settings.assign(num_hiddens=settings["num_hiddens"] + step) for step in range(3)]
    assert not plots.heatmap(pd.concat(many), "num_hiddens", "lr").axes[0].texts


@pytest.mark.full
def test_heatmap_has_a_panel_per_further_setting() -> None:
    figure = plots.heatmap(settings_of(SHAPES["model_by_lr_by_size"]), "num_hiddens", "lr")
    assert [axes.get_title() for axes in figure.axes[:3]] == ["rnn", "lstm", "gru"]
    assert tick_labels(figure.axes[0], "y") == ["1", "0.5", "0.25", "0.1", "0.01"]  # rising from the bottom
    assert_legible(figure)


@pytest.mark.full
def test_speed(tmp_path: Path) -> None:
    settings = settings_of(SHAPES["models_by_sizes"], timed=True).assign(gpu="", share_of_limit=0.4)
    timed = pd.concat([settings.assign(threads=threads) for threads in (1, 2)], ignore_index=True)
    figure = plots.speed_over_hiddens(timed)
    assert legend(figure) == ["rnn", "lstm", "gru", "1 thread", "2 threads"]
    assert "100k" in tick_labels(figure.axes[0], "y")
    assert_legible(figure)
    path = plots.draw_speed(tmp_path / "speed.png", timed)
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1.1, 3.4, [1.2, 1.5, 2, 2.5, 3]),
        (1.0, 7.5, [1, 1.5, 2, 3, 5, 7]),
        (1.5, 40, [2, 5, 10, 20]),
        (1, 2000, [1, 3, 10, 30, 100, 300, 1000]),
        (1800, 210_000, [2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000]),
        (1e-3, 1e9, [1e-3, 1e-1, 1e1, 1e3, 1e5, 1e7, 1e9]),
    ],
)
def test_log_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("log", [None, True, False])
def test_values_that_differ_by_rounding_have_the_axis_of_one(log: bool | None) -> None:
    one, two = Figure().subplots(1, 2)
    value = 24.67
    measured_axis(one, "x", [value], log=log)
    measured_axis(two, "x", [value, value * (1 - 2e-16)], log=log)
    assert tick_labels(two, "x") == tick_labels(one, "x") != []
    assert two.get_xlim() == one.get_xlim()


def test_no_tick_stands_decades_below_what_is_shown() -> None:
    axes = Figure().add_subplot()
    measured_axis(axes, "y", [1.06, 1e112])
    assert axes.get_yticks()[0] == pytest.approx(1)
    assert axes.get_ylim()[0] < 1


@pytest.mark.parametrize(
    ("values", "log"),
    [((32, 64, 128, 1024), True), ((1, 2, 3, 4, 5), False), ((0.01, 0.1, 0.25, 0.5, 1.0), True), ((0, 0.5), False)],
)
def test_swept_values_stand_where_neighbours_are_farthest_apart(values: tuple[float, ...], log: bool) -> None:
    places = Places.of(values, width=2.0)
    assert places.log == log
    np.testing.assert_allclose(places.at(values), values)


def test_offsets_are_inches() -> None:
    """Four doublings and the margins on 2 inches: an inch is 4 × 1.16 / 2 doublings."""
    assert Places.of([1, 2, 4, 16], 2.0).at([1], 1.0)[0] == pytest.approx(2 ** (4 * 1.16 / 2))


@pytest.mark.parametrize(
    ("number", "text"), [(100_000.0, "100k"), (2500.0, "2.5k"), (950.0, "950"), (1.2e6, "1.2M"), (0.0, "0")]
)
def test_thousands(number: float, text: str) -> None:
    assert thousands(number) == text


def test_numbers_as_ticks() -> None:
    assert [plain(number) for number in (1.5, 20.0, 0.01, 120_000.0)] == ["1.5", "20", "0.01", "120000"]
    assert [short_share(share) for share in (0.0, 0.0001, 0.034, 0.434, 0.996, 1.0)] == [
        "0 %",
        "<0.1 %",
        "3.4 %",
        "43 %",
        "99.6 %",
        "100 %",
    ]


def test_wrapping_breaks_long_words_and_chinese_anywhere() -> None:
    text = "a-hyphened word, a/path/of/several_parts_without_an_end.txt and 循环神经网络循环神经网络"
    lines = wrapped(text, 1.2, 7.5).split("\n")
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(text_width(line, 7.5) for line in lines) <= 1.2
    assert wrapped("of several_parts.", 0.8, 7.5) == "of\nseveral_parts."  # no break in what fits a line
    assert text_width("循环", 7.2) == pytest.approx(0.2)


def test_order_of_values() -> None:
    frame = pd.DataFrame(
        {"model": ["gru", "new", "rnn"], "lr": [1.0, None, 0.1], "formulation": ["textbook", "torch", "torch"]}
    )
    assert values_of(frame, "model") == ["rnn", "gru", "new"]
    assert values_of(frame, "lr") == [0.1, 1.0, None]
    assert values_of(frame, "formulation") == ["textbook", "torch"]


def test_the_x_axis_is_the_number_with_the_most_values() -> None:
    settings = settings_of(SHAPES["two_numbers"])
    assert x_knob(["lr", "num_hiddens"], settings) == "num_hiddens"
    assert x_knob(["model"], settings_of(SHAPES["gates"])) is None
    assert x_knob(["sampling", "clip"], settings_of(SHAPES["sampling_by_clip"])) is None  # null is no number


def test_facets_leave_models_together() -> None:
    settings = settings_of(SHAPES["model_by_lr_by_size"])
    assert facets(settings, ["model", "lr"], most=12) == ("lr", ["model"])
    assert facets(settings, ["model", "lr"], most=15) == (None, ["model", "lr"])
    assert [line.name for line in lines_of(settings, ["model"])] == ["rnn", "lstm", "gru"]
