"""Settings without an order of their own, such as models: one row each, names on the left, measures side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.analysis.frames import factors
from ablate.config.metrics import METRICS
from ablate.report.plots.fonts import wrapped
from ablate.report.plots.grid import left_out_text
from ablate.report.plots.lines import Line, Look, cleaned, lines_of, model_looks, named, values_of
from ablate.report.plots.measures import (
    SPEED,
    cross,
    diverged_text,
    dots,
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
"""More settings of the further knobs than this are not drawn into one row: each cell then has a row of its own."""


def by_name(
    runs: pd.DataFrame,
    cells: pd.DataFrame,
    swept: Sequence[str],
    published: pd.DataFrame | None,
    title: str,
    level: float,
) -> Figure:
    """Means with intervals and single runs, a row per setting; call it within `styled`."""
    note = ""
    if len(cells) > MOST_ROWS:
        first = measures_of(cells)[0]
        better = "highest" if METRICS[first.metric].better == "higher" else "lowest"
        what = " ".join(first.label.split())
        note = f" The {MOST_ROWS} of {len(cells)} settings with the {better} {what}."
        best = (first.of(cells) * (-1 if better == "highest" else 1)).argsort()[:MOST_ROWS]
        cells = cells.iloc[sorted(best)]
    names, lines, row_of = _rows(cells, swept)
    measures, left_out = measures_of(cells)[:MOST_MEASURES], measures_of(cells)[MOST_MEASURES:]
    if left_out:
        note += f" {left_out_text([' '.join(measure.label.split()) for measure in left_out])}"
    beside = max(len(lines), 1)
    height = 0.5 + len(names) * max(0.2, 0.11 * beside, 0.13 * max(name.count("\n") + 1 for name in names))
    figure, axes = panels(1, len(measures), max(height, 1.25), WIDTH if len(measures) < 3 else WIDE, sharey=True)
    runs = finished(runs)
    perplexities = [measure for measure in measures if measure is not SPEED]
    for panel, measure in zip(axes, measures, strict=True):
        for number, line in enumerate(lines):
            shift = (number - (beside - 1) / 2) * 0.7 / beside
            for cell, look in zip(line.cells, _cell_looks(line, cells, swept), strict=True):
                row = row_of[cell] + shift
                own = cells[cells["cell_id"] == cell]
                single = measure.of(runs[runs["cell_id"] == cell])
                dots(panel, single, np.full(len(single), row + 0.16 / beside), look)
                if published is not None and measure.published in published:
                    theirs = published.loc[published["cell_id"] == cell, measure.published].dropna().astype(float)
                    panel.plot(theirs, [row] * len(theirs), **hollow(look, joined=False))
                if np.isfinite(measure.of(own)).all():
                    panel.errorbar(
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
        measure.axis(panel, "x", measure.shown(cells, runs, published), most=8 - len(measures))
        panel.set_xlabel(measure.label)
        panel.grid(axis="both")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    for panel in axes:
        panel.tick_params(axis="y", length=0)
    handles: list[Any] = [line.handle(linestyle="") for line in lines] if beside > 1 else []
    shown = any(has_published(published, measure) for measure in measures)
    handles += further_handles(shown, bool(cells["diverged"].sum()), joined=False)
    return finish(figure, title, small_print(cells, measures, published, level) + note, handles)


def _rows(cells: pd.DataFrame, swept: Sequence[str]) -> tuple[list[str], list[Line], dict[str, int]]:
    """The names of the rows, what stands beside each other in a row, and the row of each cell."""
    few_models = len(swept) > 1 and cells["model"].nunique() <= MOST_BESIDE  # then their colours tell them apart
    candidates = [name for name in swept if not (few_models and name == "model")]
    knob = max(candidates, key=lambda name: (cells[name].nunique(dropna=False), name == "model"), default="model")
    rest = [name for name in swept if name != knob]
    lines = lines_of(cells, rest)
    confounded = any(len(factor) > 1 for factor in factors(cells))
    if rest and (confounded or len(lines) > MOST_BESIDE):  # a row for each setting, named by all that varies
        found = [named(swept, values) for values in zip(*(cleaned(cells[name]) for name in swept), strict=True)]
        row_of = dict(zip(cells["cell_id"], range(len(cells)), strict=True))
        names = [marked(*both) for both in zip(found, seeing(cells), strict=True)]
        lines = lines_of(cells, [])
    else:
        values = values_of(cells, knob)
        row_of = {cell: values.index(value) for cell, value in zip(cells["cell_id"], cleaned(cells[knob]), strict=True)}
        blind = {value for value, sees in zip(cleaned(cells[knob]), seeing(cells), strict=True) if not sees}
        names = [marked(named([knob], [value]), value not in blind) for value in values]
    return [wrapped(name, NAMES, 7.5) for name in names], lines, row_of


def _cell_looks(line: Line, cells: pd.DataFrame, swept: Sequence[str]) -> list[Look]:
    """The look of each cell of a line: that of its model where the rows tell models apart."""
    models = dict(zip(cells["cell_id"], cells["model"], strict=True))
    looks = model_looks(models.values())
    by_line = len(set(models.values())) == 1 or (line.name != "all" and len(swept) > 1)
    return [line.look if by_line else looks[models[cell]] for cell in line.cells]
