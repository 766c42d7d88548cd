"""Settings without an order of their own, such as models: one row each, names on the left, measures side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.analysis.frames import factors
from ablate.analysis.trials import more_is_better
from ablate.report.plots.fonts import wrapped
from ablate.report.plots.grid import left_out_text
from ablate.report.plots.lines import Line, Look, cleaned, lines_of, model_looks, named, values_of
from ablate.report.plots.measures import (
    SPEED,
    TRIANGLES,
    Measure,
    begin_at,
    beyond_text,
    cross,
    diverged_text,
    dots,
    edge,
    finished,
    further_handles,
    has_published,
    hollow,
    measures_of,
    small_print,
)
from ablate.report.plots.style import SMALL, WIDE, WIDTH, finish, panels
from ablate.report.wording import marked, seeing

NAMES = 2.1
"""Inches for the names of the rows."""
MOST_ROWS = 40
MOST_MEASURES = 3
"""More panels than this would leave too little space for the names."""
MOST_BESIDE = 4
"""More settings of the further knobs than this are not drawn into one row: each setting then has a row of its own."""


def by_name(
    runs: pd.DataFrame,
    settings: pd.DataFrame,
    swept: Sequence[str],
    published: pd.DataFrame | None,
    title: str,
    level: float,
    every: Sequence[Measure] | None = None,
) -> Figure:
    """Means with intervals and single runs, a row per setting; call it within `styled`.

    `every`: what is measured, by default what is of the task.
    """
    note = ""
    every = measures_of(settings, published) if every is None else every
    if len(settings) > MOST_ROWS:
        first = every[0]
        better = "highest" if more_is_better(first.metric) else "lowest"
        what = " ".join(first.label.split())
        note = f" The {MOST_ROWS} of {len(settings)} settings with the {better} {what}."
        best = (first.of(settings) * (-1 if better == "highest" else 1)).argsort()[:MOST_ROWS]
        settings = settings.iloc[sorted(best)]
    names, lines, row_of = _rows(settings, swept)
    measures, left_out = every[:MOST_MEASURES], every[MOST_MEASURES:]
    if left_out:
        note += f" {left_out_text([' '.join(measure.label.split()) for measure in left_out])}"
    beside = max(len(lines), 1)
    each = 0.15 if settings["diverged"].any() else 0.11  # of settings beside each other, with a text or without
    height = 0.5 + len(names) * max(0.2, each * beside, 0.13 * max(name.count("\n") + 1 for name in names))
    figure, axes = panels(1, len(measures), max(height, 1.25), WIDTH if len(measures) < 3 else WIDE, sharey=True)
    runs = finished(runs)
    perplexities = [measure for measure in measures if measure is not SPEED]
    beyond: list[tuple[Measure, np.ndarray]] = []
    for panel, measure in zip(axes, measures, strict=True):
        values = measure.shown(settings, runs, published)
        beyond.append((measure, measure.axis(panel, "x", values, most=8 - len(measures))))
        for number, line in enumerate(lines):
            shift = (number - (beside - 1) / 2) * 0.7 / beside
            for setting, look in zip(line.settings, _setting_looks(line, settings, swept), strict=True):
                row = row_of[setting] + shift
                own = settings[settings["setting_id"] == setting]
                single = measure.of(runs[runs["setting_id"] == setting])
                dots(panel, single, np.full(len(single), row + 0.16 / beside), [look])
                if published is not None and measure.published in published:
                    theirs = published.loc[published["setting_id"] == setting, measure.published].dropna().astype(float)
                    panel.plot(theirs, [row] * len(theirs), **hollow(look, joined=False))
                if np.isfinite(measure.of(own)).all():
                    bars = panel.errorbar(
                        measure.of(own),
                        [row],
                        xerr=measure.interval(own),
                        color=look.colour,
                        marker=look.marker,
                        fillstyle=look.fill,
                        markerfacecoloralt="white",
                        linestyle="",
                        elinewidth=1.1,
                        capsize=2,
                    )
                    begin_at(bars, "x", measure.of(own, "_low"))
                    if measure.of(own)[0] > panel.get_xlim()[1]:
                        edge(panel, "x", row, look)
                diverged = int(own["diverged"].iloc[0])
                if diverged and measure in perplexities:
                    cross(panel, 1.03, row, look, panel.get_yaxis_transform())
                    if measure is perplexities[-1]:
                        panel.text(
                            1.07,
                            row,
                            diverged_text(diverged, diverged + int(own["n"].iloc[0])),
                            transform=panel.get_yaxis_transform(),
                            size=SMALL,
                            va="center",
                        )
        panel.set_xlabel(measure.label)
        panel.grid(axis="both")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    for panel in axes:
        panel.tick_params(axis="y", length=0)
    handles: list[Any] = [line.handle(linestyle="") for line in lines] if beside > 1 else []
    shown = any(has_published(published, measure) for measure in measures)
    handles += further_handles(shown, bool(settings["diverged"].sum()), joined=False)
    return finish(
        figure,
        title,
        f"{small_print(settings, measures, published, level)}{note} {beyond_text(beyond, TRIANGLES)}".rstrip(),
        handles,
    )


def _rows(settings: pd.DataFrame, swept: Sequence[str]) -> tuple[list[str], list[Line], dict[str, int]]:
    """The names of the rows, what stands beside each other in a row, and the row of each setting."""
    few_models = len(swept) > 1 and settings["model"].nunique() <= MOST_BESIDE  # then their colours tell them apart
    candidates = [name for name in swept if not (few_models and name == "model")]
    knob = max(candidates, key=lambda name: (settings[name].nunique(dropna=False), name == "model"), default="model")
    rest = [name for name in swept if name != knob]
    lines = lines_of(settings, rest)
    confounded = any(len(factor) > 1 for factor in factors(settings))
    if rest and (confounded or len(lines) > MOST_BESIDE):  # a row for each setting, named by all that varies
        found = [named(swept, values) for values in zip(*(cleaned(settings[name]) for name in swept), strict=True)]
        row_of = dict(zip(settings["setting_id"], range(len(settings)), strict=True))
        names = [marked(*both) for both in zip(found, seeing(settings), strict=True)]
        lines = lines_of(settings, [])
    else:
        values = values_of(settings, knob)
        row_of = {
            setting: values.index(value)
            for setting, value in zip(settings["setting_id"], cleaned(settings[knob]), strict=True)
        }
        blind = {value for value, sees in zip(cleaned(settings[knob]), seeing(settings), strict=True) if not sees}
        names = [marked(named([knob], [value]), value not in blind) for value in values]
    return [wrapped(name, NAMES, 7.5) for name in names], lines, row_of


def _setting_looks(line: Line, settings: pd.DataFrame, swept: Sequence[str]) -> list[Look]:
    """The look of each setting of a line: that of its model where the rows tell models apart."""
    models = dict(zip(settings["setting_id"], settings["model"], strict=True))
    looks = model_looks(models.values())
    by_line = len(set(models.values())) == 1 or (line.name != "all" and len(swept) > 1)
    return [line.look if by_line else looks[models[setting]] for setting in line.settings]
