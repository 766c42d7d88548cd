"""Figures of a sweep; the only place that imports seaborn."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "agg")

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from ablate.analysis.frames import curves_frame, swept_knobs
from ablate.report.tables import value_text

PANELS = {"perplexity": "training perplexity, last epoch", "val_perplexity": "held-out perplexity"}
PREFERRED_X = ("num_hiddens", "layers", "num_steps", "batch_size", "lr", "epochs", "max_tokens", "dropout", "clip")
WIDE_RANGE = 4
"""An axis becomes logarithmic where its values span this factor or more."""


def plot_sweep(sweep: Path, runs: pd.DataFrame, cells: pd.DataFrame, swept: list[str]) -> Path:
    """Write figure.png: perplexity over what was swept, with 95 % intervals and every seed; returns its path.

    Without a swept knob: perplexity over the epochs, one line per seed.
    """
    sns.set_theme(context="paper", style="ticks", palette="colorblind", font_scale=1.15)
    panels = [metric for metric in PANELS if runs[metric].notna().any()] or ["perplexity"]
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels) + 1.4, 3.9), squeeze=False)
    finished = runs[runs["status"] == "ok"]
    for axis, metric in zip(axes[0], panels, strict=True):
        if not swept or finished.empty:
            _curves(axis, curves_frame(sweep, runs), metric)
        else:
            _cells(axis, finished, cells[cells["n"] > 0], swept, metric)
        axis.set_ylabel(PANELS[metric] if swept else PANELS[metric].removesuffix(", last epoch"))
        _log_if_wide(axis)
        sns.despine(ax=axis)
        axis.grid(axis="y", which="major", alpha=0.35, linewidth=0.6)
    _one_legend(figure.axes)
    n = cells["n"] + cells["diverged"]
    seeds = f"{n.min()}" if n.min() == n.max() else f"{n.min()}–{n.max()}"
    diverged = f", {cells['diverged'].sum()} diverged runs left out" if cells["diverged"].sum() else ""
    figure.suptitle(
        f"{sweep.name}\nmean and 95 % interval over {seeds} seeds{diverged}; dots are single runs"
        if swept
        else f"{sweep.name}\none line per seed{diverged}",
        fontsize="medium",
        x=0.01,
        ha="left",
    )
    path = sweep / "figure.png"
    figure.tight_layout()
    figure.savefig(path, dpi=160, bbox_inches="tight")
    plt.close(figure)
    return path


def _cells(axis: Axes, runs: pd.DataFrame, cells: pd.DataFrame, swept: list[str], metric: str) -> None:
    x = _x_knob(swept, cells)
    others = [name for name in swept if name != x]
    numeric = pd.api.types.is_numeric_dtype(cells[x]) and cells[x].notna().all()
    places = {value: value if numeric else position for position, value in enumerate(cells[x].unique())}
    log = numeric and min(places) > 0 and max(places) / min(places) >= WIDE_RANGE
    groups = list(cells.groupby(others, sort=False, dropna=False)) if others else [(("",), cells)]
    palette = (
        sns.color_palette("colorblind", len(groups)) if len(groups) <= 10 else sns.color_palette("husl", len(groups))
    )
    for number, (values, group) in enumerate(groups):
        name = _named(others, values)
        offset = (number - (len(groups) - 1) / 2) * (0.04 if log else 0.05 if numeric else 0.6 / len(groups))
        span = max(places.values()) - min(places.values()) or 1

        def place(values: pd.Series, offset: float = offset, span: float = span) -> pd.Series:
            where = values.map(places).astype(float)
            return where * 2**offset if log else where + offset * (span * 0.3 if numeric else 1)

        own = runs[runs["cell_id"].isin(group["cell_id"])]
        beside = 0.06 if log else 0.2 / len(groups)  # dots left of their interval, so that neither hides
        axis.scatter(place(own[x], offset - beside), own[metric], s=11, color=palette[number], alpha=0.5, linewidths=0)
        axis.errorbar(
            place(group[x]),
            group[metric],
            yerr=(group[f"{metric}_high"] - group[metric]).fillna(0),
            color=palette[number],
            marker="osD^vPX<>*"[number % 10],
            markersize=5,
            linewidth=1.4 if numeric else 0,
            elinewidth=1.4,
            capsize=3,
            label=name,
        )
    axis.set_xlabel(x)
    if log:
        axis.set_xscale("log", base=2)
    axis.set_xticks(list(places.values()), [value_text(value) for value in places])
    axis.xaxis.set_minor_locator(NullLocator())
    if not numeric:
        axis.tick_params(axis="x", rotation=20 if len(places) > 3 else 0)
        axis.set_xlim(-0.5, len(places) - 0.5)


def _named(knobs: list[str], values: Iterable[Any]) -> str:
    """`gru, lr=0.5`: a model by its name, other knobs with theirs."""
    pairs = zip(knobs, values, strict=False)
    return ", ".join(value_text(value) if knob == "model" else f"{knob}={value_text(value)}" for knob, value in pairs)


def _x_knob(swept: list[str], cells: pd.DataFrame) -> str:
    """The knob on the x axis: a numeric one with the most values, or else the first."""
    numeric = [name for name in PREFERRED_X if name in swept and cells[name].notna().all()]
    return max(numeric, key=lambda name: cells[name].nunique()) if numeric else swept[0]


def _curves(axis: Axes, curves: pd.DataFrame, metric: str) -> None:
    for _, run in curves.dropna(subset=[metric]).groupby("run_id"):
        axis.plot(run["epoch"], run[metric], linewidth=1, alpha=0.8)
    axis.set_xlabel("epoch")


def _log_if_wide(axis: Axes) -> None:
    low, high = axis.dataLim.intervaly
    if 0 < low < high and high / low >= WIDE_RANGE:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=20))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(ScalarFormatter())


def _one_legend(axes: list[Axes]) -> None:
    handles, labels = axes[-1].get_legend_handles_labels()
    if len(labels) > 1:
        axes[-1].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)


def draw_speed(path: Path, timed: pd.DataFrame) -> Path:
    """Two panels over num_hiddens by model: tokens/s (log–log) and the share of the GEMM limit."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind", font_scale=1.15)
    figure, (speed, share) = plt.subplots(1, 2, figsize=(10.6, 4.0))
    others = [name for name in swept_knobs(timed) if name not in ("num_hiddens", "model")]
    lines = list(timed.groupby(["model", *others, "threads"], sort=False, dropna=False))
    names = list(dict.fromkeys(values[:-1] for values, _ in lines))
    colours = dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))
    for values, group in lines:
        group = group.sort_values("num_hiddens")
        threads = int(group["threads"].iloc[0])
        name = _named(["model", *others], values)
        style = {
            "color": colours[values[:-1]],
            "linestyle": "-" if threads == timed["threads"].min() else "--",
            "marker": "osD^vPX"[names.index(values[:-1]) % 7],
            "markersize": 5,
            "label": f"{name}, {threads} thread{'s' if threads > 1 else ''}",
        }
        below, above = (
            group["tokens_per_s"] - group["tokens_per_s_low"],
            group["tokens_per_s_high"] - group["tokens_per_s"],
        )
        speed.errorbar(group["num_hiddens"], group["tokens_per_s"], yerr=[below, above], capsize=3, **style)
        share.plot(group["num_hiddens"], 100 * group["share_of_limit"], **style)
    for axis in (speed, share):
        axis.set_xscale("log", base=2)
        hiddens = sorted(timed["num_hiddens"].unique())
        axis.set_xticks(hiddens, [str(value) for value in hiddens])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("num_hiddens")
        axis.grid(axis="y", which="major", alpha=0.35, linewidth=0.6)
        sns.despine(ax=axis)
    speed.set_yscale("log")
    speed.set_ylabel("training tokens per second")
    share.set_ylabel("share of the matrix product limit, %")
    share.set_ylim(bottom=0)
    _one_legend([speed, share])
    name = timed["gpu"].iloc[0] or timed["cpu"].iloc[0]
    figure.suptitle(f"one run alone on {name}; median and 95 % interval", fontsize="medium", x=0.01, ha="left")
    figure.tight_layout()
    figure.savefig(path, dpi=160, bbox_inches="tight")
    plt.close(figure)
    return path
