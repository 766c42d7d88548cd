"""A metric over two swept numbers."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ablate.analysis.frames import swept_knobs, value_text
from ablate.config.metrics import METRICS, by_difference
from ablate.report.plots.fonts import text_width
from ablate.report.plots.lines import cleaned, is_number, named, values_of
from ablate.report.plots.measures import label_of, seeds_text
from ablate.report.plots.style import SMALL, WIDE, WIDTH, finish, panels, styled
from ablate.report.plots.ticks import LABELS, ROUNDING, WIDE_RANGE, log_ticks, plain

MOST_PANELS = 9
BAR, NAMES = 0.7, 0.55
"""Inches for the bar of colours, and for the names of the values at each panel's side."""


def heatmap(settings: pd.DataFrame, x: str, y: str, metric: str = "perplexity", title: str = "") -> Figure:
    """The mean of a metric in a field for each pair of values of the knobs x and y, a panel per other setting.

    A field where every run diverged has a cross, one without a run is blank; all panels share their colours.
    """
    others = [knob for knob in swept_knobs(settings) if knob not in (x, y)]
    groups = [(named(others, _first(group, others)), group) for _, group in _grouped(settings, others)]
    means = "Means" if by_difference(metric) else "Geometric means"
    note = (
        f"{means} over {seeds_text(settings)}."
        if (settings["n"] + settings["diverged"]).max() > 1
        else "One seed per field."
    )
    if len(groups) > MOST_PANELS:
        note += f" {MOST_PANELS} of {len(groups)} settings; the table has them all."
        groups = groups[:MOST_PANELS]
    columns = min(3, len(groups))
    across, down = values_of(settings, x), values_of(settings, y)
    if all(is_number(value) for value in down):
        down.reverse()  # numbers rise from the bottom, names read from the top
    with styled(title, *(name for name, _ in groups)):
        figure, axes = panels(-(-len(groups) // columns), columns, max(1.7, 0.65 + 0.26 * len(down)), _width(columns))
        width = (_width(columns) - BAR) / columns - NAMES
        norm = _norm(settings[metric], bounded=by_difference(metric))
        for panel, (name, group) in zip(axes, groups, strict=False):
            image = _fields(panel, group, across, down, (x, y, metric), norm, width)
            panel.set_title(name)
            panel.set_xlabel(LABELS.get(x, x) if columns == 1 else x)
            panel.set_ylabel(y)
        for panel in axes[len(groups) :]:
            panel.remove()
        bar = figure.colorbar(
            image, ax=axes[: len(groups)], label=label_of(metric, settings, METRICS[metric].title), shrink=0.9, pad=0.02
        )
        if isinstance(norm, LogNorm):
            ticks = log_ticks(float(norm.vmin or 1), float(norm.vmax or 1), 6)
            bar.set_ticks(ticks, labels=[plain(tick) for tick in ticks])
            bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.outline.set_visible(False)
        if ((settings["n"] == 0) & (settings["diverged"] > 0)).any():
            note += " ×: every run diverged."
        return finish(figure, title, note)


def _width(columns: int) -> float:
    return {1: 4.6, 2: WIDTH}.get(columns, WIDE)


def _grouped(settings: pd.DataFrame, others: list[str]) -> list[tuple[Any, pd.DataFrame]]:
    return list(settings.groupby(others, sort=False, dropna=False)) if others else [("", settings)]


def _first(group: pd.DataFrame, knobs: list[str]) -> list[Any]:
    return [cleaned(group[knob])[0] for knob in knobs]


def _norm(values: pd.Series, bounded: bool) -> Normalize:
    known = values[np.isfinite(values)]
    if known.empty:
        return Normalize(0, 1)
    low, high = float(known.min()), float(known.max())
    if not bounded and low > 0 and high / low >= WIDE_RANGE:
        return LogNorm(low, high)
    varies = high - low > ROUNDING * max(abs(low), abs(high))
    return Normalize(low, high if varies else low + 1)


def _number(value: float) -> str:
    """Three digits: `0.120`, `1.20`, `12.3`, `123`; two and a power of ten where that takes too many places."""
    size = abs(value)
    if size >= 1e5 or 0 < size < 0.01:
        return f"{value:.1e}"
    return f"{value:.{3 if size < 0.9995 else 2 if size < 9.995 else 1 if size < 99.95 else 0}f}"


def _fields(
    panel: Axes,
    settings: pd.DataFrame,
    across: list[Any],
    down: list[Any],
    names: tuple[str, str, str],
    norm: Normalize,
    width: float,
) -> Any:
    """One panel, `width` inches wide, with numbers where they fit into its fields; returns its image."""
    x, y, metric = names
    values = np.full((len(down), len(across)), np.nan)
    for at_x, at_y, value, n in zip(
        cleaned(settings[x]), cleaned(settings[y]), settings[metric], settings["n"], strict=True
    ):
        row, column = down.index(at_y), across.index(at_x)
        values[row, column] = value
        if n == 0:
            panel.plot([column], [row], marker="x", color="0.35", markersize=6, markeredgewidth=1.5)
    panel.set_facecolor("0.95")
    light_is_good = "viridis" if METRICS[metric].better == "higher" else "viridis_r"
    image = panel.imshow(values, norm=norm, cmap=light_is_good, aspect="auto")
    numbers = {place: _number(value) for place, value in np.ndenumerate(values) if np.isfinite(value)}
    if max((text_width(number, SMALL) for number in numbers.values()), default=0.0) < width / len(across):
        for (row, column), number in numbers.items():
            value = values[row, column]
            red, green, blue, _ = image.cmap(norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.42
            colour = "white" if dark else "black"
            panel.text(column, row, number, ha="center", va="center", size=SMALL, color=colour)
    panel.set_xticks(range(len(across)), [value_text(value) for value in across])
    panel.set_yticks(range(len(down)), [value_text(value) for value in down])
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return image
