"""Perplexity against tokens per second: which settings no other beats in both."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from ablate.analysis.frames import swept_knobs, value_text
from ablate.report.plots.fonts import text_width
from ablate.report.plots.lines import cleaned, lines_of, named
from ablate.report.plots.measures import SPEED, TRAINING, level_text
from ablate.report.plots.style import FAINT, SMALL, finish, panels, styled
from ablate.report.plots.ticks import measured_axis

MOST_LABELS = 30
"""Of more points only those on the front are labelled."""
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
"""Directions in which a label may stand off its point, best first."""


def pareto(points: pd.DataFrame, title: str = "", level: float = 0.95) -> Figure:
    """Training perplexity against tokens/s with both intervals, and the front; `points`: from analysis.pareto.

    Points of the front are whole, dominated ones pale; half-filled where the intervals leave that open.
    """
    swept = swept_knobs(points)
    knobs = [knob for knob in swept if knob != "model"]
    with styled(title, points[swept].to_csv()):
        figure, (axes,) = panels(1, 1, 3.1, 5.2)
        lines = lines_of(points, [knob for knob in ("model",) if knob in swept])
        front = points[points["on_front"].astype(bool)].sort_values("tokens_per_s")
        measured_axis(axes, "x", SPEED.shown(points, points, None), SPEED.text)
        measured_axis(axes, "y", TRAINING.shown(points, points, None), TRAINING.text)
        border = _draw_front(axes, front)
        for line in lines:
            for _, point in points[points["cell_id"].isin(line.cells)].iterrows():
                own = point.to_frame().T
                axes.errorbar(
                    SPEED.of(own),
                    TRAINING.of(own),
                    xerr=SPEED.interval(own),
                    yerr=TRAINING.interval(own),
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
        axes.set_xlabel(SPEED.label)
        axes.set_ylabel(TRAINING.label)
        axes.grid()
        joined = Line2D([], [], color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), label="front")
        note = (
            f"Means and {level_text(level)} intervals; further right and further down is better. Pale: another setting "
            "is as good in both and better in one; half-filled: the intervals leave that open."
        )
        if knobs:
            note += f" Labels: {', '.join(knobs)}." if len(knobs) == 1 else ""
        finish(figure, title, note, [*(line.handle(linestyle="") for line in lines), joined])
        if knobs:
            figure.draw_without_rendering()  # the layout decides where the points stand
            labelled = points if len(points) <= MOST_LABELS else front
            _label(axes, points, _texts(labelled, knobs), border)
        return figure


def _texts(points: pd.DataFrame, knobs: list[str]) -> dict[str, str]:
    """cell_id → the values of the further knobs."""
    values = zip(*(cleaned(points[knob]) for knob in knobs), strict=True)
    said = [value_text(one[0]) if len(knobs) == 1 else named(knobs, one) for one in values]
    return dict(zip(points["cell_id"], said, strict=True))


def _draw_front(axes: Axes, front: pd.DataFrame) -> np.ndarray:
    """The border between what is reached and what is not, on to the edges of the panel; returns its corners (n, 2)."""
    speed, quality = SPEED.of(front), TRAINING.of(front)
    x = np.repeat(np.concatenate([[axes.get_xlim()[0]], speed]), 2)[1:]
    y = np.repeat(np.concatenate([quality, [axes.get_ylim()[1]]]), 2)[:-1]
    axes.plot(x, y, color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    return np.column_stack([x, y])


def _label(axes: Axes, points: pd.DataFrame, texts: dict[str, str], border: np.ndarray) -> None:
    """A text beside each point that has one (cell_id → text), where it covers neither point nor label nor border.

    A text that finds no place may lie on the border, else it is left out. Call it when the layout stands.
    """
    scale = axes.figure.dpi / 72
    at = axes.transData.transform(np.column_stack([SPEED.of(points), TRAINING.of(points)]))
    lines = [_box(pair, scale) for pair in _pairs(axes.transData.transform(border))]
    taken = [_box(point[None], 3.5 * scale) for point in at]
    inside = axes.get_window_extent()
    for (x, y), cell in zip(at, points["cell_id"], strict=True):
        if cell not in texts:
            continue
        width, height = text_width(texts[cell], SMALL) * 72 * scale, SMALL * 1.25 * scale
        boxes = [_beside(x, y, width, height, right, up, scale) for right, up in CORNERS]
        boxes = [box for box in boxes if inside.containsx(box.x0) and inside.containsx(box.x1)]
        boxes = [box for box in boxes if inside.containsy(box.y0) and inside.containsy(box.y1)]
        boxes = [box for box in boxes if not box.count_overlaps(taken)]
        boxes.sort(key=lambda box: box.count_overlaps(lines) > 0)
        if boxes:
            taken.append(boxes[0])
            where = ((boxes[0].x0 - x) / scale, ((boxes[0].y0 + boxes[0].y1) / 2 - y) / scale)
            point = tuple(axes.transData.inverted().transform((x, y)))
            axes.annotate(texts[cell], point, where, textcoords="offset points", va="center", size=SMALL, color=FAINT)


def _beside(x: float, y: float, width: float, height: float, right: int, up: int, scale: float) -> Bbox:
    """The box of a text that stands off (x, y) in a direction; all in pixels."""
    left = x + {1: 5.5 * scale, 0: -width / 2, -1: -5.5 * scale - width}[right]
    away = (2.5 if right else 5.0) * scale
    low = y + {1: away, 0: -height / 2, -1: -away - height}[up]
    return Bbox.from_bounds(left, low, width, height)


def _box(corners: np.ndarray, around: float) -> Bbox:
    """The box that holds the corners (n, 2), with a margin."""
    return Bbox([corners.min(axis=0) - around, corners.max(axis=0) + around])


def _pairs(corners: np.ndarray) -> list[np.ndarray]:
    return [corners[number : number + 2] for number in range(len(corners) - 1)]
