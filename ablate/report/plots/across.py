"""Settings over several data sets: a diagram of critical differences, and performance profiles."""

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report.numbers import percent
from ablate.report.plots.fonts import wrapped
from ablate.report.plots.lines import DASHES, OTHER_COLOURS, model_looks, palette
from ablate.report.plots.style import FAINT, INK, WIDTH, finish, panels, styled

MOST_LINES = 8
"""Settings that a profile shows: of more, those with the best ranks."""
NAME = 2.0
"""Inches for the name of a setting and its rank."""
ROW = 0.17
"""Inches between the names of two settings."""


def mean_ranks(
    ranks: Mapping[str, float],
    cliques: Sequence[Sequence[str]],
    apart: float,
    title: str = "",
    data_sets: int = 0,
) -> Figure:
    """Mean ranks on an axis, the names of the better half on the left and of the others on the right, and a bar over
    settings that lie closer than the critical difference (Demšar 2006, figure 1).

    `ranks`: name → mean rank, 1 the best; `cliques`: the names that a bar joins.
    """
    names = sorted(ranks, key=lambda name: ranks[name])
    left = names[: (len(names) + 1) // 2]
    with styled(title, *names):
        step = 1 + max(wrapped(f"{name}  10.00", NAME, 7.5).count("\n") for name in names)  # rows of a name
        rows = step * len(left)
        height = 0.5 + ROW * (rows + len(cliques))
        figure, (axes,) = panels(1, 1, height, WIDTH)
        first, last = 1.0, float(len(names))
        margin = 0.42 * max(last - first, 1.0)
        axes.set_xlim(first - margin, last + margin)
        axes.set_ylim(rows + len(cliques) + 0.6, -2.4)
        axes.axis("off")
        axes.hlines(0, first, last, color=INK, linewidth=0.8)
        for rank in range(1, len(names) + 1):
            axes.vlines(rank, -0.35, 0, color=INK, linewidth=0.8)
            axes.text(rank, -0.55, str(rank), ha="center", va="bottom", size=7.5)
        axes.hlines(-1.9, first, min(first + apart, last + margin), color=FAINT, linewidth=1.4)
        axes.text(first - 0.01 * margin, -1.9, f"CD {apart:.2f} ", ha="right", va="center", size=7.5, color=FAINT)
        for place, names_of_bar in enumerate(cliques, 1):
            ends = [ranks[name] for name in names_of_bar]
            axes.hlines(0.9 * place, min(ends) - 0.02, max(ends) + 0.02, color=INK, linewidth=2.4)
        for place, name in enumerate(left):
            _name(axes, name, ranks[name], len(cliques) + 1 + step * place, first - 0.04 * margin, "right")
        for place, name in enumerate(reversed(names[len(left) :])):
            _name(axes, name, ranks[name], len(cliques) + 1 + step * place, last + 0.04 * margin, "left")
        note = (
            f"Mean rank over {data_sets} data sets, 1 the best. A bar joins settings that lie less than the critical "
            "difference (CD, Nemenyi) apart."
        )
        return finish(figure, title, note)


def _name(axes: Axes, name: str, rank: float, row: float, edge: float, side: Literal["left", "right"]) -> None:
    """A setting's name beside its row, and the line from there to its rank."""
    axes.plot([edge, rank, rank], [row, row, 0], color=FAINT, linewidth=0.7)
    text = wrapped(f"{name}  {rank:.2f}" if side == "right" else f"{rank:.2f}  {name}", NAME, 7.5)
    gap = -1 if side == "right" else 1
    axes.annotate(
        text,
        (edge, row),
        (4 * gap, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        size=7.5,
        annotation_clip=False,
    )


def profile(
    table: pd.DataFrame,
    effect: str,
    title: str = "",
    level: float = 0.95,
    ratios: bool = True,
    models: Mapping[str, str] | None = None,
) -> Figure:
    """The share of runs up to each τ, a line and a band for each setting; `table`: at, tau, share, low, high.

    `models`: name → model, of settings that are told apart by that alone, which then have its colour.
    """
    names = list(dict.fromkeys(table["at"]))
    shown = names[:MOST_LINES]
    with styled(title, *shown):
        figure, (axes,) = panels(1, 1, 2.9, 5.2)
        handles, looks = [], model_looks((models or {}).values())
        for number, name in enumerate(shown):
            own = table[table["at"] == name]
            colour = looks[models[name]].colour if models else palette()[OTHER_COLOURS[number % len(OTHER_COLOURS)]]
            dash = DASHES[number % len(DASHES)]
            axes.step(own["tau"], own["share"], where="post", color=colour, linestyle=dash)
            if own["low"].notna().all():
                axes.fill_between(
                    own["tau"], own["low"], own["high"], step="post", color=colour, alpha=0.15, linewidth=0
                )
            handles.append(Line2D([], [], color=colour, linestyle=dash, label=name))
        axes.set_ylim(0, 1.02)
        axes.margins(x=0)
        axes.set_xlabel(f"τ: {effect} of the data set")
        axes.set_ylabel("share of runs")
        axes.grid()
        if ratios and table["tau"].max() > 10 * max(table["tau"].min(), 1e-9):
            axes.set_xscale("log")
        left_out = f" The {len(shown)} of {len(names)} settings with the best ranks." if len(names) > len(shown) else ""
        note = (
            f"Runs whose {effect} is at most τ, in the mean over data sets; bands: {percent(level)} over seeds. "
            f"Higher is better.{left_out}"
        )
        return finish(figure, title, note, handles)
