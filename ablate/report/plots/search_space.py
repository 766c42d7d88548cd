"""The space of a search: which knobs decide, the configurations as lines, the objective over each knob alone."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullLocator

from ablate.analysis.trials import SPEED, VALUED, best_trial, is_number, knob_names, more_is_better, text
from ablate.config.errors import counted
from ablate.report.plots.effects import place_names, short_share
from ablate.report.plots.fonts import wrapped
from ablate.report.plots.lines import palette
from ablate.report.plots.search_trials import capped, objective_axis, objective_label, scatter
from ablate.report.plots.style import INK, SMALL, WIDE, WIDTH, finish, panels, styled
from ablate.report.plots.ticks import LABELS, Places, log_ticks, measured_axis, plain, thousands

MOST_ON_AXIS = 8
"""Choices of a knob that get a label of their own on a vertical axis."""
COLUMNS = 3
REGIONS = (("whole space", ""), ("better half", "////"))


def search_importance(importance: pd.DataFrame, title: str = "") -> Figure:
    """A panel per evaluator: the share of each knob, over the whole space and over where the better half lies.

    `importance`: knob, importance, evaluator, region, n (from trials.search_importance), at least one row.
    """
    evaluators = list(importance["evaluator"].unique())
    lead = importance[(importance["evaluator"] == evaluators[0]) & (importance["region"] == REGIONS[0][0])]
    knobs = list(lead.sort_values("importance", ascending=False, kind="stable")["knob"])
    knobs += [knob for knob in importance["knob"].unique() if knob not in knobs]
    regions = [(name, hatch) for name, hatch in REGIONS if (importance["region"] == name).any()]
    with styled(title, *knobs):
        names = [wrapped(name, 1.6, 7.5) for name in knobs]
        height = 0.5 + (0.13 + 0.15 * len(regions)) * len(knobs)
        figure, axes = panels(1, len(evaluators), max(height, 1.2), WIDTH, sharey=True)
        for panel, evaluator in zip(axes, evaluators, strict=True):
            for place, (region, hatch) in enumerate(regions):
                own = importance[(importance["evaluator"] == evaluator) & (importance["region"] == region)]
                shares = own.set_index("knob")["importance"].reindex(knobs)
                at = np.arange(len(knobs)) + (place - (len(regions) - 1) / 2) * 0.38
                bars = panel.barh(
                    at,
                    shares.fillna(0),
                    height=0.36,
                    color=palette()[place],
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0,
                )
                said = ["–" if math.isnan(share) else short_share(share) for share in shares]
                panel.bar_label(bars, said, padding=2, size=SMALL)
            panel.set_title(evaluator, loc="left")
            largest = max(float(importance["importance"].max()), 0.05)
            measured_axis(panel, "x", [0, largest], short_share, log=False, most=5)
            panel.set_xlim(0, 1.28 * largest)  # room for the percentages
            panel.set_xlabel("share of the importance")
            panel.grid(axis="x")
            panel.tick_params(axis="y", length=0)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.45, -0.55)
        counts = importance.groupby("region")["n"].max()
        handles = [
            Patch(
                facecolor=palette()[place],
                hatch=hatch,
                edgecolor="white",
                label=f"{region} ({counted(counts[region], 'trial')})",
            )
            for place, (region, hatch) in enumerate(regions)
        ]
        note = (
            "Importance depends on the ranges that were searched: a knob that decides between good and bad may not "
            "matter among the good. PED-ANOVA: what sets the best tenth apart; fANOVA: shares of the variance."
        )
        return finish(figure, title, note, handles)


# --- parallel coordinates -------------------------------------------------------------------------------


def search_parallel(
    trials: pd.DataFrame, space: Mapping[str, Any], objective: str, title: str = "", winner: int | None = None
) -> Figure:
    """One vertical axis per knob and, last, the objective with the better end up; one line per configuration.

    Coloured by rank, the best ones on top; dotted past a knob that a configuration does not have. Bold: trial number
    `winner`, the best on fresh seeds, or where there is none the best in the search.
    """
    shown = valued(trials, objective).sort_values(objective, ascending=more_is_better(objective))
    names = knob_names(space, shown)
    with styled(title, *names):
        figure, (axes,) = panels(1, 1, 3.0, WIDE if len(names) > 3 else WIDTH)
        columns = [positions(shown[name], space[name]) for name in names]
        ends, beyond = capped(shown[objective].astype(float), objective)
        bold = marked_trial(shown, objective, winner)
        columns.append(_objective_positions(ends, objective))
        colours = palette("viridis", max(len(shown), 1))  # dark: the best
        for rank in range(len(shown)):  # the worst first
            best = shown["number"].iloc[rank] == bold
            heights = np.array([column[rank] for column in columns])
            has = np.flatnonzero(np.isfinite(heights))
            look: Any = {"color": colours[len(shown) - 1 - rank], "alpha": 1 if best else 0.7}
            look |= {"linewidth": 2.4 if best else 0.9, "zorder": 3 if best else 2 + rank / len(shown)}
            axes.plot(has, heights[has], **look | {"linestyle": (0, (1, 2)), "alpha": 0.5})
            axes.plot(heights, marker="o", markersize=2.2, **look)
        room = (figure.get_size_inches()[0] - 0.6) / (len(names) + 1) - 0.1
        axes.set_xticks(
            range(len(columns)), [wrapped(name, room, 7.5) for name in (*names, objective_label(objective))]
        )
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", length=0)
        axes.set_yticks([])
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        for place, name in enumerate(names):
            _axis_labels(axes, place, knob_ticks(space[name]), "right", -4)
        _axis_labels(axes, len(names), _objective_ticks(ends, objective), "left", 4)
        axes.set_xlim(-0.35, len(columns) - 0.65)
        axes.set_ylim(-0.06, 1.06)
        note = (
            f"{counted(len(shown), 'configuration')}. Dotted: past a knob that a configuration does not have.{beyond}"
        )
        handles = _rank_handles(colours, len(shown))
        if bold is not None:
            said = "the winner on fresh seeds" if bold == winner else "the best one with all its seeds"
            rank = shown["number"].tolist().index(bold)
            handles.append(Line2D([], [], color=colours[len(shown) - 1 - rank], label=said, linewidth=2.4))
        return finish(figure, title, note, handles)


def marked_trial(trials: pd.DataFrame, objective: str, winner: int | None) -> int | None:
    """The number of the trial that figures mark: the winner on fresh seeds, else the best with all its seeds."""
    if winner is not None and (trials["number"] == winner).any():
        return winner
    best = best_trial(trials, objective)
    return None if best is None else int(best["number"])


def valued(trials: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Trials with a finite value that says something of their configuration."""
    return trials[trials["state"].isin(VALUED) & np.isfinite(trials[objective].astype(float))]


def positions(values: pd.Series, facts: Mapping[str, Any]) -> np.ndarray:
    """Heights from 0 to 1 on the axis of a knob; NaN for a configuration without it."""
    if facts["kind"] == "choice":
        choices = [text(choice) for choice in facts["choices"]]
        place = {choice: number / max(1, len(choices) - 1) for number, choice in enumerate(choices)}
        return np.array([np.nan if pd.isna(value) else place.get(text(value), np.nan) for value in values])
    return _share(values.to_numpy(dtype=float), float(facts["low"]), float(facts["high"]), bool(facts["log"]))


def _share(values: np.ndarray, low: float, high: float, log: bool) -> np.ndarray:
    """How far between low (0) and high (1)."""
    if log:
        values, low, high = np.log(values), math.log(low), math.log(high)
    return np.array((values - low) / (high - low)) if high > low else np.full(len(values), 0.5)


def _objective_positions(values: pd.Series, objective: str) -> np.ndarray:
    """The better the higher."""
    if values.empty:
        return np.zeros(0)
    share = _share(values.to_numpy(), values.min(), values.max(), values.min() > 0)
    return share if more_is_better(objective) else 1 - share


def knob_ticks(facts: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Heights from 0 to 1 and what stands there, on the axis of a knob."""
    if facts["kind"] == "choice":
        every = math.ceil(len(facts["choices"]) / MOST_ON_AXIS)
        count = max(1, len(facts["choices"]) - 1)
        return [(place / count, text(choice)) for place, choice in enumerate(facts["choices"])][::every]
    low, high = float(facts["low"]), float(facts["high"])
    inner = log_ticks(low, high, 6) if facts["log"] else MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    if facts["kind"] == "int" and high - low < MOST_ON_AXIS:
        inner = range(int(low), int(high) + 1)
    ticks = np.array([float(f"{tick:.10g}") for tick in inner if low <= tick <= high])
    return [
        (float(share), plain(tick)) for share, tick in zip(_share(ticks, low, high, facts["log"]), ticks, strict=True)
    ]


def _objective_ticks(values: pd.Series, objective: str) -> list[tuple[float, str]]:
    if values.empty or values.min() == values.max():
        return []
    low, high = float(values.min()), float(values.max())
    ticks: Sequence[float] = [tick for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]
    if low > 0:
        ticks = log_ticks(low, high, 7)
    ends = pd.Series([*ticks, values.min(), values.max()])
    write = thousands if objective == SPEED else plain
    return [
        (float(share), write(tick)) for share, tick in zip(_objective_positions(ends, objective), ticks, strict=False)
    ]


def _axis_labels(axes: Axes, place: int, ticks: Sequence[tuple[float, str]], side: str, away: float) -> None:
    """A vertical axis with its labels, `away` points off, legible over the lines."""
    axes.axvline(place, color="0.6", linewidth=0.7, zorder=1.5)
    for height, label in ticks:
        axes.annotate(
            label, (place, height), (away, 0), textcoords="offset points", ha=side, va="center", size=SMALL, zorder=5,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )  # fmt: skip


def _rank_handles(colours: Sequence[Any], count: int) -> list[Line2D]:
    """The legend: the colours of the best, the middle one and the worst."""
    if not count:
        return []
    named = {"best": 0, "middle": count // 2, "worst": count - 1} if count > 2 else {"best": 0}
    return [Line2D([], [], color=colours[rank], label=name, linewidth=1.2) for name, rank in named.items()]


# --- slices ---------------------------------------------------------------------------------------------


def search_slices(
    trials: pd.DataFrame, space: Mapping[str, Any], objective: str, title: str = "", winner: int | None = None
) -> Figure:
    """The objective over each knob alone, a panel per knob; a mark is a configuration.

    Ringed: trial number `winner`, the best on fresh seeds, or where there is none the best in the search.
    """
    shown = valued(trials, objective)
    names = knob_names(space, trials)
    columns = min(COLUMNS, max(len(names), 1))
    with styled(title, *names):
        figure, axes = panels(-(-len(names) // columns) or 1, columns, 2.0)
        width = figure.get_size_inches()[0] / columns - 0.5
        handles: dict[str, Line2D] = {}
        best = marked_trial(shown, objective, winner)
        values, beyond = capped(shown[objective].astype(float), objective)
        for number, (panel, name) in enumerate(zip(axes, names, strict=False)):
            own = shown.dropna(subset=[name])
            objective_axis(panel, "y", values, objective)
            x = _along(panel, own[name], name, space[name], width)
            handles |= {str(one.get_label()): one for one in scatter(panel, x, values[own.index], own["state"])}
            ring = np.flatnonzero(own["number"] == (-1 if best is None else best))
            panel.plot(
                x[ring], values[own.index].iloc[ring], marker="o", markersize=8, fillstyle="none", color=INK, zorder=3,
                linestyle="", markeredgewidth=1,
            )  # fmt: skip
            panel.grid(axis="y")
            if number % columns:
                panel.tick_params(labelleft=False)
            else:
                panel.set_ylabel(objective_label(objective))
        for panel in axes[len(names) :]:
            panel.remove()
        said = "the winner on fresh seeds" if best == winner else "best"
        ringed = Line2D([], [], marker="o", markersize=8, fillstyle="none", color=INK, linestyle="", label=said)
        note = "All other knobs vary, too: a low point above a value means that it can be good, not that it is."
        note += beyond
        return finish(figure, title, note, [*handles.values(), *([] if best is None else [ringed])])


def _along(panel: Axes, values: pd.Series, name: str, facts: Mapping[str, Any], width: float) -> np.ndarray:
    """The x axis of a knob over what was searched; where these values of it stand."""
    if facts["kind"] != "choice":
        log = bool(facts["log"])
        if facts["kind"] == "int" and facts["high"] - facts["low"] < MOST_ON_AXIS:
            Places.of(range(facts["low"], facts["high"] + 1), width).mark(panel, name)
        else:
            measured_axis(panel, "x", [facts["low"], facts["high"]], log=log, most=6)
            panel.set_xlabel(LABELS.get(name, name))
        return values.to_numpy(dtype=float)
    if is_number(facts):
        Places.of([float(choice) for choice in facts["choices"]], width).mark(panel, name)
        return values.to_numpy(dtype=float)
    choices = [text(choice) for choice in facts["choices"]]
    labels, upright, _ = place_names(choices, width)
    panel.set_xticks(range(len(choices)), labels, rotation=90 if upright else 0)
    panel.set_xlim(-0.5, len(choices) - 0.5)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel(LABELS.get(name, name))
    jitter = np.random.default_rng(0).uniform(-0.15, 0.15, len(values))
    place = {choice: number for number, choice in enumerate(choices)}
    return np.array([place.get(text(value), np.nan) for value in values]) + jitter
