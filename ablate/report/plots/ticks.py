"""Axes with plain numbers: 1, 1.5, 2, 3, 5, 10, 20k; where the values of a swept number stand."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from ablate.analysis.frames import value_text
from ablate.report.plots.fonts import text_width

WIDE_RANGE = 3.0
"""An axis of measured values becomes logarithmic where they span this factor or more."""
WIDE_SWEEP = 4.0
"""Two swept values that differ by this factor or more stand on a logarithmic axis."""
MARGIN = 0.06
"""The share of an axis that stays free beyond the data, at either end."""

ROUNDING = 1e-9
"""Values that differ by no more than this share of themselves are equal."""

FEW_EPOCHS = 8
"""Up to so many whole numbers on an axis each has a marker."""

ENDS = 0.08
"""The same for swept values, as a share of what they span."""

SERIES = (
    (1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2, 2.2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1, 3),
    (1,),
)
"""Round numbers of a decade, finest first."""

LABELS = {
    "num_hiddens": "num_hiddens (hidden units)",
    "num_steps": "num_steps (tokens)",
    "batch_size": "batch_size (sequences)",
    "lr": "lr (learning rate)",
    "clip": "clip (gradient norm)",
    "max_tokens": "max_tokens (training tokens)",
}
"""Knobs as axis labels, with their units."""


def plain(value: float) -> str:
    """`1.5`, `20`, `0.01`, `12000`; with a power of ten from a million on, and below 0.0001."""
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3g}"


def thousands(value: float) -> str:
    """`950`, `2.5k`, `100k`, `1.2M`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers from low to high: the finest series that gives at most `most`, none of them crowded."""
    span = math.log(high / low)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for series in SERIES:
        ticks = [step * 10.0**decade for decade in decades for step in series]
        ticks = [tick for tick in ticks if low * 0.9999 <= tick <= high * 1.0001]
        gaps = [math.log(b / a) / span for a, b in pairwise(ticks)]
        if len(ticks) <= most and min(gaps, default=1) >= 0.55 / most:
            return ticks
    every = math.ceil(len(ticks) / most)
    return ticks[::every]


def measured_axis(
    axes: Axes,
    which: str,
    values: Iterable[float],
    text: Callable[[float], str] = plain,
    log: bool | None = None,
    most: int = 8,
    beyond: float = 0.0,
) -> None:
    """Limits, scale and ticks of an axis (`which`: x or y) that shows `values`.

    Logarithmic where the values are positive and span WIDE_RANGE, unless `log` says otherwise. `beyond`: a share of
    the axis that stays free above the values, for marks.
    """
    shown = np.array([value for value in values if value is not None and math.isfinite(value)], dtype=float)
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_limits, set_scale = (axes.set_xlim, axes.set_xscale) if which == "x" else (axes.set_ylim, axes.set_yscale)
    if not len(shown):
        axis.set_ticks([])
        return
    low, high = float(shown.min()), float(shown.max())
    if high - low <= ROUNDING * max(abs(low), abs(high)):  # as of one run and its mean, exp(log(…))
        low = high
    if log is None:
        log = low > 0 and high / low >= WIDE_RANGE
    if log:
        factor = math.log(high / low) or 0.5
        lowest = low / 10  # over a hundred decades the margin is several: none of them is named
        low, high = low / math.exp(MARGIN * factor), high * math.exp((MARGIN + beyond) * factor)
        set_scale("log")
        set_limits(low, high)
        ticks = log_ticks(max(low, lowest), high, most)
        axis.set_ticks(ticks, [text(tick) for tick in ticks])
    else:
        span = high - low or 0.2 * abs(high) or 1.0
        low, high = low - MARGIN * span, high + (MARGIN + beyond) * span
        set_limits(low, high)
        found = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        ticks = [float(f"{tick:.10g}") for tick in found if low <= tick <= high]
        axis.set_ticks(ticks, [text(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())


def bounded_axis(axes: Axes, which: str, ceiling: float, text: Callable[[float], str] = plain) -> None:
    """An axis from 0 to the largest value that there can be, with a little room for what lies at its ends."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    ticks = [ceiling * part / 5 for part in range(6)]
    (axes.set_xlim if which == "x" else axes.set_ylim)(-0.03 * ceiling, 1.03 * ceiling)
    axis.set_ticks(ticks, [text(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())


def counted_axis(axes: Axes, last: int) -> None:
    """An x axis from 0 to `last`, with whole numbers."""
    axes.set_xlim(0, (1.02 if last > FEW_EPOCHS else 1.04) * last)  # with room for half a marker; of few, for all of it
    axes.set_xticks([tick for tick in MaxNLocator(5, integer=True).tick_values(0, last) if tick <= last])


@dataclass(frozen=True)
class Places:
    """Where the values of a swept number stand on an axis: in proportion, or in that of their logarithms."""

    values: tuple[float, ...]  # ascending
    log: bool
    width: float  # of the panel, in inches, about

    @classmethod
    def of(cls, values: Iterable[float], width: float) -> "Places":
        """Logarithmic where neighbours then stand farther apart."""
        known = tuple(sorted(set(values)))
        if len(known) < 2 or known[0] <= 0:
            return cls(known, False, width)
        even, log = (np.diff(one).min() / np.ptp(one) for one in (np.array(known, dtype=float), np.log(known)))
        return cls(known, bool(log > even) if len(known) > 2 else known[1] / known[0] >= WIDE_SWEEP, width)

    def at(self, values: Sequence[float] | Any, offset: float | np.ndarray = 0.0) -> np.ndarray:
        """The values, moved by `offset` inches on a panel `width` inches wide."""
        moved = self._even(np.asarray(values, dtype=float)) + offset * self._per_inch
        return np.exp(moved) if self.log else moved

    def apart(self) -> float:
        """The smallest distance of two values, in inches."""
        return float(np.diff(self._even(np.array(self.values, dtype=float))).min(initial=np.inf)) / self._per_inch

    @property
    def _per_inch(self) -> float:
        """What an inch is on the axis."""
        return self._span * (1 + 2 * ENDS) / self.width

    @property
    def _span(self) -> float:
        return float(np.ptp(self._even(np.array(self.values, dtype=float)))) or 1.0

    def _even(self, values: np.ndarray) -> np.ndarray:
        return np.log(values) if self.log else values

    def mark(self, axes: Axes, knob: str, texts: Mapping[float, str] | None = None, size: float = 7.5) -> None:
        """The x axis: a tick for each value, and as many labels as fit side by side; `texts`: value → its label."""
        known = self._even(np.array(self.values, dtype=float))
        ends = known[0] - ENDS * self._span, known[-1] + ENDS * self._span
        if self.log:
            axes.set_xscale("log")
        axes.set_xlim(*(np.exp(ends) if self.log else ends))
        labels = [value_text(value) if texts is None else texts[value] for value in self.values]
        widths = [max(text_width(line, size) for line in label.split("\n")) + 0.06 for label in labels]
        kept = _apart((known - ends[0]) / self._per_inch, widths)
        axes.set_xticks(self.values, [label if keep else "" for label, keep in zip(labels, kept, strict=True)])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(LABELS.get(knob, knob))


def _apart(centres: np.ndarray, widths: list[float]) -> list[bool]:
    """Which labels to show so that none touches another: the ends first, then from the left."""
    shown: list[int] = []
    for number in [0, len(centres) - 1, *range(1, len(centres) - 1)]:
        if all(abs(centres[number] - centres[other]) >= (widths[number] + widths[other]) / 2 for other in set(shown)):
            shown.append(number)
    return [number in shown for number in range(len(centres))]
