"""Perplexity over the epochs: geometric mean over the seeds, and a band for their spread."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.analysis.tasks import facts_of
from ablate.config.metrics import METRICS, by_difference
from ablate.report.numbers import listed
from ablate.report.plots.grid import Spot, grid, left_out_text, unnamed_text
from ablate.report.plots.lines import Line, facets, handles_of, lines_of
from ablate.report.plots.measures import (
    TRAINING,
    Measure,
    beyond_text,
    cross,
    diverged_text,
    epoch_measures,
    further_handles,
    label_of,
)
from ablate.report.plots.style import finish, styled
from ablate.report.plots.ticks import bounded_axis, counted_axis, measured_axis
from ablate.report.wording import future_note

TANGLE = 6
"""More lines than this, with their bands, are spread over several panels."""
MOST_POINTS = 500
"""Longer curves are drawn in bins of epochs; where lines are many, already shorter ones."""
ALL_POINTS = 12_000
FEWEST_POINTS = 100
MARKERS = 8
"""Markers on a whole curve."""
MANY_SEEDS = 40
"""From so many seeds on the band shows 95 % of them, below it all."""


def curves(curves: pd.DataFrame, runs: pd.DataFrame, swept: Sequence[str], title: str = "") -> Figure:
    """Accuracy where it was measured, training and held-out perplexity over the epochs; a line and band for each
    setting.

    `curves`: run_id, epoch, perplexity … (from curves_frame); `runs`: from runs_frame. The line is the geometric mean
    (of accuracy the arithmetic one) over the runs that still have a finite number at that epoch; diverged runs are
    marked above the epoch at which the first of a setting broke off.
    """
    settings = runs.drop_duplicates("setting_id").reset_index(drop=True)
    joined = curves.merge(runs[["run_id", "setting_id"]], on="run_id")
    # where training data are as new as the held-out ones, two panels would show the same
    wanted = epoch_measures(settings)
    named = {one.metric: one for one in wanted if one.metric in joined and joined[one.metric].notna().any()}
    metrics = list(named) or ["perplexity"]
    with styled(title, settings[list(swept)].to_csv()):
        facet, rest = of_tasks(settings, swept) or facets(settings, swept, TANGLE)
        labels = {
            metric: label_of(metric, settings, named[metric].label if metric in named else TRAINING.label)
            for metric in metrics
        }
        figure, spots, left_out = grid(settings, metrics, facet, 1.75 if facet else 2.2)
        every = lines_of(settings, rest)
        points = min(MOST_POINTS, max(FEWEST_POINTS, ALL_POINTS // (len(settings) * len(metrics))))
        each = math.ceil(joined["epoch"].max() / points) if len(joined) else 1
        beyond: list[tuple[Measure, np.ndarray]] = []
        summaries = {metric: _summary(joined, metric, each) for metric in metrics}
        for spot in spots:
            summary = summaries[spot.measure]
            between = max(1, summary["bin"].nunique() // MARKERS)
            top = METRICS[spot.measure].top
            if top is None:
                logs = METRICS[spot.measure].in_logs
                values = summary[["low", "high"]].to_numpy(float).ravel()
                measure = named.get(spot.measure, TRAINING)
                near, far = measure.near(values)
                measured_axis(spot.panel, "y", near, log=logs)
                beyond.append((replace(measure, label=labels[spot.measure]), far))
            else:
                bounded_axis(spot.panel, "y", top)
            for number, line in enumerate(every):
                own = summary[summary["setting_id"].isin(set(line.settings) & set(spot.settings["setting_id"]))]
                _curve(spot, own, line, number / len(every), between)
            counted_axis(spot.panel, int(joined["epoch"].max()) if len(joined) else 1)
            spot.label("epoch", labels[spot.measure])
            spot.panel.grid(axis="y")
            _broken_off(spot, every, runs, count=facet is not None)
        if facet is None:
            every = [replace(line, name=_with_diverged(line, runs)) for line in every]
        note = (
            _spread(runs, each, [name for name in metrics if by_difference(name)]),
            left_out_text([" ".join(labels[name].split()) for name in left_out]),
            unnamed_text(every),
            _ended_text(runs),
            beyond_text(beyond),
            future_note(settings),
        )
        further = further_handles(False, bool((runs["status"] != "ok").any()), text="diverged")
        handles = [*handles_of(every, settings, linestyle="-"), *further]
        return finish(figure, title, " ".join(part for part in note if part), handles)


def of_tasks(settings: pd.DataFrame, swept: Sequence[str]) -> tuple[str, list[str]] | None:
    """A panel for each of several questions, and the knobs that tell lines apart; None for other settings.

    The length of the sequences is none of them where each task has but one.
    """
    if not facts_of(settings).many_questions or "corpus" not in swept or settings["corpus"].nunique() < 2:
        return None
    one_length = (settings.groupby("corpus")["num_steps"].nunique() == 1).all()
    return "corpus", [knob for knob in swept if knob != "corpus" and not (knob == "num_steps" and one_length)]


def _summary(curves: pd.DataFrame, metric: str, each: int) -> pd.DataFrame:
    """setting_id, epoch, middle (mean over the runs), low and high (the band), runs; a row per `each` epochs.

    The mean is geometric, of a metric with a largest value arithmetic.
    """
    measured = pd.to_numeric(curves[metric], errors="coerce")
    as_it_is = by_difference(metric)
    scaled = measured if as_it_is else np.log(measured.clip(lower=1e-9))
    values = curves[["setting_id", "run_id", "epoch"]].assign(scaled=scaled)
    values = values[np.isfinite(values["scaled"])]
    values["bin"] = (values["epoch"] - 1) // each
    tail = 0.025 if (values.groupby("setting_id")["run_id"].nunique() >= MANY_SEEDS).any() else 0.0
    groups = values.groupby(["setting_id", "bin"], sort=True)
    out: pd.DataFrame = groups.agg(epoch=("epoch", "mean"), runs=("run_id", "nunique"))
    out["middle"] = groups["scaled"].mean()
    out["low"], out["high"] = groups["scaled"].quantile(tail), groups["scaled"].quantile(1 - tail)
    if not as_it_is:
        out[["middle", "low", "high"]] = np.exp(out[["middle", "low", "high"]])
    return out.reset_index()


def _curve(spot: Spot[str], own: pd.DataFrame, line: Line, phase: float, between: int) -> None:
    """The line and band of a setting, `between` points from marker to marker, apart from those of others by `phase`."""
    look = line.look
    for _, setting in own.groupby("setting_id", sort=False):
        spot.panel.plot(
            setting["epoch"],
            setting["middle"],
            color=look.colour,
            linewidth=1.1 if line.named else 0.6,
            marker=look.marker if line.named else "",
            fillstyle=look.fill,
            markerfacecoloralt="white",
            markersize=4,
            markevery=(min(int((0.4 + phase) * between), len(setting) - 1), between),
            label=line.name,
        )
        if len(setting) == 1 and setting["runs"].iloc[0] > 1:
            spot.panel.vlines(
                setting["epoch"], setting["low"], setting["high"], color=look.colour, alpha=0.4, linewidth=1.2
            )
        elif setting["runs"].max() > 1:
            spot.panel.fill_between(
                setting["epoch"], setting["low"], setting["high"], color=look.colour, alpha=0.18, linewidth=0
            )


def _broken_off(spot: Spot[str], lines: Sequence[Line], runs: pd.DataFrame, count: bool) -> None:
    """A cross above the epoch at which a setting's first run diverged; with `count`, how many did, in the title."""
    panel, here = spot.panel, runs[runs["setting_id"].isin(spot.settings["setting_id"])]
    hurt = here[here["status"] != "ok"]
    last = panel.get_xlim()[1]
    stacked: list[float] = []
    levels = 0
    for line in lines:
        for _, own in hurt[hurt["setting_id"].isin(line.settings)].groupby("setting_id"):
            epoch = own["diverged_epoch"].min() if "diverged_epoch" in own else np.nan
            at = last if pd.isna(epoch) else min(float(epoch), last)
            level = sum(abs(at - other) < 0.05 * last for other in stacked)
            cross(panel, at, 1.05 + 0.07 * level, line.look, panel.get_xaxis_transform())
            stacked.append(at)
            levels = max(levels, level + 1)
    if count and stacked:
        title = f"{panel.get_title()}: {diverged_text(len(hurt), len(here))}"
        panel.set_title(title, pad=6 + 6 * levels)


def _ended_text(runs: pd.DataFrame) -> str:
    """That a rule ended some runs before others."""
    ended = int(runs["ended_by"].notna().sum()) if "ended_by" in runs else 0
    return f"A rule ended {ended} of {len(runs)} runs: beyond its end a run is in no mean." if ended else ""


def _with_diverged(line: Line, runs: pd.DataFrame) -> str:
    """The name of a line, with the number of its runs that diverged."""
    own = runs[runs["setting_id"].isin(line.settings)]
    diverged = int((own["status"] != "ok").sum())
    return f"{line.name} ({diverged_text(diverged, len(own))})" if diverged else line.name


def _spread(runs: pd.DataFrame, each: int, arithmetic: Sequence[str]) -> str:
    """What line and band show."""
    seeds = runs.groupby("setting_id").size()
    if seeds.max() == 1:
        note = "One seed per setting: no band."
    else:
        number = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()}–{seeds.max()}"
        band = "2.5–97.5 % of them" if seeds.max() >= MANY_SEEDS else "from the lowest to the highest"
        of = listed([METRICS[name].shown_as for name in arithmetic]) if arithmetic else ""
        mean = f"geometric mean (of {of} the arithmetic one)" if arithmetic else "geometric mean"
        note = f"Line: {mean} over {number} seeds; band: {band}."
    return note if each == 1 else f"{note} Each point stands for {each} epochs."
