"""Perplexity against tokens per second: which settings no other beats in both."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.analysis.frames import swept_knobs, value_text
from ablate.config.metrics import DEFAULT_METRIC
from ablate.report.numbers import percent
from ablate.report.plots.labels import label_points
from ablate.report.plots.lines import cleaned, lines_of, named
from ablate.report.plots.measures import BY_TRAINING, SPEED, Measure, begin_at
from ablate.report.plots.style import FAINT, finish, panels, styled
from ablate.report.plots.ticks import measured_axis

MOST_LABELS = 30
"""Of more points only those on the front are labelled."""


def pareto(points: pd.DataFrame, title: str = "", level: float = 0.95, metric: str = DEFAULT_METRIC) -> Figure:
    """Training perplexity against tokens/s with both intervals, and the front; `points`: from analysis.pareto, by
    `metric`, which is that of the last epoch or the tail.

    Points of the front are whole, dominated ones pale; half-filled where the intervals leave that open.
    """
    swept, quality = swept_knobs(points), BY_TRAINING[metric]
    knobs = [knob for knob in swept if knob != "model"]
    with styled(title, points[swept].to_csv()):
        figure, (axes,) = panels(1, 1, 3.1, 5.2)
        lines = lines_of(points, [knob for knob in ("model",) if knob in swept])
        front = points[points["on_front"].astype(bool)].sort_values("tokens_per_s")
        measured_axis(axes, "x", SPEED.shown(points, points, None), SPEED.text)
        measured_axis(axes, "y", quality.shown(points, points, None), quality.text)
        border = _draw_front(axes, front, quality)
        for line in lines:
            for _, point in points[points["setting_id"].isin(line.settings)].iterrows():
                own = point.to_frame().T
                bars = axes.errorbar(
                    SPEED.of(own),
                    quality.of(own),
                    xerr=SPEED.interval(own),
                    yerr=quality.interval(own),
                    color=line.look.colour,
                    marker=line.look.marker,
                    fillstyle="full" if point["surely"] else "left",
                    markerfacecoloralt="white",
                    markersize=5,
                    linestyle="",
                    elinewidth=1,
                    capsize=1.8,
                    alpha=1 if point["on_front"] else 0.45,
                )
                begin_at(bars, "y", quality.of(own, "_low"))
        axes.set_xlabel(SPEED.label)
        axes.set_ylabel(quality.label)
        axes.grid()
        joined = Line2D([], [], color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), label="front")
        note = (
            f"Means and {percent(level)} intervals; further right and further down is better. Pale: another setting "
            "is as good in both and better in one; half-filled: the intervals leave that open."
        )
        if len(knobs) == 1:
            note += f" Labels: {knobs[0]}."
        finish(figure, title, note, [*(line.handle(linestyle="") for line in lines), joined])
        if knobs:
            figure.draw_without_rendering()  # the layout decides where the points stand
            labelled = points if len(points) <= MOST_LABELS else front
            texts = _texts(labelled, knobs)
            at = np.column_stack([SPEED.of(points), quality.of(points)])
            label_points(axes, at, [texts.get(setting, "") for setting in points["setting_id"]], border)
        return figure


def _texts(points: pd.DataFrame, knobs: list[str]) -> dict[str, str]:
    """setting_id → the values of the further knobs."""
    values = zip(*(cleaned(points[knob]) for knob in knobs), strict=True)
    said = [value_text(one[0]) if len(knobs) == 1 else named(knobs, one) for one in values]
    return dict(zip(points["setting_id"], said, strict=True))


def _draw_front(axes: Axes, front: pd.DataFrame, measure: Measure) -> np.ndarray:
    """The border between what is reached and what is not, on to the edges of the panel; returns its corners (n, 2)."""
    speed, quality = SPEED.of(front), measure.of(front)
    x = np.repeat(np.concatenate([[axes.get_xlim()[0]], speed]), 2)[1:]
    y = np.repeat(np.concatenate([quality, [axes.get_ylim()[1]]]), 2)[:-1]
    axes.plot(x, y, color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    return np.column_stack([x, y])
