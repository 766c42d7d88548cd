"""The section on settings over several data sets: ranks, aggregates, pairs, a diagram and a profile."""

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.analysis.across import Across
from ablate.config.errors import counted
from ablate.config.metrics import METRICS, by_difference
from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import ends_text, interval_text, number, p_equals, p_text, percent, ratio_text
from ablate.report.sections import Drawings, Section, Tables
from ablate.report.sheets import MOST_ROWS, cut

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

FROM_DATA_SETS = 3
"""As many, and as many settings, from which a diagram of critical differences says anything."""


def effect(found: Across) -> str:
    return "loss against the best" if by_difference(found.metric) else "ratio to the best"


def ranks_sheet(found: Across) -> Sheet:
    """A row for each setting, the best mean rank first."""
    columns = [Column("setting", long=True), Column("mean rank", True), Column("best on", True), Column("n", True)]
    columns += [Column(f"{effect(found)}, IQM", True), Column(percent(found.level), True)]
    of_differences = by_difference(found.metric)
    rows = []
    for row in found.settings.to_dict("records"):
        ends = row["iqm_low"], row["iqm_high"]
        interval = (ends_text if of_differences else interval_text)(*ends)
        point = number(row["iqm"]) if of_differences else ratio_text(row["iqm"])
        rows.append([row["at"], f"{row['mean_rank']:.2f}", str(row["best_on"]), str(row["n"]), point, interval])
    sheet = Sheet("across", "Across data sets", columns, rows, found.settings, _ranks_notes(found))
    return cut(sheet)


def _ranks_notes(found: Across) -> list[str]:
    names = ", ".join(found.data_sets)
    title = METRICS[found.metric].title
    told = f"Mean rank by {title} over {counted(len(found.data_sets), 'data set')} ({names}), 1 the best; "
    if math.isnan(found.friedman_p):
        told += "too few data sets or settings for a test of ranks. "
    else:
        told += (
            f"that all settings are alike: {p_equals(found.friedman_p)} (Friedman, as F by Iman and Davenport); two "
            f"differ where their ranks lie {found.critical_difference:.2f} or more apart (Nemenyi, "
            f"{percent(found.level)}). "
        )
    how = "by how much it is worse than" if by_difference(found.metric) else "as a ratio to"
    told += (
        f"IQM: interquartile mean over the runs of all data sets, each {how} the mean of the best setting of its "
        "data set; interval: bootstrap within each data set, of more seeds on these data sets, not of others. Only "
        "settings that were trained on all of them."
    )
    return [told]


def pairs_sheet(found: Across) -> Sheet:
    """A row for each pair; of too many, those with the smallest p, then the farthest apart."""
    columns = [Column("setting", long=True), Column("against", long=True), Column("P(better)", True)]
    columns += [Column(name, True) for name in (percent(found.level), "ranks apart", "p", "p (Holm)")]
    chosen = found.pairs
    if len(chosen) > MOST_ROWS:
        chosen = chosen.sort_values(["p", "ranks_apart"], ascending=[True, False], kind="stable").head(MOST_ROWS)
    rows = [
        [
            *(row["at"], row["reference"], f"{row['improvement']:.2f}", _ends(row), f"{row['ranks_apart']:.2f}"),
            *(p_text(row["p"]), p_text(row["p_holm"])),
        ]
        for row in chosen.to_dict("records")
    ]
    least = 2.0 ** (1 - len(found.data_sets))
    notes = [
        "P(better): that a run of the setting beats one of the other on the same data set, in the mean over data sets "
        "(Agarwal et al. 2021); p: Wilcoxon's signed ranks over data sets, which cannot fall below "
        f"{p_text(least)} with {len(found.data_sets)}; p (Holm): corrected over {counted(len(found.pairs), 'pair')}."
    ]
    sheet = Sheet("across_pairs", "Pairs across data sets", columns, rows, found.pairs, notes)
    sheet.left_out = len(found.pairs) - len(rows)
    return sheet


def _ends(row: Mapping[Any, Any]) -> str:
    low, high = row["improvement_low"], row["improvement_high"]
    return "–" if pd.isna(low) else f"{low:.2f} … {high:.2f}"


def _tables(m: Material) -> Tables:
    if m.across is None:
        return {}
    return {"across": partial(ranks_sheet, m.across), "across_pairs": partial(pairs_sheet, m.across)}


def _figures(m: Material) -> Drawings:
    found = m.across
    if found is None:
        return {}
    out: dict[str, tuple[str, partial[Drawing]]] = {}
    if min(len(found.data_sets), len(found.settings)) >= FROM_DATA_SETS:
        caption = (
            "Mean ranks over the data sets; settings that a bar joins differ by less than the critical difference."
        )
        out["critical_difference"] = caption, partial(_draw_ranks, found, m.heading)
    if len(found.profile):
        caption = f"Performance profile: the share of runs whose {effect(found)} is at most τ."
        out["profile"] = caption, partial(_draw_profile, found, m.heading)
    return out


def _draw_ranks(found: Across, heading: str) -> "Drawing":
    from ablate.report import plots

    ranks = dict(zip(found.settings["at"], found.settings["mean_rank"], strict=True))
    return plots.mean_ranks(ranks, found.cliques, found.critical_difference, heading, len(found.data_sets))


def _draw_profile(found: Across, heading: str) -> "Drawing":
    from ablate.report import plots

    alone = "model" in found.settings and found.settings["model"].is_unique
    models = dict(zip(found.settings["at"], found.settings["model"], strict=True)) if alone else {}
    ratios = not by_difference(found.metric)
    return plots.profile(found.profile, effect(found), heading, found.level, ratios, models)


ACROSS = Section(
    "across",
    "Across data sets",
    lambda m: m.across is not None,
    tables=_tables,
    figures=_figures,
    order=("critical_difference", "across", "profile", "across_pairs"),
)
