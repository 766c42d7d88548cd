"""Texts beside points, where they cover nothing."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from ablate.report.plots.fonts import text_width
from ablate.report.plots.style import FAINT, SMALL

CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
"""Directions in which a label may stand off its point, best first."""


def label_points(axes: Axes, points: np.ndarray, texts: Sequence[str], border: np.ndarray) -> None:
    """A text beside each point (n, 2) that has one, where it covers neither point nor label nor border (m, 2).

    A text that finds no place may lie on the border, else it is left out. Call it when the layout stands.
    """
    scale = axes.figure.dpi / 72
    at = axes.transData.transform(points)
    lines = [_box(pair, scale) for pair in _pairs(axes.transData.transform(border))]
    taken = [_box(point[None], 3.5 * scale) for point in at]
    inside = axes.get_window_extent()
    for (x, y), text in zip(at, texts, strict=True):
        if not text:
            continue
        width, height = text_width(text, SMALL) * 72 * scale, SMALL * 1.25 * scale
        boxes = [_beside(x, y, width, height, right, up, scale) for right, up in CORNERS]
        boxes = [box for box in boxes if inside.containsx(box.x0) and inside.containsx(box.x1)]
        boxes = [box for box in boxes if inside.containsy(box.y0) and inside.containsy(box.y1)]
        boxes = [box for box in boxes if not box.count_overlaps(taken)]
        boxes.sort(key=lambda box: box.count_overlaps(lines) > 0)
        if boxes:
            taken.append(boxes[0])
            where = ((boxes[0].x0 - x) / scale, ((boxes[0].y0 + boxes[0].y1) / 2 - y) / scale)
            point = tuple(axes.transData.inverted().transform((x, y)))
            axes.annotate(text, point, where, textcoords="offset points", va="center", size=SMALL, color=FAINT)


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
