"""The panels of a figure: one per measure, or of each measure one per value of a knob."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.analysis.tasks import many_questions
from ablate.report.plots.lines import cleaned, named, values_of
from ablate.report.plots.style import HEIGHT, panels
from ablate.report.wording import marked, seeing

MOST_PANELS = 12
COLUMNS = 3

M = TypeVar("M")


@dataclass(frozen=True)
class Spot(Generic[M]):
    """A panel and what belongs into it."""

    panel: Axes
    measure: M
    settings: pd.DataFrame
    width: float  # inches, about, without its labels
    left: bool  # has the label of the y axis
    bottom: bool  # has the label of the x axis

    def label(self, x: str, y: str) -> None:
        """Axis labels where they belong."""
        self.panel.set_xlabel(x if self.bottom else "")
        if self.left:
            self.panel.set_ylabel(y)
        else:
            self.panel.tick_params(labelleft=False)


def grid(
    settings: pd.DataFrame, measures: Sequence[M], facet: str | None, height: float = HEIGHT
) -> tuple[Figure, list[Spot[M]], list[M]]:
    """A figure, its spots, and the measures for which there is no space.

    Without a facet the measures stand side by side, of many in several rows; with one, each measure has a block of
    rows of panels.
    """
    if facet is None:
        columns = 2 if len(measures) == 4 else min(COLUMNS, len(measures))
        figure, axes = panels(math.ceil(len(measures) / columns), columns, height)
        for panel in axes[len(measures) :]:
            panel.remove()
        width = figure.get_size_inches()[0] / columns - 0.65
        return figure, [Spot(a, m, settings, width, True, True) for a, m in zip(axes, measures, strict=False)], []
    values = values_of(settings, facet)
    shown = list(measures) if len(values) * len(measures) <= MOST_PANELS else [measures[0]]
    columns = 2 if len(values) == 4 else min(COLUMNS, len(values))
    block = math.ceil(len(values) / columns)
    figure, axes = panels(block * len(shown), columns, height)
    width = figure.get_size_inches()[0] / columns - 0.45
    spots = []
    for row, measure in enumerate(shown):
        own_axes = axes[row * block * columns : (row + 1) * block * columns]
        for number, (panel, value) in enumerate(zip(own_axes, values, strict=False)):
            own = settings[[one == value for one in cleaned(settings[facet])]]
            panel.set_title(marked(_title(facet, value, settings), bool(seeing(own).all())))
            bottom = number + columns >= len(values)  # nothing stands below it
            spots.append(Spot(panel, measure, own, width, number % columns == 0, bottom))
        for panel in own_axes[len(values) :]:
            panel.remove()
    return figure, spots, list(measures[len(shown) :])


def _title(facet: str, value: Any, settings: pd.DataFrame) -> str:
    """`lr=0.5`; a model or a memory task by its name alone."""
    by_name = facet == "corpus" and many_questions(settings)
    return str(value) if by_name else named([facet], [value])


def left_out_text(labels: Sequence[str]) -> str:
    """What the small print says of measures without space."""
    return f"Not shown for lack of space: {', '.join(labels)}." if labels else ""


def unnamed_text(lines: Sequence[Any]) -> str:
    """What the small print says of lines that the legend cannot name."""
    return "" if any(line.named for line in lines) else f"{len(lines)} lines are too many to name: the table has them."
