"""What each knob does over a grid: main effects, shares of the variance, importance."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ablate.analysis.frames import value_text
from ablate.report.numbers import percent
from ablate.report.plots.fonts import text_width, wrapped
from ablate.report.plots.lines import Look, cleaned, is_number, model_looks, palette
from ablate.report.plots.measures import begin_at, interval_reach
from ablate.report.plots.style import INK, WIDE, WIDTH, finish, panels, styled
from ablate.report.plots.ticks import LABELS, measured_axis
from ablate.report.wording import future_note, marked, seeing

BLUE, ORANGE = 0, 1
GREYS = {"seed": "0.45", "residual": "0.75"}
MOST_BARS = 20
UPRIGHT = (1.2, 1.8, 2.4, 3.2)
"""Inches in which a name that stands upright may be written: the first in which it has no more lines than fit."""
LINE = 0.125
"""Inches from one line of a name to the next."""
COLUMNS = 3


def importance(table: pd.DataFrame, title: str = "", of: str = "log perplexity", further: str = "") -> Figure:
    """Bars of the knobs' importance for something (`of`), with the ranges of an approximation.

    `table`: knob, importance, low, high, total, evaluator (from analysis.importance); `further`: what else to note.
    """
    table = table.sort_values("importance", ascending=False, kind="stable")
    with styled(title, *table["knob"]):
        used = ", ".join(dict.fromkeys(table["evaluator"]))
        if table["total"].notna().all():
            label = f"share of the variance of {of}"
            note = f"{used}: the part of each knob alone, without interactions. {further}"
        else:
            label = "share of the importance"
            note = f"{used}, on the mean {of} of each setting; all bars together are 100 %, lines are ranges. {further}"
        figure = _bars(table["knob"], table["importance"], [palette()[BLUE]] * len(table), label)
        ranged = table[["low", "high"]].notna().all(axis=1).to_numpy()
        places = np.flatnonzero(ranged)
        figure.axes[0].hlines(places + 0.28, table["low"][ranged], table["high"][ranged], color=INK, linewidth=0.9)
        return finish(figure, title, note.strip())


def variance(split: pd.DataFrame, title: str = "", of: str = "log perplexity", further: str = "") -> Figure:
    """Bars of the shares of the variance of something (`of`); seed and residual stand last.

    `split`: source, share (from variance_split); `further`: what else to note.
    """
    kinds = [2 + [*GREYS].index(name) if name in GREYS else int(" × " in name) for name in split["source"]]
    split = split.assign(kind=kinds).sort_values(["kind", "share"], ascending=[True, False], kind="stable")
    shown = split
    if len(split) > MOST_BARS:
        named_ones = split[split["kind"] < 2].nlargest(MOST_BARS - 2, "share")
        shown = pd.concat(
            [named_ones.sort_values(["kind", "share"], ascending=[True, False]), split[split["kind"] > 1]]
        )
    with styled(title, *shown["source"]):
        hues = {0: palette()[BLUE], 1: palette()[ORANGE]}
        colours = [
            GREYS.get(source, hues.get(kind)) for source, kind in zip(shown["source"], shown["kind"], strict=True)
        ]
        hatches = ["////" if kind == 1 else "" for kind in shown["kind"]]
        figure = _bars(shown["source"], shown["share"], colours, f"share of the variance of {of}", hatches)
        handles = [Patch(color=hues[0], label="knob")] * bool((shown["kind"] == 0).any())
        if (shown["kind"] == 1).any():
            handles.append(Patch(facecolor=hues[1], hatch="////", edgecolor="white", label="interaction of two knobs"))
        handles.append(Patch(color=GREYS["seed"], label="seed"))
        handles.append(Patch(color=GREYS["residual"], label="residual"))
        left_out = split[~split.index.isin(shown.index)]["share"].sum()
        note = "Over all runs that did not diverge."
        if len(shown) < len(split):
            note += f" {len(split) - len(shown)} smaller sources, together {short_share(left_out)}, are not shown."
        return finish(figure, title, f"{note} {further}".strip(), handles)


def _bars(
    names: Iterable[str], shares: Iterable[float], colours: Sequence[object], label: str, hatches: Sequence[str] = ()
) -> Figure:
    """Horizontal bars with their percentages, the first on top."""
    names = [wrapped(name, 2.2, 7.5) for name in names]
    figure, (axes,) = panels(1, 1, 0.55 + 0.2 * len(names) + 0.1 * sum(name.count("\n") for name in names), 5.2)
    values = np.nan_to_num(np.array(list(shares), dtype=float))
    bars = axes.barh(range(len(names)), values, color=list(colours), height=0.66)
    for bar, hatch in zip(bars, hatches, strict=False):
        bar.set(hatch=hatch, edgecolor="white", linewidth=0)
    axes.bar_label(bars, [short_share(value) for value in values], padding=3, size=7.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    measured_axis(axes, "x", [0, values.max(initial=0) or 1], short_share, log=False, beyond=0.08)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    axes.grid(axis="x")
    return figure


def short_share(share: float) -> str:
    """`43 %`, `4.3 %`, `<0.1 %`."""
    hundredths = round(100 * share, 1)
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{hundredths:.0f} %" if 10 <= hundredths <= 99 or hundredths in (0, 100) else f"{hundredths:.1f} %"


def effects(
    main_effects: pd.DataFrame,
    title: str = "",
    level: float = 0.95,
    label: str = "training perplexity",
    geometric: bool = True,
) -> Figure:
    """A panel per knob: the mean of a metric at each of its values, over all other settings.

    `main_effects`: knob, value, n, mean, low, high (from main_effects), and sees_future, where that is known. All
    panels share their axis, so that effects can be compared. The axis of arithmetic means is never logarithmic.
    """
    knobs = list(dict.fromkeys(main_effects["knob"]))
    columns = min(COLUMNS, len(knobs))
    limits = main_effects[["mean", "low", "high"]].to_numpy(dtype=float).ravel()
    with styled(title, main_effects[["knob", "value"]].to_csv()):
        width = {1: 4.4, 2: WIDTH}.get(columns, WIDE) / columns - 0.5
        tables = [_in_order(main_effects[main_effects["knob"] == knob]) for knob in knobs]
        names = [place_names(_marked(table), width) for table in tables]
        figure, axes = panels(-(-len(knobs) // columns), columns, 1.75 + max(height for *_, height in names))
        for number, (panel, knob) in enumerate(zip(axes, knobs, strict=False)):
            own, (labels, upright, _) = tables[number], names[number]
            values = cleaned(own["value"])
            ordered = all(is_number(value) for value in values if value is not None)
            looks = model_looks(values) if knob == "model" else {}
            mean = own["mean"].to_numpy(dtype=float)
            low, high = (own[name].to_numpy(dtype=float) for name in ("low", "high"))
            reach = interval_reach(mean, low, high)
            if ordered:
                panel.plot(range(len(own)), mean, color=palette()[BLUE], linewidth=1.2, zorder=1.5)
            for place, value in enumerate(values):
                look = looks.get(value, Look(palette()[BLUE], "o" if ordered else "s"))
                bars = panel.errorbar(
                    [place], mean[[place]], yerr=reach[:, [place]], color=look.colour, marker=look.marker, capsize=2
                )
                begin_at(bars, "y", low[[place]])
            panel.set_xticks(range(len(labels)), labels, rotation=90 if upright else 0)
            panel.set_xlim(-0.5, len(labels) - 0.5)
            panel.set_xlabel(LABELS.get(knob, knob))
            measured_axis(panel, "y", limits, log=None if geometric else False)
            panel.grid(axis="y")
            if number % columns:
                panel.tick_params(labelleft=False)
            else:
                panel.set_ylabel(label)
        for panel in axes[len(knobs) :]:
            panel.remove()
        what = f"{'Geometric mean' if geometric else 'Mean'} over all other settings"
        without = main_effects["low"].isna()
        note = what if without.all() else f"{what}, {percent(level)} interval over the seeds"
        note += "; no interval where a setting has one run." if without.any() else "."
        return finish(figure, title, f"{note} {future_note(main_effects)}".strip())


def _marked(table: pd.DataFrame) -> list[object]:
    """The values of one knob, those with a dagger where all settings see the future."""
    both = zip(cleaned(table["value"]), seeing(table), strict=True)
    return [marked(value_text(value), True) if sees else value for value, sees in both]


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one knob: numbers ascending, null last; names as they come."""
    values = cleaned(table["value"])
    if not all(is_number(value) for value in values if value is not None):
        return table
    return table.iloc[np.argsort([np.inf if value is None else value for value in values], kind="stable")]


def place_names(values: Sequence[object], width: float) -> tuple[list[str], bool, float]:
    """Tick labels of a panel: level where they fit side by side, else upright (True), in as many lines as fit side by
    side; and their height."""
    names = [value_text(value) for value in values]
    each = width / max(len(names), 1)
    room = each - 0.05
    level = [wrapped(name, room, 7.5) for name in names]
    lines = [line for name in level for line in name.split("\n")]
    if max(name.count("\n") for name in level) < 3 and max(text_width(line, 7.5) for line in lines) <= room:
        return level, False, 0.14 * (max(name.count("\n") for name in level) + 1)
    for height in UPRIGHT:
        upright = [wrapped(name, height, 7.5) for name in names]
        if (max(name.count("\n") for name in upright) + 1) * LINE <= each:
            break
    return upright, True, max(text_width(line, 7.5) for name in upright for line in name.split("\n"))
