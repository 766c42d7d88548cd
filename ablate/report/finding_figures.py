"""The figures of what the analysis finds: shares, effects, importance, a path, the front against speed."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.config.metrics import by_difference
from ablate.report.material import Material
from ablate.report.sections import Figures
from ablate.report.sheets import knob_columns
from ablate.report.wording import (
    all_seeing,
    capital,
    future_note,
    marked_source,
    measure_name,
    short_scale,
    training_metric,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Wanted = dict[str, tuple[str, "Callable[[], Drawing]"]]
"""Name of a figure → its caption and what draws it."""

MOST_POINTS = 100
"""Settings in the figure of perplexity against speed; of more, the front and an even choice of the others."""
MOST_KNOBS = 3
"""Swept knobs up to which a heatmap shows them all: two as its axes, one as its panels."""


def front_figure(m: Material) -> Wanted:
    """Perplexity against speed."""
    from ablate.report import plots

    out: Wanted = {}
    if m.pareto is not None and len(m.pareto) > 1:
        points, some = _few_points(m.pareto)
        metric = training_metric(m.settings)
        measure = capital(measure_name(metric, m.settings))
        caption = f"{measure} against tokens/s; the front joins the settings that no other beats in both.{some}"
        out["pareto"] = caption, partial(plots.pareto, points, m.heading, m.level, metric)
    return out


def effects_figure(m: Material) -> Wanted:
    """What each knob does."""
    from ablate.report import plots

    if m.effects is None or not len(m.effects) or len(m.factors) < 2:
        return {}
    measure = measure_name(m.main, m.settings)
    caption = f"{capital(measure)} at each value of a knob, over all other settings."
    seen = all_seeing(m.factored_settings)
    effects = m.effects.assign(sees_future=[*map(seen, m.effects["knob"], m.effects["value"])])
    label = measure.replace(" of ", "\nof ")
    geometric = not by_difference(m.main)
    return {"effects": (caption, partial(plots.effects, effects, m.heading, m.level, label, geometric))}


def variance_figure(m: Material) -> Wanted:
    """What each knob accounts for, seeds and chance among them."""
    from ablate.report import plots

    if m.variance is None or not len(m.variance):
        return {}
    split = m.variance.assign(source=[marked_source(m.factored_settings, source) for source in m.variance["source"]])
    caption = f"Where the variance of {short_scale(m.main)} comes from."
    told = short_scale(m.main), future_note(m.settings)
    return {"variance": (caption, partial(plots.variance, split, m.heading, *told))}


def importance_figure(m: Material) -> Wanted:
    """What each knob accounts for of the differences between settings."""
    from ablate.report import plots

    if m.importance is None or not len(m.importance):
        return {}
    caption = "How much of the differences between settings each knob accounts for."
    table = m.importance.assign(knob=[marked_source(m.factored_settings, knob) for knob in m.importance["knob"]])
    told = short_scale(m.main), future_note(m.settings)
    return {"importance": (caption, partial(plots.importance, table, m.heading, *told))}


def heatmap_figure(m: Material) -> Wanted:
    """The settings over two knobs that are numbers."""
    from ablate.report import plots

    if m.search is not None:  # of a space that was not gone through, only the lines and the front make sense
        return {}
    out: Wanted = {}
    alone = [factor[0] for factor in m.factors if len(factor) == 1]
    numeric = [column.heading for column in knob_columns(alone, m.settings) if column.number]
    numeric = [name for name in numeric if m.settings[name].notna().all()]
    if len(numeric) > 1 and len(m.factors) <= MOST_KNOBS:
        x, y = sorted(numeric, key=lambda name: -m.settings[name].nunique())[:2]
        caption = f"{capital(measure_name(m.main, m.settings))} over {x} and {y}."
        out["heatmap"] = caption, partial(plots.heatmap, m.settings, x, y, m.main, m.heading)
    return out


def path_figure(m: Material) -> Wanted:
    """From the baseline to the target."""
    from ablate.report import plots

    out: Wanted = {}
    if m.path is not None:
        caption = "From the baseline to the target, one change at a time."
        out["ablation_path"] = caption, partial(plots.ablation_path, m.path, m.heading, m.level)
    return out


def _few_points(points: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The settings that are drawn against speed, and a sentence on those that are not."""
    if len(points) <= MOST_POINTS:
        return points, ""
    behind = np.flatnonzero(~points["on_front"])
    room = max(0, MOST_POINTS - (len(points) - len(behind)))
    chosen = behind[np.linspace(0, len(behind) - 1, room).round().astype(int)] if room else behind[:0]
    kept = points[points["on_front"] | points.index.isin(points.index[chosen])]
    return kept, f" {len(kept)} of {len(points):,} settings: the whole front, and some of those behind it."


FINDINGS = (
    Figures("pareto", "trade-off", front_figure),
    Figures("effects", "what-matters", effects_figure),
    Figures("variance", "what-matters", variance_figure),
    Figures("importance", "what-matters", importance_figure),
    Figures("heatmap", "what-matters", heatmap_figure),
    Figures("ablation_path", "path", path_figure),
)
