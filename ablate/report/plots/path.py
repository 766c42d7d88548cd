"""An executed ablation path: from the baseline to the target, one change at a time."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.config.metrics import METRICS
from ablate.report.numbers import percent
from ablate.report.plots.fonts import wrapped
from ablate.report.plots.lines import palette
from ablate.report.plots.measures import begin_at, diverged_text, interval_reach
from ablate.report.plots.style import FAINT, SMALL, WIDTH, finish, panels, styled
from ablate.report.plots.ticks import measured_axis

NAMES = 1.9
"""Inches for the names of the changes."""


def ablation_path(steps: pd.DataFrame, title: str = "", level: float = 0.95) -> Figure:
    """A row per step from the top: the metric with its interval, and on the right its ratio to the step before.

    `steps`: number, change, metric, n, diverged, value, value_low, value_high, ratio, low, high (from path_frame).
    A step whose ratio has an interval that holds 1 is hollow; one without a finished run has a cross.
    """
    steps = steps.sort_values("number", ignore_index=True)
    with styled(title, *steps["change"]):
        names = [
            wrapped(f"{number}. {change}" if number else change, NAMES, 7.5)
            for number, change in zip(steps["number"], steps["change"], strict=True)
        ]
        lines = sum(max(2, name.count("\n") + 1) for name in names)
        figure, (axes,) = panels(1, 1, 0.6 + 0.15 * lines, WIDTH)
        value, low, high, ratio, ratio_low, ratio_high = (
            pd.to_numeric(steps[name], errors="coerce").to_numpy(dtype=float)
            for name in ("value", "value_low", "value_high", "ratio", "low", "high")
        )
        axes.plot(value, np.arange(len(steps)), color="0.7", linewidth=1, zorder=1)
        for row in range(len(steps)):
            shown = not row or ratio_low[row] > 1 or ratio_high[row] < 1
            _step(axes, row, value[row], low[row], high[row], shown)
            said = [_ratio_text(ratio[row], ratio_low[row], ratio_high[row])] if row else ["ratio to the row above"]
            diverged, n = int(steps["diverged"].iloc[row]), int(steps["n"].iloc[row])
            said += [diverged_text(diverged, diverged + n)] * bool(diverged)
            axes.text(
                1.03, row, "\n".join(said), transform=axes.get_yaxis_transform(), va="center", size=SMALL,
                color=FAINT if not row else None,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        measured_axis(axes, "x", np.concatenate([value, low, high]))
        metric = str(steps["metric"].iloc[0]) if "metric" in steps else "perplexity"
        axes.set_xlabel(METRICS[metric].title if metric in METRICS else metric)
        axes.grid(axis="both")
        runs = steps["n"] + steps["diverged"]
        seeds = f"{runs.min()}" if runs.min() == runs.max() else f"{runs.min()}–{runs.max()}"
        note = (
            f"Geometric means and {percent(level)} intervals over {seeds} seeds; ratios by Welch's t on logarithms. "
            "Hollow: the ratio's interval holds 1. At each step the best of the remaining changes was taken."
        )
        return finish(figure, title, note)


def _step(axes: Axes, row: int, value: float, low: float, high: float, shown: bool) -> None:
    colour = palette()[0] if row else (0.35, 0.35, 0.35)
    if not np.isfinite(value):
        axes.plot(
            [0.985], [row], marker="x", color=colour, transform=axes.get_yaxis_transform(), clip_on=False,
            markeredgewidth=1.5,
        )  # fmt: skip
        return
    reach = interval_reach(np.array([value]), np.array([low]), np.array([high]))
    face = colour if shown else "white"
    bars = axes.errorbar(
        [value], [row], xerr=reach, color=colour, marker="o" if row else "s", markerfacecolor=face, elinewidth=1.1,
        capsize=2,
    )  # fmt: skip
    begin_at(bars, "x", np.array([low]))


def _ratio_text(ratio: float, low: float, high: float) -> str:
    """`×0.62 (0.58–0.66)`."""
    if not np.isfinite(ratio):
        return "–"
    known = low > 0 and np.isfinite(high)
    return f"×{ratio:.3g} ({low:.3g}–{high:.3g})" if known else f"×{ratio:.3g}"
