"""The figures that the package brings: of which sweep each makes sense, and what is said below it."""

from functools import partial

import numpy as np
import pandas as pd

from ablate.analysis.tasks import of_networks
from ablate.claims import verdicts_frame
from ablate.config.metrics import METRICS
from ablate.report.baselines import best_baseline
from ablate.report.finding_figures import FINDINGS, Wanted
from ablate.report.material import Material
from ablate.report.numbers import listed
from ablate.report.search_figures import OF_SEARCH, best_settings
from ablate.report.sections import Figures
from ablate.report.wording import (
    capital,
    drawn_metrics,
    epoch_metrics,
    heading,
    shown_metrics,
)

MOST_CURVES = 12
"""Settings in one figure of curves; of more, those evenly spaced from the best to the worst are drawn."""
MOST_DOTS = 1000
"""Runs drawn as single dots; of more, those of the first seeds."""


def by_value_figure(m: Material) -> Wanted:
    """What the settings reach, by their knobs."""
    from ablate.report import plots

    if m.search is not None or not m.swept or not (m.settings["n"] > 0).any():
        return {}
    runs, some = _few_runs(m.runs)
    caption = f"{_measured(m)} against {listed(m.factor_names)}.{some}"
    if plots.by_task(m.settings, m.swept):
        measure = capital(heading(shown_metrics(m.settings)[0]))
        caption = f"{measure} against the length of the sequences, a panel for each task.{some}"
    make = partial(
        plots.by_value, runs, m.settings, m.swept, m.published, m.heading, m.level, without_network=best_baseline(m)
    )
    return {"by_value": (caption, make)}


def curves_figure(m: Material) -> Wanted:
    """How the runs went."""
    from ablate.report import plots

    if m.runs.empty:
        return {}
    runs, some = few_settings(m)
    curves = m.stored_curves.of(runs["run_id"])
    if not len(curves):
        return {}
    of_epochs = [heading(name) for name in epoch_metrics(m.settings) if name in curves]
    what = capital(listed([*of_epochs, *["perplexity"] * of_networks(m.settings)]))
    return {"curves": (f"{what} over the epochs.{some}", partial(plots.curves, curves, runs, m.swept, m.heading))}


def _measured(m: Material) -> str:
    """`Accuracy, perplexity and tokens/s`"""
    text = listed(
        [*map(heading, drawn_metrics(m.settings)), *["perplexity"] * of_networks(m.settings), *["tokens/s"] * m.timed]
    )
    return capital(text)


def verdicts_figure(m: Material) -> Wanted:
    """The effects that decide the claims."""
    from ablate.report import plots

    frame = verdicts_frame(m.verdicts)
    if plots.scale_of(frame) is None:
        return {}  # shares of runs stand in the cards in words, and would in the figure
    caption = "The effect behind each verdict, with its interval."
    return {"verdicts": (caption, partial(plots.verdicts, frame, m.heading, m.level))}


def few_settings(m: Material) -> tuple[pd.DataFrame, str]:
    """The runs whose curves are drawn, and a sentence on those that are not."""
    from ablate.report import plots

    if m.search is not None:
        return m.runs[
            m.runs["setting_id"].isin(best_settings(m.search, m.settings))
        ], " The best few, and the baseline."
    if plots.by_task(m.settings, m.swept):
        return _longest(m)
    first = shown_metrics(m.settings)[0]
    rising = METRICS[first].better == "lower"
    ranked = m.settings[m.settings["n"] > 0].sort_values(first, ascending=rising, kind="stable")
    if len(ranked) <= MOST_CURVES:
        return m.runs, ""
    places = np.linspace(0, len(ranked) - 1, MOST_CURVES).round().astype(int)
    said = f" {MOST_CURVES} of {len(m.settings):,} settings, evenly spaced from the best to the worst."
    return m.runs[m.runs["setting_id"].isin(ranked["setting_id"].iloc[places])], said


def _longest(m: Material) -> tuple[pd.DataFrame, str]:
    """Of several memory tasks the runs at the greatest length of each, and a sentence that names these lengths."""
    longest = m.settings.groupby("corpus", sort=False)["num_steps"].max()
    kept = m.settings.loc[m.settings["num_steps"] == m.settings["corpus"].map(longest), "setting_id"]
    said = ", ".join(f"{task} {length}" for task, length in longest.items())
    return m.runs[m.runs["setting_id"].isin(kept)], f" Each task at its greatest length: {said}."


def _few_runs(runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The runs that are drawn as dots, and a sentence on those that are not."""
    seeds = sorted(runs["seed"].unique())
    kept = max(1, len(seeds) * MOST_DOTS // len(runs))
    if kept >= len(seeds):
        return runs, ""
    return runs[runs["seed"].isin(seeds[:kept])], f" Dots: the first {kept} of {len(seeds)} seeds."


SHIPPED = (
    *OF_SEARCH,
    Figures("by_value", "results", by_value_figure),
    Figures("curves", "curves", curves_figure),
    Figures("verdicts", "claims", verdicts_figure),
    *FINDINGS,
)
"""All that the package brings to the registry of figures, in the order in which they are drawn."""
