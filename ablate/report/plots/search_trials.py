"""The trials of a search as they came: history, front, timeline. Frames are those of `ablate.analysis.trials`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ablate.analysis.trials import VALUED, more_is_better
from ablate.config.metrics import METRICS
from ablate.report.plots.labels import label_points
from ablate.report.plots.lines import Look, palette
from ablate.report.plots.measures import SPEED, cross
from ablate.report.plots.style import FAINT, INK, WIDTH, finish, panels, styled
from ablate.report.plots.ticks import measured_axis, plain

GREY = (0.45, 0.45, 0.45)
HEIGHT = 2.7
"""Inches: of the panels of history and front."""
HUGE = 1e9
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
FENCE = 2.2
"""Values above best · (upper quartile / best)^FENCE would press the others together: they stand at the edge."""


def state_looks() -> dict[str, Look]:
    """State of a trial → how its mark looks, those with a whole value first; hollow: on fewer seeds than the others."""
    colours = palette()
    return {
        "done": Look(colours[0], "o"),
        "reused": Look(colours[9], "D"),
        "dropped": Look(colours[1], "v", fill="none"),
        "pruned": Look(GREY, "x"),
        "diverged": Look(colours[3], "^"),
        "failed": Look(colours[6], "P"),
        "running": Look(colours[8], "s"),
    }


class Estimate(NamedTuple):
    """A mean with its interval, NaN where there is none."""

    value: float
    low: float
    high: float


def objective_label(name: str) -> str:
    """An objective as an axis label."""
    return SPEED.label if name == SPEED.metric else METRICS[name].title if name in METRICS else name


def objective_axis(axes: Axes, which: str, values: Iterable[float], name: str) -> None:
    """Scale, limits and ticks of an axis that shows an objective."""
    measured_axis(axes, which, values, SPEED.text if name == SPEED.metric else plain, most=7)


def scatter(axes: Axes, x: Any, y: Any, states: pd.Series) -> list[Line2D]:
    """A mark per trial, by its state; returns the entries of the legend."""
    handles = []
    for state, look in state_looks().items():
        own = (states == state).to_numpy()
        if not own.any():
            continue
        style: dict[str, Any] = {"marker": look.marker, "color": look.colour, "linestyle": "", "markersize": 4.2}
        style |= {"fillstyle": look.fill, "markeredgewidth": 1.2 if look.marker == "x" or look.fill == "none" else 0}
        order = 2.2 if state == "done" else 2
        axes.plot(np.asarray(x)[own], np.asarray(y)[own], label=state, zorder=order, **style)
        handles.append(Line2D([], [], label=state, **style))
    return handles


def capped(values: pd.Series, objective: str) -> tuple[pd.Series, str]:
    """Values with the few far too high ones lowered to the edge, and a sentence where there are such."""
    known = values[np.isfinite(values) & (values > 0)]
    if more_is_better(objective) or known.empty:
        return values, ""
    best, quartile = float(known.min()), float(known.quantile(0.75))
    edge = best * (quartile / best) ** FENCE
    beyond = int((known > edge).sum()) if edge > best else 0
    if not beyond:
        return values, ""
    return values.clip(upper=edge), f" At the edge: {beyond} beyond it, up to {_roughly(float(known.max()))}."


def _roughly(value: float) -> str:
    """`812.5`, `4,000,000`; from a billion on `more than 10¹³`."""
    if value >= HUGE:
        return f"more than 10{str(math.floor(math.log10(value))).translate(SUPERSCRIPT)}"
    return f"{value:,.{0 if value > 999 else 1}f}"


def search_history(
    history: pd.DataFrame,
    objective: str,
    title: str = "",
    diverged: Sequence[int] = (),
    winner: Estimate | None = None,
    baseline: float | None = None,
) -> Figure:
    """Every trial's value in its order, by state, and the best configuration so far as a line.

    `diverged`: the numbers of trials that have no finite value. `winner`: the best one on fresh seeds, drawn behind
    the last trial; `baseline`: on the same seeds.
    """
    with styled(title, objective):
        figure, (axes,) = panels(1, 1, HEIGHT, WIDTH)
        values, beyond = capped(history["value"], objective)
        last = max([*history["number"], *diverged, 1])
        known = [*(value for value in winner or () if np.isfinite(value)), *([] if baseline is None else [baseline])]
        objective_axis(axes, "y", [*values, *known], objective)
        handles: list[Any] = scatter(axes, history["number"], values, history["state"])
        look = state_looks()["diverged"]
        for number in diverged:
            cross(axes, number, 0.985, look, axes.get_xaxis_transform())
        if len(diverged):
            style: Any = {"linestyle": "", "marker": "x", "color": look.colour, "markeredgewidth": 1.5}
            handles.append(Line2D([], [], label="diverged", **style))
        (line,) = axes.step(
            history["number"], history["best"], where="post", color=INK, linewidth=1.2, zorder=1.8, label="best so far"
        )
        handles.append(line)
        note = "Each mark: a configuration's mean over its seeds; dropped and pruned ones had fewer seeds or epochs."
        if (history["state"] == "dropped").any():
            note += " Dropped: worse than the best on the same seeds, also where these few gave a low mean."
        if baseline is not None:
            handles.append(axes.axhline(baseline, color=FAINT, linewidth=1, linestyle=(0, (4, 2)), label="baseline"))
        if winner is not None:
            handles.append(_after(axes, 1.05 * last, winner))
            note += (
                " Of many configurations the best so far was also the luckiest: on fresh seeds it is worth the star."
            )
        note += beyond
        axes.set_xlim(-0.02 * last, 1.09 * last if winner else 1.02 * last)
        axes.set_xticks([tick for tick in MaxNLocator(8, integer=True).tick_values(0, last) if 0 <= tick <= last])
        axes.set_xlabel("trial")
        axes.set_ylabel(objective_label(objective))
        axes.grid(axis="y")
        return finish(figure, title, note, handles)


def _after(axes: Axes, x: float, one: Estimate) -> Line2D:
    """A star with its interval; returns its entry in the legend."""
    reach = np.nan_to_num([[one.value - one.low], [one.high - one.value]])
    style: Any = {"color": INK, "marker": "*", "markersize": 8, "linestyle": ""}
    axes.errorbar([x], [one.value], yerr=reach, elinewidth=1, capsize=2, zorder=3, **style)
    return Line2D([], [], label="the winner on fresh seeds", **style)


def search_front(trials: pd.DataFrame, numbers: Sequence[int], objectives: tuple[str, str], title: str = "") -> Figure:
    """Two objectives against each other; the trials `numbers` are on the front, joined and labelled."""
    first, second = objectives
    shown = trials[trials["state"].isin(VALUED)].dropna(subset=[first, second])
    shown = shown.loc[np.isfinite(shown[[first, second]].to_numpy(dtype=float)).all(axis=1)].sort_values(by=second)
    with styled(title):
        figure, (axes,) = panels(1, 1, HEIGHT + 0.3, 5.2)
        edges = {name: capped(shown[name].astype(float), name) for name in objectives}
        x, y = (edges[name][0].to_numpy(dtype=float) for name in (second, first))
        objective_axis(axes, "x", x, second)
        objective_axis(axes, "y", y, first)
        handles: list[Any] = scatter(axes, x, y, shown["state"])
        best = shown["number"].isin(list(numbers)).to_numpy()
        border = _border(axes, np.column_stack([x[best], y[best]]), second)
        style: Any = {"marker": "o", "markersize": 8, "fillstyle": "none", "color": INK, "markeredgewidth": 0.9}
        axes.plot(x[best], y[best], linestyle="", zorder=2.5, **style)
        handles.append(Line2D([], [], label="on the front", linestyle=(0, (4, 2)), linewidth=0.9, **style))
        axes.set_xlabel(objective_label(second))
        axes.set_ylabel(objective_label(first))
        axes.grid()
        note = f"Better is {_where(second, 'x')} and {_where(first, 'y')}. Numbers: trials on the front."
        note += "".join(beyond for _, beyond in edges.values())
        finish(figure, title, note, handles)
        figure.draw_without_rendering()  # the layout decides where the points stand
        texts = [str(number) if on else "" for number, on in zip(shown["number"], best, strict=True)]
        label_points(axes, np.column_stack([x, y]), texts, border)
        return figure


def _border(axes: Axes, front: np.ndarray, second: str) -> np.ndarray:
    """The line between what is reached and what is not, in steps; returns its corners (m, 2)."""
    if not len(front):
        return np.zeros((0, 2))
    x, y = front.T  # ascending in x
    if more_is_better(second):  # then y is the same up to the next better x
        corners = np.column_stack([np.repeat(x, 2)[:-1], np.repeat(y, 2)[1:]])
    else:
        corners = np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]])
    axes.plot(*corners.T, color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1.5)
    return corners


def _where(objective: str, axis: str) -> str:
    higher = more_is_better(objective)
    return f"further {('right' if higher else 'left') if axis == 'x' else ('up' if higher else 'down')}"


def search_timeline(timeline: pd.DataFrame, title: str = "") -> Figure:
    """When each trial ran and how it ended: a block per process, its trials in as few rows as they need."""
    ordered = timeline.sort_values(["worker", "begin_s", "end_s"], ignore_index=True)
    rows = lanes(ordered)
    with styled(title):
        count = max(rows, default=0) + 1
        figure, (axes,) = panels(1, 1, 0.65 + min(0.16 * count, 3.5), WIDTH)
        end = float(ordered["end_s"].max()) if len(ordered) else 1.0
        unit, seconds = next(
            (u, s) for u, s in (("hours", 3600), ("minutes", 60), ("seconds", 1)) if end >= 2 * s or s == 1
        )
        handles = []
        for state, look in (state_looks() | {"other": Look(GREY)}).items():
            known = state_looks().keys()
            own = ordered["state"] == state if state != "other" else ~ordered["state"].isin(known)
            if own.any():
                some = ordered[own]
                axes.barh(
                    [rows[place] for place in some.index],
                    (some["end_s"] - some["begin_s"]) / seconds,
                    left=some["begin_s"] / seconds,
                    height=0.78,
                    color=look.colour,
                    edgecolor="white",
                    linewidth=0.4,
                )
                handles.append(Patch(color=look.colour, label=state if state != "other" else "not counted"))
        _name_processes(axes, ordered["worker"], rows)
        axes.set_ylim(count - 0.4, -0.6)
        measured_axis(axes, "x", [0, max(end, 1e-9) / seconds], log=False)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{unit} since the first trial")
        axes.grid(axis="x")
        note = "A bar lasts from the question to the answer: a trial whose runs wait for a free core is under way, too."
        return finish(figure, title, note, handles)


def lanes(ordered: pd.DataFrame) -> list[int]:
    """The row of each trial: the first one of its process that is free. `ordered` by worker and begin."""
    found: list[int] = []
    above, free = 0, list[float]()  # rows of the processes before; row of this one → when it becomes free
    workers = ordered["worker"].tolist()
    spans = zip(ordered["begin_s"].tolist(), ordered["end_s"].tolist(), strict=True)
    for number, (begin, end) in enumerate(spans):
        if number and workers[number] != workers[number - 1]:
            above, free = above + len(free), []
        row = next((row for row, since in enumerate(free) if since <= begin), len(free))
        free[row : row + 1] = [end]
        found.append(above + row)
    return found


def _name_processes(axes: Axes, workers: pd.Series, rows: Sequence[int]) -> None:
    """A tick per process, in the middle of its rows."""
    of: Mapping[Any, list[int]] = {
        worker: [row for row, own in zip(rows, workers, strict=True) if own == worker] for worker in workers.unique()
    }
    names = [f"process {worker}" if worker else "no process" for worker in of]
    axes.set_yticks([sum((min(own), max(own))) / 2 for own in of.values()], names)
    axes.tick_params(axis="y", length=0)
    for own in list(of.values())[1:]:
        axes.axhline(min(own) - 0.5, color=FAINT, linewidth=0.6)
