"""What the panels of a figure show of settings and runs: which metric, its intervals, and their small print."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D

from ablate.analysis.tasks import facts_of
from ablate.config.errors import counted
from ablate.config.metrics import DEFAULT_METRIC, METRICS, by_difference
from ablate.report.numbers import listed, percent
from ablate.report.plots.lines import Look
from ablate.report.plots.ticks import bounded_axis, measured_axis, plain, thousands
from ablate.report.wording import SPEED_IS, epoch_metrics, further_metrics, future_note, hidden, scored, training_metric

RASTER = 1500
"""More dots than this are a bitmap also in SVG and PDF."""

FAR, FARTHER = 100.0, 1000.0
"""Where some values are more than FARTHER times their median, an axis ends at FAR times it: networks that went astray
would leave no room to tell the others apart."""

MOST_TEXTS = 3
"""More sources or differences than this are not listed in the small print."""


@dataclass(frozen=True)
class Measure:
    """A metric as an axis: `ceiling` is its largest possible value, `published` its column in the published values. An
    axis with a ceiling shows all that is possible, or up to one of its `ends`; one that is `open` ends before values
    that are far from all others."""

    metric: str
    label: str
    text: Callable[[float], str] = plain
    published: str = ""
    ceiling: float = math.inf
    ends: tuple[float, ...] = ()
    open: bool = False

    def of(self, frame: pd.DataFrame, ending: str = "") -> np.ndarray:
        """The metric (or its _low, _high) of each row of settings or runs; NaN where a column or number is missing."""
        column = f"{self.metric}{ending}"
        if column not in frame:
            return np.full(len(frame), np.nan)
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)
        return np.array(np.where(np.isfinite(values), values, np.nan))

    def interval(self, settings: pd.DataFrame) -> np.ndarray:
        """(2, settings): how far the interval reaches below and above the mean; NaN where there is none."""
        return interval_reach(self.of(settings), self.of(settings, "_low"), self.of(settings, "_high"))

    def shown(self, settings: pd.DataFrame, runs: pd.DataFrame, published: pd.DataFrame | None) -> np.ndarray:
        """Every number that a panel of this measure shows, for its limits."""
        middle, low, high = self.of(settings), self.of(settings, "_low"), self.of(settings, "_high")
        known = np.isfinite(middle) & np.isfinite(low) & np.isfinite(high)
        ends = low[known], high[known]
        parts = [middle, *ends, self.of(runs)]
        if published is not None and self.published in published:
            parts.append(pd.to_numeric(published[self.published], errors="coerce").to_numpy(dtype=float))
        every: np.ndarray = np.concatenate(parts)
        return np.array(every[np.isfinite(every)])

    def reach(self, values: np.ndarray) -> float:
        """Where an axis from 0 ends."""
        largest = float(values.max(initial=0.0))
        return min((end for end in self.ends if end >= largest), default=self.ceiling)

    def axis(self, axes: Axes, which: str, values: np.ndarray, most: int = 8) -> np.ndarray:
        """Limits, scale and ticks for these values; returns those that lie beyond its end."""
        if math.isfinite(self.ceiling):
            bounded_axis(axes, which, self.reach(values), self.text)
            return values[:0]
        near, beyond = self.near(values)
        measured_axis(axes, which, near, self.text, most=most)
        return beyond

    def near(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of these numbers that an axis shows, all unless some are FARTHER times the median, and the others."""
        known = values[np.isfinite(values)]
        middle = float(np.median(known)) if len(known) else 0.0
        ends = self.open and len(known) > 0 and float(known.max()) > FARTHER * middle > 0
        far = known > (FAR * middle if ends else math.inf)
        return known[~far], known[far]


TRIANGLES = ", where triangles mark means"


def beyond_text(beyond: Iterable[tuple[Measure, np.ndarray]], marks: str = "") -> str:
    """What the small print says of values that lie beyond the axes of their measures; empty where none does.

    `marks`: what stands there for them.
    """
    most: dict[str, float] = {}
    for measure, values in beyond:
        if len(values):
            name = " ".join(measure.label.split())
            most[name] = max(most.get(name, 0.0), float(values.max()))
    if not most:
        return ""
    text = listed([f"{name} up to {_short(value)}" for name, value in most.items()])
    return f"Beyond the axes{marks}: {text}."


def _short(value: float) -> str:
    """`1200`, `1.3e10`."""
    return f"{value:.2g}".replace("e+0", "e").replace("e+", "e") if value >= 1e5 else f"{value:.0f}"


def edge(axes: Axes, which: str, place: float, look: Look) -> None:
    """The mark of a mean beyond the end of an axis (`which`: x or y), at its place on the other one."""
    beside, marker = (axes.get_yaxis_transform(), ">") if which == "x" else (axes.get_xaxis_transform(), "^")
    at = ([1.0], [place]) if which == "x" else ([place], [1.0])
    axes.plot(*at, marker=marker, color=look.colour, transform=beside, clip_on=False, markersize=5, linestyle="")


def interval_reach(middle: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(2, n): how far intervals (n,) reach below and above their middles.

    NaN for both where one of the two ends is unknown, as with a single seed: matplotlib then draws no bar.
    """
    known = np.isfinite(middle) & np.isfinite(low) & np.isfinite(high)
    reach = np.where(known, np.maximum([middle - low, high - middle], 0.0), np.nan)
    return np.array(reach)


def begin_at(bars: ErrorbarContainer, which: str, low: np.ndarray) -> None:
    """Let error bars along an axis (`which`: x or y) begin at `low`.

    matplotlib takes their reach from the mean, which gives 0 for 1e66 below 1e90: on logarithms, all of the axis.
    """
    _, caps, every = bars.lines
    if not caps:  # of no bar
        return
    directions = ["x"] * bars.has_xerr + ["y"] * bars.has_yerr
    cap, lines = caps[2 * directions.index(which)], every[directions.index(which)]
    place = "xy".index(which)
    known = np.isfinite(np.asarray(cap.get_data()[place], dtype=float))
    cap.set(**{f"{which}data": np.where(known, low, np.nan)})
    drawn = [(segment, end) for segment, end in zip(lines.get_segments(), low, strict=True) if len(segment)]
    for segment, end in drawn:
        segment[0, place] = end
    lines.set_segments([segment for segment, _ in drawn])


TRAINING = Measure("perplexity", "training perplexity", published="published_perplexity", open=True)
LAST_EPOCH = replace(TRAINING, label="training perplexity\n(last epoch)")
"""Training perplexity where an axis does not run over the epochs."""
TAIL = Measure(DEFAULT_METRIC, "tail perplexity", open=True)
BY_TRAINING = {one.metric: one for one in (LAST_EPOCH, TAIL)}
HELD_OUT = Measure("val_perplexity", "held-out perplexity", open=True)
SPEED = Measure("tokens_per_s", "training tokens per second", thousands, "published_tokens_per_s")


def measure_of(metric: str) -> Measure:
    """The axis of a metric that was made for a task."""
    facts = METRICS.known(metric)
    return Measure(metric, facts.label, ceiling=facts.bounds[1], ends=facts.ends, published=f"published_{metric}")


def figure_measures(settings: pd.DataFrame, published: pd.DataFrame | None = None) -> list[Measure]:
    """What the figures of a task show of it, the foremost first, measured or not; training perplexity only where
    held-out data are not as good."""
    drawn = [*map(measure_of, facts_of(settings).drawn_metrics), *map(measure_of, further_metrics(settings))]
    drawn = [one for one in drawn if not hidden(one.metric, settings)]
    by_training = [] if facts_of(settings).made_anew else [training_measure(settings, published)]
    return [*drawn, *by_training, HELD_OUT, SPEED]


def training_measure(settings: pd.DataFrame, published: pd.DataFrame | None = None) -> Measure:
    """The perplexity on the training data: the tail where settings are compared by it, else that of the last epoch.

    Published values are those of a last epoch, and so is what stands beside them.
    """
    return LAST_EPOCH if has_published(published, LAST_EPOCH) else BY_TRAINING[training_metric(settings)]


def epoch_measures(frame: pd.DataFrame) -> list[Measure]:
    """The same of what epochs have."""
    return [*map(measure_of, epoch_metrics(frame)), *[TRAINING] * (not facts_of(frame).made_anew), HELD_OUT]


def measures_of(settings: pd.DataFrame, published: pd.DataFrame | None = None) -> list[Measure]:
    """Those that were measured of some of these settings."""
    every = figure_measures(settings, published)
    found = [one for one in every if np.isfinite(one.of(settings)).any()] or [training_measure(settings, published)]
    return [one if one is SPEED else replace(one, label=label_of(one.metric, settings, one.label)) for one in found]


def measure_chosen(metric: str, settings: pd.DataFrame) -> Measure:
    """The axis of a metric of a person's own choice, whether or not figures show it by themselves."""
    if metric == SPEED.metric:
        return SPEED
    shown = next((one for one in figure_measures(settings) if one.metric == metric), None)
    found = shown or BY_TRAINING.get(metric) or measure_of(metric)
    unit = METRICS.known(metric).unit
    label = f"{found.label} ({unit})" if unit and unit not in found.label else found.label
    return replace(found, label=label_of(metric, settings, label))


def label_of(metric: str, frame: pd.DataFrame, label: str) -> str:
    """The label of an axis, with what the task scores, of runs or settings."""
    of = scored(frame)
    if metric == "accuracy":
        return f"accuracy\n{facts_of(frame).words.answers or of}".strip()
    return f"{label}\n{of}" if of and METRICS.known(metric).of_loss else label


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"] == "ok"]


def dots(axes: Axes, x: Any, y: Any, looks: Sequence[Look]) -> None:
    """Single runs, each with its look, or all with one."""
    colours = [look.colour for look in looks]
    axes.scatter(x, y, s=5, color=colours, alpha=0.45, linewidths=0, zorder=1.5, rasterized=len(x) > RASTER)


def hollow(look: Look, joined: bool = True) -> dict[str, Any]:
    """How published values are drawn: larger than ours, so that one that agrees with ours is a ring around it."""
    return {
        "color": look.colour,
        "marker": look.marker,
        "markerfacecolor": "white",
        "markeredgewidth": 0.9,
        "markersize": 6,
        "linestyle": (0, (1, 2)) if joined else "",
        "linewidth": 0.8,
        "zorder": 1.8,
    }


def cross(axes: Axes, x: float, y: float, look: Look, transform: Any) -> None:
    """The mark of diverged runs, at the edge of a panel."""
    axes.plot(
        [x], [y], marker="x", color=look.colour, transform=transform, clip_on=False, markersize=5, markeredgewidth=1.5
    )


def further_handles(
    published: bool, diverged: bool, joined: bool = True, text: str = "diverged (k of n)"
) -> list[Line2D]:
    """The entries of the legend behind those of the lines."""
    grey = Look((0.35, 0.35, 0.35))
    handles = []
    if published:
        handles.append(Line2D([], [], label="published", **hollow(grey, joined)))
    if diverged:
        handles.append(Line2D([], [], color=grey.colour, linestyle="", marker="x", markeredgewidth=1.5, label=text))
    return handles


def diverged_text(diverged: int, runs: int) -> str:
    return f"{diverged} of {runs} diverged"


def seeds_text(settings: pd.DataFrame) -> str:
    """`5 seeds`, or `3–5 seeds` where settings differ."""
    n = settings["n"] + settings["diverged"]
    number = f"{n.min()}" if n.min() == n.max() else f"{n.min()}–{n.max()}"
    return f"{number} seed{'' if n.max() == 1 else 's'}"


OVER_EPOCHS = ("tail_perplexity", "best_perplexity", "best_val_perplexity", "wall_s")
"""Metrics of more than the last epoch."""


def small_print(
    settings: pd.DataFrame, measures: Sequence[Measure], published: pd.DataFrame | None, level: float = 0.95
) -> str:
    """Which interval and which n a figure shows, where its speed and its published values come from."""
    at_the_end = not any(measure.metric in OVER_EPOCHS for measure in measures)
    if not settings["n"].any():
        parts = [f"All {counted(int(settings['diverged'].sum()), 'run')} diverged."]
    elif (settings["n"] + settings["diverged"]).max() > 1:
        interval = f"{mean_name(measures)} and {percent(level)} interval (Student t) over {seeds_text(settings)}"
        none = "; none from one seed" if (settings["n"] == 1).any() else ""
        text = f"{'Last epoch: ' if at_the_end else ''}{interval}{none}; small dots are single runs."
        parts = [f"{text[0].upper()}{text[1:]}"]
    else:
        parts = [f"{'Last epoch; one' if at_the_end else 'One'} seed per setting, so no interval."]
    if settings["n"].any() and any(one.metric == TAIL.metric for one in measures):
        held_out = "; held-out: the last one" if any(one.metric == HELD_OUT.metric for one in measures) else ""
        parts.append(f"Tail: geometric mean of the last 5 % of epochs{held_out}.")
    if settings["diverged"].any() and settings["n"].any():
        parts.append("Diverged runs enter no mean.")
    if SPEED in measures:
        cpus = [cpu for cpu in settings.get("cpu", pd.Series(dtype=object)).dropna().unique() if cpu]
        on = f" on {', '.join(map(str, cpus))}" if cpus else ""
        parts.append(f"Tokens per second: {SPEED_IS} and 95 % interval of one run alone{on}.")
    if note := future_note(settings):
        parts.append(note)
    if published is not None and any(has_published(published, measure) for measure in measures):
        parts.append(f"Hollow: published{_once(published, 'source', ', ', ' ({})')}.")
        parts.append(_once(published, "differs", "; ", "Ours differ: {}."))
    return " ".join(part for part in parts if part)


def mean_name(measures: Sequence[Measure]) -> str:
    """What the means of a figure are: geometric ones, but of metrics that may be 0."""
    geometric = [one for one in measures if one is not SPEED and not by_difference(one.metric)]
    if len(geometric) == len([one for one in measures if one is not SPEED]):
        return "geometric mean"
    if all(METRICS.known(one.metric).of_loss for one in geometric):
        return "mean (of perplexities geometric)" if geometric else "mean"
    return f"mean (of {listed([' '.join(one.label.split()) for one in geometric])} geometric)"


def has_published(published: pd.DataFrame | None, measure: Measure) -> bool:
    """Whether somebody published values of a measure."""
    if published is None or measure.published not in published:
        return False
    return bool(published[measure.published].notna().any())


def _once(frame: pd.DataFrame, column: str, between: str, form: str) -> str:
    """The texts of a column without repeats, set into `form`; nothing where there are none, the first of many."""
    texts = [str(text) for text in frame.get(column, pd.Series(dtype=object)).dropna().unique() if text]
    shown = [*texts[:MOST_TEXTS], "…"] if len(texts) > MOST_TEXTS else texts
    return form.format(between.join(shown)) if texts else ""
