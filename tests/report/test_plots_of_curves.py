"""Figures of curves of made-up sweeps, against the frames. CPU, 3 s."""

import numpy as np
import pandas as pd
import pytest
from read_figures import assert_legible, crosses, legend, panel, said
from sweeps_for_plots import ASTRAY, SHAPES, curves_of, goes_astray, sweep

from ablate.analysis.frames import swept_knobs
from ablate.report import plots


@pytest.mark.full
@pytest.mark.parametrize("name", ["gates", "models_diverged", "all_diverged", "one_seed"])
def test_curves_are_legible_for_every_shape_of_sweep(name: str) -> None:
    runs = SHAPES[name]
    assert_legible(plots.curves(curves_of(runs, epochs=60), runs, swept_knobs(runs), "Curves"))


def test_of_curves_they_are_cut_off_without_a_mark() -> None:
    runs = sweep(ASTRAY, perplexity=goes_astray)
    figure = plots.curves(curves_of(runs, 40), runs, ["model", "lr"])
    assert {axes.get_ylim()[1] < 100 for axes in figure.axes if "training" in axes.get_ylabel()} == {True}
    assert "Beyond the axes: training perplexity up to" in " ".join("\n".join(said(figure)).split())


def test_curves_are_geometric_means_with_the_spread_of_the_seeds() -> None:
    runs = SHAPES["one_setting"]
    curves = curves_of(runs, epochs=30)
    figure = plots.curves(curves, runs, [])
    training = panel(figure, "training perplexity")
    assert training.get_yscale() == "log"
    by_epoch = curves.groupby("epoch")["perplexity"]
    (line,) = [line for line in training.lines if len(line.get_xdata()) == 30]
    np.testing.assert_allclose(line.get_ydata(), np.exp(np.log(curves["perplexity"]).groupby(curves["epoch"]).mean()))
    (band,) = training.collections
    corners = band.get_paths()[0].vertices[:, 1]
    assert corners.max() == pytest.approx(by_epoch.max().max())
    assert corners.min() == pytest.approx(by_epoch.min().min())
    assert "from the lowest to the highest" in " ".join(said(figure))


def test_a_marker_at_the_last_epoch_is_whole() -> None:
    runs = SHAPES["one_setting"]
    figure = plots.curves(curves_of(runs, 40), runs, [])
    figure.draw_without_rendering()
    for axes in figure.axes:
        beyond = axes.get_window_extent().x1 - axes.transData.transform((40, 2))[0]
        assert beyond * 72 / figure.dpi > 2.5  # points: half a marker and its edge


def test_curves_without_held_out_text_have_one_panel() -> None:
    runs = SHAPES["one_setting"]
    figure = plots.curves(curves_of(runs, 10).assign(val_perplexity=np.nan), runs, [])
    assert [axes.get_ylabel() for axes in figure.axes] == ["training perplexity"]


def test_long_curves_are_drawn_in_bins() -> None:
    runs = SHAPES["one_seed"]
    figure = plots.curves(curves_of(runs, epochs=2500), runs, swept_knobs(runs))
    assert max(len(line.get_xdata()) for axes in figure.axes for line in axes.lines) == 500
    assert "Each point stands for 5 epochs." in " ".join(said(figure))


def test_curves_say_that_a_rule_ended_some_of_the_runs() -> None:
    runs = SHAPES["one_setting"]
    assert "rule" not in " ".join(said(plots.curves(curves_of(runs, 5), runs, [])))
    ended = runs.assign(ended_by=["until", *[None] * (len(runs) - 1)])
    assert f"A rule ended 1 of {len(runs)} runs" in " ".join(said(plots.curves(curves_of(runs, 5), ended, [])))


@pytest.mark.full
def test_diverged_curves_end_in_a_cross_at_their_epoch() -> None:
    runs = SHAPES["all_diverged"]
    figure = plots.curves(curves_of(runs, epochs=60), runs, ["lr"])
    training = panel(figure, "training perplexity")
    assert [line.get_xdata()[0] for line in crosses(training)] == [40, 40, 40]
    assert "lr=2 (5 of 5 diverged)" in legend(figure)
    assert "lr=0.5" in legend(figure)


def test_no_curves_at_all() -> None:
    runs = SHAPES["one_setting"]
    empty = pd.DataFrame(columns=["run_id", "epoch", "perplexity", "val_perplexity"])
    assert_legible(plots.curves(empty, runs, []))
