"""All claims at a glance: effect with interval, and the verdict."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.config.metrics import METRICS
from ablate.report.numbers import percent
from ablate.report.plots.fonts import wrapped
from ablate.report.plots.lines import palette
from ablate.report.plots.style import FAINT, INK, SMALL, WIDE, finish, panels, styled
from ablate.report.plots.ticks import log_ticks, plain
from ablate.report.wording import future_note, marked, seeing

LOOKS = {
    "confirmed": (palette()[2], "o", "full"),
    "refuted": (palette()[3], "X", "full"),
    "undecided": (palette()[0], "D", "none"),
    "not testable": ((0.55, 0.55, 0.55), "", "none"),
}
"""Verdict → colour, marker, fill."""
WIDEST = 30.0
"""Ratios beyond this factor, or below its inverse, leave the axis."""
NARROWEST = 1.2
"""Ratios up to this factor do not need all of it."""
SMALLEST = 0.05
"""Differences up to this share of a metric's largest value do not need all of it."""
NAMES = 2.7
EFFECT = 2.4
"""Inches for the statements and for an effect in words."""
ROW = 0.14
"""Inches per line of text."""


@dataclass(frozen=True)
class Scale:
    """What the effects are, and where they stand in the frame."""

    kind: Literal["ratio", "difference", "share"]
    columns: tuple[str, str, str]  # estimate, and the ends of its interval
    label: str
    equal: float | None = None  # where the two sides do not differ

    def limits(self, frame: pd.DataFrame) -> tuple[float, float]:
        """Ends of the axis: as far from equality on either side as the farthest effect, within reason."""
        if self.kind == "share":
            return -0.03, 1.03
        numbers = frame[list(self.columns)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        finite = numbers[np.isfinite(numbers)]
        if self.kind == "difference":
            tops = (METRICS.known(str(name)).top or 0.0 for name in frame.get("metric", ()))
            least = SMALLEST * max(tops, default=1.0)
            far = 1.08 * (max(float(np.abs(finite).max(initial=0.0)), least) or 1.0)
            return -far, far
        finite = finite[finite > 0]
        far = float(np.exp(np.abs(np.log(finite)).max())) if len(finite) else 2.0
        far = min(max(far, NARROWEST), WIDEST) ** 1.08
        return 1 / far, far

    def effect(self, row: pd.Series) -> tuple[float, float, float]:
        """Estimate, low, high; not a number where this claim's effect is another."""
        estimate, low, high = (_number(row.get(name)) for name in self.columns)
        return (math.nan if self.kind == "ratio" and estimate <= 0 else estimate), low, high

    def label_axis(self, axes: Axes, low: float, high: float) -> None:
        axes.set_xscale("log" if self.kind == "ratio" else "linear")
        axes.set_xlim(low, high)
        if self.kind == "share":
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        elif self.kind == "ratio":
            ticks = log_ticks(low, high, 6)
            axes.set_xticks(ticks, [f"×{plain(tick)}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(self.label)
        if self.equal is not None:
            axes.axvline(self.equal, color=FAINT, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)


RATIOS = Scale("ratio", ("ratio", "low", "high"), "ratio of the two sides (×1: no difference)", 1)
DIFFERENCES = Scale(
    "difference",
    ("difference", "difference_low", "difference_high"),
    "difference of the two sides (0: none)",
    0,
)
SHARES = Scale(
    "share", ("share", "share_low", "share_high"), "share of the runs that do what is said (│: the share claimed)"
)


def scale_of(frame: pd.DataFrame) -> Scale | None:
    """That of most of the effects; None where none is known."""
    known = {scale: _known(frame, scale.columns[0]) for scale in (RATIOS, DIFFERENCES, SHARES)}
    best = max(known, key=lambda scale: known[scale])
    return best if known[best] else None


def _known(frame: pd.DataFrame, column: str) -> int:
    return int(pd.to_numeric(frame[column], errors="coerce").notna().sum()) if column in frame else 0


def verdicts(frame: pd.DataFrame, title: str = "", level: float = 0.95) -> Figure:
    """A row per claim: its statement, its effect with the interval on an axis, and its verdict in words.

    `frame`: id, statement, verdict, effect, ratio, low, high, n (from claims.verdicts_frame). The axis is that of
    `scale_of`; other effects are shown in words. An interval beyond the axis ends in an arrow.
    """
    frame = frame.reset_index(drop=True)
    scale = scale_of(frame) or RATIOS
    with styled(title, *frame["statement"], *frame["effect"].fillna("")):
        several = "sweep" in frame and frame["sweep"].nunique() > 1
        statements = [
            wrapped(marked(f"{row['statement']} [{row['sweep']}]" if several else row["statement"], seen), NAMES, SMALL)
            for seen, (_, row) in zip(seeing(frame), frame.iterrows(), strict=True)
        ]
        lines = np.array([max(2, statement.count("\n") + 1) for statement in statements])
        ends = np.cumsum(lines + 0.7)
        centres = ends - (lines + 0.7) / 2
        figure, (axes,) = panels(1, 1, 0.55 + ROW * float(ends[-1]), WIDE)
        scale.label_axis(axes, *scale.limits(frame))
        axes.set_ylim(float(ends[-1]), 0)
        axes.hlines(ends[:-1], 0, 1, transform=axes.get_yaxis_transform(), color="0.9", linewidth=0.6, zorder=0.5)
        for centre, (_, row) in zip(centres, frame.iterrows(), strict=True):
            _row(axes, row, float(centre), scale)
        axes.set_yticks(centres, statements, size=SMALL)
        axes.tick_params(axis="y", length=0, pad=7)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        shown = [name for name in LOOKS if (frame["verdict"] == name).any()]
        counts = frame["verdict"].value_counts()
        handles = [
            Line2D([], [], linestyle="", color=colour, label=f"{name} ({counts[name]})", **_filled(marker or "_", fill))
            for name, (colour, marker, fill) in LOOKS.items()
            if name in shown
        ]
        note = f"Bars: {percent(level)} intervals over {_repeats(frame)}. {future_note(frame)}".strip()
        return finish(figure, title, note, handles)


def _row(axes: Axes, row: pd.Series, centre: float, scale: Scale) -> None:
    colour, marker, fill = LOOKS.get(row["verdict"], LOOKS["not testable"])
    low, high = axes.get_xlim()
    estimate, *interval = scale.effect(row)
    if math.isfinite(estimate) and marker:
        left, right = max(interval[0], low), min(interval[1], high)
        if not any(map(math.isnan, interval)):
            axes.plot([left, right], [centre, centre], color=colour, linewidth=1.2)
            for at, edge, arrow in ((left, low, "<"), (right, high, ">")):
                if at == edge:
                    axes.plot([at], [centre], color=colour, marker=arrow, markersize=4, clip_on=False)
        if scale is SHARES:
            axes.plot([row["share_bound"]], [centre], color=INK, marker="|", markersize=9, zorder=2)
        axes.plot(
            [min(max(estimate, low), high)], [centre], color=colour, **_filled(marker, fill), markersize=6, zorder=3
        )
    else:
        words = row["effect"] if isinstance(row["effect"], str) else ""
        axes.text(
            0.5, centre, wrapped(words, EFFECT, SMALL), transform=axes.get_yaxis_transform(), ha="center", va="center",
            size=SMALL, color=FAINT, linespacing=1.1, bbox={"facecolor": "white", "linewidth": 0, "pad": 1.5},
        )  # fmt: skip
    axes.text(
        1.02, centre, _verdict_text(row), transform=axes.get_yaxis_transform(), va="center", size=SMALL, color=colour
    )


def _filled(marker: str, fill: str) -> dict[str, Any]:
    """A marker as Line2D takes it: hollow ones are white inside, so that no line runs through them."""
    return {"marker": marker, "markerfacecolor": "white"} if fill == "none" else {"marker": marker}


def _verdict_text(row: pd.Series) -> str:
    """The verdict, and below it the seeds that it rests on or would need."""
    needed, n = _number(row.get("needed")), _number(row.get("n"))
    if row["verdict"] == "undecided" and math.isfinite(needed):
        return f"undecided\n{needed:,.0f} {_unit(row)} needed"
    if row["verdict"] == "not testable" or not math.isfinite(n):
        return str(row["verdict"])
    return f"{row['verdict']}\nn = {n:.0f}"


def _unit(row: pd.Series) -> str:
    """What is repeated: speed is timed in processes."""
    return "processes" if row.get("metric") == "tokens_per_s" else "seeds"


def _repeats(frame: pd.DataFrame) -> str:
    """`6 seeds` or `10–20 seeds, 5 processes`."""
    units = [_unit(row) for _, row in frame.iterrows()]
    numbers = pd.to_numeric(frame["n"], errors="coerce").replace(0, np.nan) if "n" in frame else pd.Series(dtype=float)
    said = []
    for unit, n in numbers.dropna().groupby(pd.Series(units, index=frame.index)):
        said.append(f"{n.min():.0f} {unit}" if n.min() == n.max() else f"{n.min():.0f}–{n.max():.0f} {unit}")
    return ", ".join(reversed(said)) or "the seeds"


def _number(value: object) -> float:
    number = pd.to_numeric(value, errors="coerce")  # type: ignore[call-overload]
    return float("nan") if number is None else float(number)
