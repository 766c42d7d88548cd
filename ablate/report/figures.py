"""Which figures make sense for a sweep, and what is said below each."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ablate.analysis.tasks import of_networks
from ablate.claims import verdicts_frame
from ablate.config.metrics import METRICS
from ablate.records.files import write_atomically
from ablate.report.blocks import Attempts, Figure
from ablate.report.drawing import at_once
from ablate.report.finding_figures import Wanted
from ablate.report.findings import sections
from ablate.report.material import Material
from ablate.report.numbers import listed
from ablate.report.search_figures import best_settings, of_search
from ablate.report.sections import own_figures
from ablate.report.wording import (
    capital,
    drawn_metrics,
    epoch_metrics,
    heading,
    shown_metrics,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

MOST_CURVES = 12
"""Settings in one figure of curves; of more, those evenly spaced from the best to the worst are drawn."""
MOST_DOTS = 3000
"""Runs drawn as single dots; of more, those of the first seeds."""
MAIN = ("search_front", "search_history", "by_value", "curves")
"""What figure.png shows: the first of these that there is."""


def draw(m: Material, attempt: Attempts, to: Path) -> dict[str, Figure]:
    """Write every figure that makes sense as PNG, SVG and PDF into `to`/figures, and the main one as figure.png."""
    from ablate.report.plots import missing_glyphs

    if lacking := missing_glyphs(m.heading, *named_in_figures(m)):
        attempt.note(lacking)
    folder, what = to / "figures", wanted(m)
    drawn: dict[str, Figure] = {}
    saved = {name: partial(_saved, make, folder, name) for name, (_, make) in what.items()}
    with at_once(saved) as jobs:
        for name, job in jobs.items():
            if paths := attempt(f"the figure {name}", job):
                drawn[name] = Figure(name, what[name][0], paths)
    main = next((drawn[name] for name in MAIN if name in drawn), None)
    if main:
        write_atomically(to / "figure.png", main.path(".png").read_bytes())
    return drawn


def named_in_figures(m: Material) -> list[str]:
    """The names that a user may have given, and that stand in figures: of settings, changes and claims."""
    knobs = (
        m.settings[[knob for knob in m.swept if m.settings[knob].dtype == object]]
        if m.swept
        else m.settings.iloc[:, :0]
    )
    values = [str(value) for knob in knobs for value in knobs[knob].unique()]
    changes = [] if m.path is None else [str(change) for change in m.path["change"]]
    return [*values, *changes, *(verdict.statement for verdict in m.verdicts)]


def _saved(make: "Callable[[], Drawing]", folder: Path, name: str) -> list[Path]:
    from ablate.report.plots import save

    return save(make(), folder, name)


def wanted(m: Material) -> Wanted:
    """Name → caption and what draws it."""
    out: Wanted = of_search(m.search, m.searched, m.heading) if m.search is not None else {}
    out |= _of_settings(m) | _of_claims(m)
    for section in sections(m):
        out |= section.figures(m)
    return out | dict(own_figures(m))


def _of_settings(m: Material) -> Wanted:
    from ablate.report import plots

    out: Wanted = {}
    if m.search is None and m.swept and (m.settings["n"] > 0).any():
        runs, some = _few_runs(m.runs)
        names = m.factor_names
        caption = f"{_measured(m)} against {' and '.join(names[:2])}{' …' if len(names) > 2 else ''}.{some}"
        if plots.by_task(m.settings, m.swept):
            measure = capital(heading(shown_metrics(m.settings)[0]))
            caption = f"{measure} against the length of the sequences, a panel for each task.{some}"
        out["by_value"] = caption, partial(plots.by_value, runs, m.settings, m.swept, m.published, m.heading, m.level)
    if m.runs.empty:
        return out
    runs, some = few_settings(m)
    if len(curves := m.stored_curves.of(runs["run_id"])):
        of_epochs = [heading(name) for name in epoch_metrics(m.settings) if name in curves]
        what = capital(listed([*of_epochs, *["perplexity"] * of_networks(m.settings)]))
        out["curves"] = f"{what} over the epochs.{some}", partial(plots.curves, curves, runs, m.swept, m.heading)
    return out


def _measured(m: Material) -> str:
    """`Accuracy, perplexity and tokens/s`"""
    text = listed(
        [*map(heading, drawn_metrics(m.settings)), *["perplexity"] * of_networks(m.settings), *["tokens/s"] * m.timed]
    )
    return capital(text)


def _of_claims(m: Material) -> Wanted:
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
