"""Figures by value of made-up sweeps: what they show, and that nothing overlaps. CPU, 12 s.

What a figure should show is worked out from the frames here; warnings are errors, so that none of matplotlib's escape.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from read_figures import (
    LAST_EPOCH,
    TAIL,
    assert_legible,
    crosses,
    drawn,
    legend,
    look,
    panel,
    points,
    said,
    tick_labels,
)
from sweeps_for_plots import ASTRAY, GATES, SHAPES, SIZES, curves_of, goes_astray, published_of, settings_of, sweep

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import runs_frame, swept_knobs
from ablate.report import plots
from ablate.report.plots import style
from ablate.report.plots.measures import SPEED, TRAINING, Measure, begin_at, mean_name
from ablate.report.plots.measures import TAIL as TAIL_PERPLEXITY
from ablate.report.plots.style import styled
from tests.report.made import config, write_run


@pytest.mark.full
@pytest.mark.parametrize(
    "name",
    [
        "models_by_sizes",
        "gates",
        "layers",
        "sampling_by_clip",
        "beside_each_other",
        "twenty_values",
        "models_diverged",
        "all_diverged",
        "nothing_finished",
        "one_setting",
        "long_names",
        "chinese",
        "many_lines",
    ],
)
def test_by_value_is_legible_for_every_shape_of_sweep(name: str) -> None:
    assert_legible(drawn(name))


@pytest.mark.full
def test_by_value_has_a_panel_per_measure_and_a_line_per_model() -> None:
    figure = drawn("models_by_sizes")
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "training perplexity\n(last epoch)",
        "held-out perplexity",
        "training tokens per second",
    ]
    assert legend(figure) == ["rnn", "lstm", "gru", "published"]
    settings = settings_of(SHAPES["models_by_sizes"], timed=True)
    training = panel(figure, LAST_EPOCH)
    for model, marker in (("rnn", "o"), ("lstm", "s"), ("gru", "D")):
        (line,) = points(training, marker)
        expected = settings.loc[settings["model"] == model].sort_values("num_hiddens")["perplexity"]
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert training.get_xscale() == training.get_yscale() == "log"
    assert tick_labels(training, "x") == [str(size) for size in SIZES]
    assert {"2", "3", "5"} <= set(tick_labels(training, "y"))
    assert {"10k", "100k"} <= set(tick_labels(panel(figure, "training tokens per second"), "y"))


@pytest.mark.full
def test_what_is_drawn_of_training_is_what_is_compared_unless_others_published_a_last_epoch() -> None:
    """The tail; beside published values, which are those of a last epoch, the last epoch, as the axis says."""
    runs = SHAPES["models_by_sizes"]
    settings, swept = settings_of(runs), swept_knobs(runs)
    of_speed_alone = published_of(settings).assign(published_perplexity=np.nan)
    for published, label in ((None, TAIL), (of_speed_alone, TAIL), (published_of(settings), LAST_EPOCH)):
        assert plots.by_value(runs, settings, swept, published).axes[0].get_ylabel() == label
    by_name = plots.by_value(runs, settings, ["model", "batch_size"])
    assert by_name.axes[0].get_xlabel() == TAIL
    assert any("Tail: geometric mean of the last 5 % of epochs" in text.replace("\n", " ") for text in said(by_name))


@pytest.mark.full
def test_small_print_names_the_metrics_whose_means_are_geometric() -> None:
    accuracy, mine = Measure("accuracy", "accuracy"), Measure("mine", "a\nmetric")
    assert mean_name([TRAINING, SPEED]) == "geometric mean"
    assert mean_name([accuracy, SPEED]) == "mean"
    assert mean_name([accuracy, TRAINING]) == "mean (of perplexities geometric)"
    assert mean_name([accuracy, mine, TRAINING]) == "mean (of a metric and training perplexity geometric)"


def test_small_print_names_interval_n_and_sources() -> None:
    note = " ".join(said(drawn("models_by_sizes"))).replace("\n", " ")
    assert re.search(r"geometric mean .*95 % interval \(Student t\) .*\b20 seeds", note)
    assert re.search(r"process medians .*95 % interval .*\bAMD EPYC 9V74\b", note)
    assert "Hollow: published (table18_19)" in note
    assert "no interval" in " ".join(said(drawn("one_seed")))


def test_intervals_are_those_of_the_settings() -> None:
    runs = SHAPES["one_knob"]
    settings = settings_of(runs)
    (bars,) = panel(drawn("one_knob"), TAIL).collections[1:]
    low, high = np.array([segment[:, 1] for segment in bars.get_segments()]).T
    np.testing.assert_allclose(low, settings.sort_values("num_hiddens")["tail_perplexity_low"])
    np.testing.assert_allclose(high, settings.sort_values("num_hiddens")["tail_perplexity_high"])


def test_no_interval_reaches_below_a_perplexity_of_1() -> None:
    runs = sweep({"num_hiddens": (32, 64)}, seeds=2).assign(tail_perplexity=[1.0, 3.0, 1.0, 4.0])
    settings = settings_of(runs)
    figure = plots.by_value(runs, settings, ["num_hiddens"])
    (bars,) = panel(figure, TAIL).collections[1:]
    assert min(segment[:, 1].min() for segment in bars.get_segments()) == 1


def test_single_runs_are_dots() -> None:
    (dots,) = panel(drawn("one_knob"), TAIL).collections[:1]
    assert sorted(np.asarray(dots.get_offsets())[:, 1]) == pytest.approx(sorted(SHAPES["one_knob"]["tail_perplexity"]))


def test_published_values_are_hollow_in_the_colour_of_their_model() -> None:
    figure = drawn("models_by_sizes")
    settings = settings_of(SHAPES["models_by_sizes"], timed=True)
    for label, column, factor in (
        (LAST_EPOCH, "perplexity", 1.1),
        ("training tokens per second", "tokens_per_s", 0.6),
    ):
        ours, theirs = (points(panel(figure, label), "s", hollow) for hollow in (False, True))
        assert len(ours) == len(theirs) == 1
        assert same_color(ours[0].get_color(), theirs[0].get_color())
        assert theirs[0].get_markersize() > 1.2 * ours[0].get_markersize()  # a ring, where both agree
        expected = settings.loc[settings["model"] == "lstm"].sort_values("num_hiddens")[column] * factor
        np.testing.assert_allclose(theirs[0].get_ydata(), expected)
    assert not points(panel(figure, "held-out perplexity"), "s", hollow=True)


def test_published_values_of_other_settings_are_left_out() -> None:
    runs = SHAPES["one_knob"]
    settings = settings_of(runs)
    others = published_of(settings).assign(setting_id="another")
    assert legend(plots.by_value(runs, settings, ["num_hiddens"], others)) == ["rnn"]


@pytest.mark.full
def test_models_are_rows_in_their_order() -> None:
    figure = drawn("gates")
    order = ["rnn", "lstm", "gru", "gru-no-reset", "gru-no-update"]
    order += ["gru-no-reset-as-published", "gru-no-update-as-published"]
    assert tick_labels(figure.axes[0], "y") == order
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]  # the first on top
    assert "published" in legend(figure)


def test_a_model_looks_alike_in_every_figure() -> None:
    """As a row, as a line against the swept value and over the epochs, among other models or alone."""
    rows, lines = drawn("gates"), drawn("models_by_sizes")
    seen = {(name, *look(bar.lines[0])) for bar in lines.axes[0].containers for name in [bar.get_label()]}
    names = tick_labels(rows.axes[0], "y")
    seen |= {(names[round(bar.lines[0].get_ydata()[0])], *look(bar.lines[0])) for bar in rows.axes[0].containers}
    runs = SHAPES["gates"]
    over_epochs = plots.curves(curves_of(runs, 20), runs, ["model"])
    seen |= {(line.get_label(), *look(line)) for line in over_epochs.axes[0].lines}
    seen |= {("lstm", *look(line)) for line in points(drawn("layers").axes[0], "s")}
    seen |= {(name, one.marker, to_hex(one.colour)) for name, one in plots.model_looks(["gru", "unheard-of"]).items()}
    names_, markers, colours = zip(*seen, strict=True)
    assert set(names_) == {*GATES, "unheard-of"}
    assert len(seen) == len(set(names_)) == len(set(markers)) == len(set(colours))


def test_nine_models_of_ones_own_all_look_different() -> None:
    """No two share a colour, whatever their markers; those in the package keep theirs."""
    names = [f"model-{k:02}" for k in range(14)]
    looks = plots.model_looks([*names, "lstm"])
    assert len({looks[name].colour for name in names}) == 14
    assert len({(looks[name].colour, looks[name].marker) for name in names}) == 14
    assert looks["lstm"] == plots.model_looks(["lstm"])["lstm"]
    assert looks["model-07"].colour == pytest.approx([0.5 * channel for channel in looks["model-00"].colour])


@pytest.mark.full
def test_no_marker_is_cut_off_at_the_end_of_the_axis() -> None:
    """Seven lines side by side: the outermost stand within the panel."""
    runs = sweep({"lr": [0.5, 1, 2, 4, 8, 16, 32], "model": ["rnn", "gru", "lstm", *"abcd"]}, perplexity=lambda _: 5.0)
    figure = plots.by_value(runs, settings_of(runs), ["lr", "model"])
    figure.draw_without_rendering()
    for axes in figure.axes:
        inside = axes.get_window_extent()
        for line in axes.lines:
            points = axes.transData.transform(np.array(line.get_xydata(), dtype=float)) / figure.dpi
            assert points[:, 0].min() > inside.x0 / figure.dpi + 0.06
            assert points[:, 0].max() < inside.x1 / figure.dpi - 0.06


def test_a_diverged_setting_has_a_cross_and_its_number_of_runs() -> None:
    """lr 0.5 finished, at 1 one of five diverged, at 2 and 4 all."""
    training = panel(drawn("all_diverged"), TAIL)
    assert [line.get_xdata()[0] for line in crosses(training)] == pytest.approx([1, 2, 4])
    assert all(line.get_ydata()[0] > 1 for line in crosses(training))  # above the panel
    (line,) = points(training, "o")
    assert len(line.get_xdata()) == 2
    counts = [text.get_text().replace("\ndiverged", "") for text in training.texts]
    assert counts == ["1 of 5", "5 of 5", "5 of 5"]
    assert not crosses(panel(drawn("all_diverged"), "training tokens per second"))


def test_where_nothing_finished_there_are_only_crosses() -> None:
    figure = drawn("nothing_finished")
    assert len(crosses(figure.axes[0])) == 2
    assert "All 10 runs diverged." in said(figure)


def test_rows_say_how_many_diverged() -> None:
    assert {"1 of 5 diverged", "5 of 5 diverged"} <= set(said(drawn("sampling_by_clip")))


@pytest.mark.full
def test_twelve_lines_at_most_per_panel() -> None:
    """3 models × 5 learning rates over num_hiddens: a panel per learning rate."""
    figure = drawn("model_by_lr_by_size")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == 2 * ["lr=0.01", "lr=0.1", "lr=0.25", "lr=0.5", "lr=1"]
    assert legend(figure) == ["rnn", "lstm", "gru"]
    limits = {axes.get_ylim() for axes in figure.axes[:5]}
    assert len(limits) == 1


def test_more_lines_than_can_be_named_are_not_named() -> None:
    figure = drawn("many_lines")
    assert not legend(figure)
    note = " ".join(said(figure)).replace("\n", " ")
    assert "15 lines" in note
    assert "intervals are not drawn" in note


def test_lines_that_are_not_named_are_one_collection_at_the_means_of_their_settings() -> None:
    figure, settings = drawn("many_lines"), settings_of(SHAPES["many_lines"])
    (lines,) = [one for one in panel(figure, TAIL).collections if isinstance(one, LineCollection)]
    assert len(lines.get_segments()) == 15
    means = np.concatenate(lines.get_segments())[:, 1]
    assert sorted(means) == pytest.approx(sorted(settings["tail_perplexity"]))


@pytest.mark.full
def test_more_rows_than_can_be_read_are_cut_to_the_best() -> None:
    figure = drawn("many_rows")
    rows = tick_labels(figure.axes[0], "y")
    best = settings_of(SHAPES["many_rows"]).nsmallest(40, "tail_perplexity")["corpus"]
    assert sorted(rows) == sorted(f"corpus={name}" for name in best)


def test_of_more_rows_than_can_be_read_the_fastest_are_shown_where_speed_is_asked_for() -> None:
    settings = settings_of(SHAPES["many_rows"])
    settings = settings.assign(tokens_per_s=[1000.0 + place for place in range(len(settings))])
    figure = plots.by_value(SHAPES["many_rows"], settings, ["corpus"], y="tokens_per_s")
    best = settings.nlargest(40, "tokens_per_s")["corpus"]
    assert sorted(tick_labels(figure.axes[0], "y")) == sorted(f"corpus={name}" for name in best)


@pytest.mark.full
def test_an_interval_over_many_decades_keeps_its_lower_end() -> None:
    """Without it an axis from 1e66 to 1e115 would begin at 0, and be linear."""
    ends = {"tail_perplexity": [9.774e90], "tail_perplexity_low": [1.4e66], "tail_perplexity_high": [6.8e115]}
    shown = TAIL_PERPLEXITY.shown(pd.DataFrame(ends), pd.DataFrame({"tail_perplexity": [1e90]}), None)
    assert (shown.min(), shown.max()) == (1.4e66, 6.8e115)
    axes = Figure().add_subplot()
    means, below, above = np.array([9e90, 5, 3.0]), np.array([9e90, 1, np.nan]), np.array([6e115, 1, np.nan])
    bars = axes.errorbar([1, 2, 3], means, yerr=[below, above], capsize=2)
    begin_at(bars, "y", np.array([1.4e66, 4, np.nan]))
    _, (cap, _), [lines] = bars.lines
    np.testing.assert_array_equal(cap.get_ydata(), [1.4e66, 4, np.nan])
    assert [segment[:, 1].tolist() for segment in lines.get_segments() if len(segment)] == [[1.4e66, 6e115], [4, 6]]
    both = axes.errorbar([1], [9e90], xerr=[[0.5], [0.5]], yerr=[[9e90], [6e115]], capsize=2)
    begin_at(both, "y", np.array([1.4e66]))
    across, along = both.lines[2]
    assert [segment[:, 0].tolist() for segment in across.get_segments()] == [[0.5, 1.5]]
    assert [segment[:, 1].tolist() for segment in along.get_segments()] == [[1.4e66, 6e115]]


def test_networks_that_went_astray_leave_room_for_the_others() -> None:
    runs = sweep(ASTRAY, perplexity=goes_astray)
    figure = plots.by_value(runs, settings_of(runs), ["model", "lr"])
    axes = panel(figure, TAIL)
    assert axes.get_ylim()[1] < 5
    [triangle] = points(axes, "^")
    [rnn] = [bars for bars in axes.containers if bars.get_label() == "rnn"]
    assert same_color(triangle.get_color(), rnn.lines[0].get_color())
    assert points(panel(figure, "held-out perplexity"), "^") == []
    most = f"{runs['tail_perplexity'].max() / 1e6:.2g}e6"
    assert f"Beyond the axes, where triangles mark means: tail perplexity up to {most}." in " ".join(
        "\n".join(said(figure)).split()
    )
    assert_legible(figure)


def test_of_rows_they_are_marked_at_the_right_edge() -> None:
    runs = sweep(
        {"model": ["rnn", "gru", "lstm", "mgu"]}, perplexity=lambda setting: 1e6 if setting["model"] == "rnn" else 2.0
    )
    figure = plots.by_value(runs, settings_of(runs), ["model"])
    axes = panel(figure, TAIL)
    assert axes.get_xlim()[1] < 5
    assert len(points(axes, ">")) == 1


def test_perplexities_that_are_far_apart_are_all_shown_where_that_leaves_room() -> None:
    values = np.array([1.0, 2.0, 3.0, 1999.0, np.nan])
    np.testing.assert_array_equal(TRAINING.near(values)[0], values[:4])
    np.testing.assert_array_equal(TRAINING.near(np.array([1.0, 2.0, 3.0, 3001.0]))[0], [1, 2, 3])
    np.testing.assert_array_equal(SPEED.near(np.array([1.0, 2.0, 3.0, 3001.0]))[0], [1, 2, 3, 3001])


def test_evenly_spaced_values_stand_on_a_linear_axis() -> None:
    assert panel(drawn("layers"), LAST_EPOCH).get_xscale() == "linear"
    assert panel(drawn("layers"), LAST_EPOCH).get_yscale() == "log"
    assert panel(drawn("lr"), TAIL).get_xscale() == "log"


@pytest.mark.full
@pytest.mark.parametrize("names", [2, 5, 13, 31])
def test_a_legend_of_long_names_takes_one_column_in_the_end(names: int) -> None:
    handles = [
        Line2D([], [], label=f"gru-no-update-as-published, num_hiddens=256, num_steps={n}") for n in range(names)
    ]
    with styled():
        figure, _ = style.panels(1, 1)
        style.finish(figure, handles=handles)
        [box] = figure.legends
        assert len(box.get_texts()) == names
        assert box.get_window_extent().width <= figure.bbox.width


def test_an_interval_needs_both_of_its_ends() -> None:
    """One seed, an end that is unknown, no value at all: no bar, and the axis is that of the values."""
    frame = pd.DataFrame(
        {
            "perplexity": [14.0, 14.0, 14.0, np.nan],
            "perplexity_low": [13.0, np.nan, 13.0, np.nan],
            "perplexity_high": [15.0, np.nan, np.nan, np.nan],
        }
    )
    reach = TRAINING.interval(frame)
    assert reach[:, 0].tolist() == [1.0, 1.0]
    assert np.isnan(reach[:, 1:]).all()
    assert TRAINING.shown(frame, frame, None).min() == 13.0


def test_a_setting_with_one_seed_is_a_point_and_flattens_nothing(tmp_path: Path) -> None:
    for hidden, seeds in ((8, 3), (16, 3), (32, 1)):
        for seed in range(seeds):
            write_run(tmp_path, config(num_hiddens=hidden), seed, 14.0 + 0.1 * seed + 8 / hidden)
    runs, _ = runs_frame(tmp_path)
    panel = plots.by_value(runs, aggregate(runs), ["num_hiddens"]).axes[0]
    assert panel.get_ylim()[0] > 13
    (bars,) = [one for one in panel.collections if isinstance(one, LineCollection)]
    heights = [np.ptp(segment[:, 1]) for segment in bars.get_segments() if np.isfinite(segment).all() and len(segment)]
    assert len(heights) == 2


@pytest.mark.parametrize(
    ("settings", "axis", "names"),
    [
        (
            [{"model": "rnn", "lr": 2.0}, {"model": "gru", "lr": 0.5}],
            "tail perplexity",
            ["rnn, lr=2", "gru, lr=0.5"],
        ),
        (
            [{"num_hiddens": h, "lr": lr} for h, lr in ((8, 2.0), (16, 1.0), (32, 0.5))],
            "num_hiddens + lr (confounded)",
            ["8\nlr=2", "16\nlr=1", "32\nlr=0.5"],
        ),
    ],
)
def test_knobs_that_vary_together_are_both_named(
    settings: list[dict[str, Any]], axis: str, names: list[str], tmp_path: Path
) -> None:
    for number, knobs in enumerate(settings):
        for seed in range(3):
            write_run(tmp_path, config(**knobs), seed, 10.0 + number + 0.1 * seed)
    runs, _ = runs_frame(tmp_path)
    figure = plots.by_value(runs, aggregate(runs), swept_knobs(runs))
    panel = figure.axes[0]
    assert panel.get_xlabel() == axis
    figure.draw_without_rendering()
    labels = [text.get_text() for text in (*panel.get_xticklabels(), *panel.get_yticklabels())]
    assert [label for label in labels if label in names] == names
