"""Tokens per second over num_hiddens, and how much of what the machine can do that is."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.analysis.frames import swept_knobs
from ablate.config.errors import counted
from ablate.records.files import replacing
from ablate.report.blocks import PNG_DPI
from ablate.report.plots.lines import Line, lines_of
from ablate.report.plots.measures import SPEED
from ablate.report.plots.style import FAINT, finish, panels, styled
from ablate.report.plots.ticks import LABELS, Places, measured_axis
from ablate.report.wording import SPEED_IS

THREAD_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))


def draw_speed(path: Path, timed: pd.DataFrame) -> Path:
    """Write `speed_over_hiddens` as one file; its ending decides the format."""
    figure = speed_over_hiddens(timed)
    with styled(), replacing(path) as file:
        figure.savefig(file, dpi=PNG_DPI, format=path.suffix.removeprefix("."))
    return path


def speed_over_hiddens(timed: pd.DataFrame) -> Figure:
    """Two panels over num_hiddens by model: tokens/s, and the share of the matrix product limit.

    `timed`: rows of speed_frame of one machine that have a number; one line per setting and thread count.
    """
    others = [name for name in swept_knobs(timed) if name not in ("num_hiddens", "model")]
    keys = ["model", *others]
    with styled(timed[keys].to_csv()):
        figure, (speed, share) = panels(1, 2, 2.3)
        threads = sorted(timed["threads"].unique())
        lines = lines_of(timed, keys)
        places = Places.of(timed["num_hiddens"], 2.5)
        for line in lines:
            for dash, count in zip(THREAD_DASHES * len(threads), threads, strict=False):
                own = timed[timed["setting_id"].isin(line.settings) & (timed["threads"] == count)].sort_values(
                    "num_hiddens"
                )
                _draw(speed, share, own, line, dash)
        measured_axis(speed, "y", SPEED.shown(timed, timed, None), SPEED.text, log=True)
        measured_axis(share, "y", [0, *100 * timed["share_of_limit"].dropna()], lambda value: f"{value:g} %", log=False)
        share.set_ylim(bottom=0)
        for panel, label in ((speed, SPEED.label), (share, "share of the matrix product limit")):
            places.mark(panel, "num_hiddens")
            panel.set_xlabel(LABELS["num_hiddens"])
            panel.set_ylabel(label)
            panel.grid(axis="y")
        name = timed["gpu"].iloc[0] or timed["cpu"].iloc[0]
        note = f"One run alone on {name}; {SPEED_IS} and 95 % interval."
        handles = [line.handle(linestyle="-") for line in lines]
        if len(threads) > 1:
            handles += [
                Line2D([], [], color=FAINT, linestyle=dash, label=_threads(count))
                for dash, count in zip(THREAD_DASHES, threads, strict=False)
            ]
        else:
            note += f" {_threads(threads[0])}."
        return finish(figure, note=note, handles=handles)


def _draw(speed: Axes, share: Axes, own: pd.DataFrame, line: Line, dash: object) -> None:
    if own.empty:
        return
    look = line.look
    style = {
        "color": look.colour,
        "marker": look.marker,
        "fillstyle": look.fill,
        "markerfacecoloralt": "white",
        "linestyle": dash,
        "label": line.name,
    }
    speed.errorbar(own["num_hiddens"], SPEED.of(own), yerr=SPEED.interval(own), capsize=2, elinewidth=1, **style)
    share.plot(own["num_hiddens"], 100 * own["share_of_limit"].astype(float), **style)


def _threads(count: int) -> str:
    return counted(count, "thread")
