"""Figures of a search: each function takes frames of `ablate.analysis.trials` and returns a matplotlib Figure."""

import math
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ablate.analysis.trials import BETTER, VALUED, is_number, knob_names, text

MARKS = {
    "done": ("o", 0),
    "reused": ("D", 9),
    "dropped": ("v", 1),
    "pruned": ("x", 7),
    "diverged": ("^", 3),
    "failed": ("P", 6),
}
"""Marker and position in the palette of each state."""


def _theme() -> list[Any]:
    sns.set_theme(context="paper", style="ticks", palette="colorblind", font_scale=1.15)
    return list(sns.color_palette("colorblind"))


def _finish(figure: Figure, title: str) -> Figure:
    if title:
        figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    for axis in figure.axes:
        sns.despine(ax=axis)
    figure.tight_layout()
    return figure


def _scatter(axis: Axes, x: Any, y: Any, states: pd.Series, colours: list[Any]) -> None:
    for state, (marker, colour) in MARKS.items():
        own = (states == state).to_numpy()
        if own.any():
            line = 1.2 if marker == "x" else 0
            axis.scatter(
                np.asarray(x)[own],
                np.asarray(y)[own],
                s=22,
                marker=marker,
                color=colours[colour],
                linewidths=line,
                label=state,
            )


def _capped(values: pd.Series, states: pd.Series) -> pd.Series:
    """Values of single trials far above all that ended well are drawn at the upper edge."""
    ended = values[states.isin(VALUED)]
    return values.clip(upper=1.2 * float(ended.max())) if len(ended) else values


def _ticks_at(axis: Axes, values: list[float]) -> None:
    """Ticks at these values only."""
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.xaxis.set_minor_locator(NullLocator())


def _logarithmic(axes: Axes, side: str) -> None:
    """A log scale on the axis `x` or `y`, with few ticks, as plain numbers."""
    axis: Axis = axes.xaxis if side == "x" else axes.yaxis
    (axes.set_xscale if side == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _wide(values: pd.Series) -> bool:
    return bool(values.min() > 0 and values.max() / values.min() > 3)


def plot_history(history: pd.DataFrame, objective: str, title: str = "") -> Figure:
    """Every trial's value in its order, by state, and the best so far as a line."""
    colours = _theme()
    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    values = _capped(history["value"], history["state"])
    _scatter(axis, history["number"], values, history["state"], colours)
    axis.step(history["number"], history["best"], where="post", color="0.25", linewidth=1.4, label="best so far")
    if not history.empty and _wide(values):
        _logarithmic(axis, "y")
    axis.set_xlabel("trial")
    axis.set_ylabel(objective)
    axis.legend(frameon=False, fontsize="small")
    return _finish(figure, title)


def plot_importance(importance: pd.DataFrame, title: str = "") -> Figure:
    """One panel per evaluator; the bars of a knob are the regions for which it was computed."""
    _theme()
    names = list(importance["evaluator"].unique()) or ["none: too few trials"]
    figure, axes = plt.subplots(1, len(names), figsize=(4.6 * len(names) + 0.8, 3.6), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        own = importance[importance["evaluator"] == name]
        axis.set_title(name, fontsize="medium", loc="left")
        axis.set_xlabel("importance")
        if own.empty:
            continue
        order = own[own["region"] == own["region"].iloc[0]].sort_values("importance", ascending=False)["knob"]
        sns.barplot(own, y="knob", x="importance", hue="region", order=order, ax=axis, legend=axis is axes[0][-1])
        axis.set_ylabel("")
        if axis.get_legend():
            axis.legend(title="over", frameon=False, fontsize="small")
    return _finish(figure, title)


def plot_parallel(trials: pd.DataFrame, space: Mapping[str, Any], objective: str, title: str = "") -> Figure:
    """Parallel coordinates: one axis per knob, one line per configuration with a value, coloured by rank; best on top.

    A knob that a configuration does not have interrupts its line.
    """
    _theme()
    shown = trials[trials["state"].isin(VALUED) & np.isfinite(trials[objective].astype(float))]
    shown = shown.sort_values(objective, ascending=BETTER.get(objective) == "higher")
    names = knob_names(space, shown)
    figure, axis = plt.subplots(figsize=(1.5 * (len(names) + 1) + 1.5, 4.0))
    columns = {name: _positions(shown[name], space[name]) for name in names}
    columns[objective] = _scaled(shown[objective].astype(float).map(math.log))
    colours = sns.color_palette("viridis_r", max(len(shown), 1))
    for rank in range(len(shown)):
        axis.plot([column.iloc[rank] for column in columns.values()], color=colours[rank], linewidth=1.1, alpha=0.75)
    axis.set_xticks(range(len(columns)), list(columns), rotation=15)
    axis.set_yticks([])
    for place, name in enumerate(columns):
        axis.axvline(place, color="0.7", linewidth=0.7, zorder=0)
        for height, label in _ticks(shown, name, space.get(name)):
            axis.text(place - 0.03, height, label, ha="right", va="center", fontsize="x-small")
    axis.set_xlim(-0.5, len(columns) - 0.9)
    axis.set_ylim(-0.05, 1.05)
    return _finish(figure, title)


def _positions(values: pd.Series, facts: Mapping[str, Any]) -> pd.Series:
    """Heights from 0 to 1 on the axis of a knob."""
    if facts["kind"] == "choice":
        choices = [text(choice) for choice in facts["choices"]]
        place = {choice: number / max(1, len(choices) - 1) for number, choice in enumerate(choices)}
        return values.map(lambda value: place.get(text(value), np.nan) if not pd.isna(value) else np.nan)
    low, high = float(facts["low"]), float(facts["high"])
    numbers = values.astype(float)
    if facts["log"]:
        numbers, low, high = numbers.map(math.log), math.log(low), math.log(high)
    return numbers.sub(low).div(high - low)


def _scaled(values: pd.Series) -> pd.Series:
    span = float(values.max() - values.min())
    return values.sub(values.min()).div(span if span > 0 else 1.0)


def _ticks(shown: pd.DataFrame, name: str, facts: Mapping[str, Any] | None) -> list[tuple[float, str]]:
    if facts is None:
        values = shown[name].astype(float)
        return [(0.0, f"{values.min():.3g}"), (1.0, f"{values.max():.3g}")] if len(values) else []
    if facts["kind"] == "choice":
        count = max(1, len(facts["choices"]) - 1)
        return [(number / count, text(choice)) for number, choice in enumerate(facts["choices"])]
    return [(0.0, f"{facts['low']:g}"), (1.0, f"{facts['high']:g}")]


def plot_slices(trials: pd.DataFrame, space: Mapping[str, Any], objective: str, title: str = "") -> Figure:
    """The objective over each knob alone; every dot is a trial that ended well."""
    colours = _theme()
    names = knob_names(space, trials)
    shown = trials[trials["state"].isin(VALUED) & np.isfinite(trials[objective].astype(float))]
    figure, axes = plt.subplots(1, len(names), figsize=(2.7 * len(names) + 0.9, 3.2), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        facts, own = space[name], shown.dropna(subset=[name])
        if is_number(facts):
            x = own[name].astype(float)
            if facts.get("log") or (facts["kind"] == "choice" and _wide(pd.Series(facts["choices"], dtype=float))):
                _logarithmic(axis, "x")
            if facts["kind"] == "choice":
                _ticks_at(axis, [float(choice) for choice in facts["choices"]])
            elif facts["kind"] == "int" and facts["high"] - facts["low"] < 10:
                _ticks_at(axis, [float(value) for value in range(facts["low"], facts["high"] + 1)])
        else:
            choices = [text(choice) for choice in facts["choices"]]
            jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(own))
            x = own[name].map(lambda value, choices=choices: choices.index(text(value))).astype(float) + jitter
            axis.set_xticks(range(len(choices)), choices, rotation=20 if len(choices) > 3 else 0)
        _scatter(axis, x, own[objective].astype(float), own["state"], colours)
        axis.set_xlabel(name)
    axes[0][0].set_ylabel(objective)
    if not shown.empty and _wide(shown[objective].astype(float)):
        _logarithmic(axes[0][0], "y")
    axes[0][-1].legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _finish(figure, title)


def plot_front(trials: pd.DataFrame, numbers: list[int], objectives: tuple[str, str], title: str = "") -> Figure:
    """Two objectives against each other, the trials on the front connected."""
    colours = _theme()
    first, second = objectives
    shown = trials[trials["state"].isin(VALUED)].dropna(subset=[first, second])
    figure, axis = plt.subplots(figsize=(5.4, 4.2))
    _scatter(axis, shown[second], shown[first], shown["state"], colours)
    best = shown[shown["number"].isin(numbers)].sort_values(second)
    axis.plot(best[second], best[first], color="0.25", linewidth=1.2, marker="o", markersize=7, fillstyle="none")
    axis.set_xlabel(second)
    axis.set_ylabel(first)
    for side, column in (("x", second), ("y", first)):
        if not shown.empty and _wide(shown[column].astype(float)):
            _logarithmic(axis, side)
    axis.legend(frameon=False, fontsize="small")
    return _finish(figure, title)


def plot_timeline(timeline: pd.DataFrame, title: str = "") -> Figure:
    """When each trial ran and how it ended, stacked by process."""
    colours = _theme()
    ordered = timeline.sort_values(["worker", "begin_s"], ignore_index=True)
    figure, axis = plt.subplots(figsize=(6.8, min(8.0, 2.6 + 0.06 * len(ordered))))
    for state, (_, colour) in MARKS.items():
        own = ordered[ordered["state"] == state]
        if not own.empty:
            axis.barh(
                own.index,
                own["end_s"] - own["begin_s"],
                left=own["begin_s"],
                height=0.8,
                color=colours[colour],
                label=state,
            )
    axis.set_xlabel("seconds since the first trial")
    axis.set_ylabel("trials, by process" if timeline["worker"].nunique() > 1 else "trials")
    axis.set_yticks([])
    axis.invert_yaxis()
    axis.legend(frameon=False, fontsize="small")
    return _finish(figure, title)
