"""What the runs show: the results, and the tables of what the analysis finds: comparisons, effects, shares, path."""

import math
from collections.abc import Iterator
from functools import partial

import pandas as pd

from ablate.analysis.tasks import facts_of
from ablate.claims.comparison import signed, telling_digits
from ablate.config.errors import counted
from ablate.config.metrics import METRICS, by_difference, chosen_by
from ablate.config.registry import DATASETS
from ablate.report.answer import main_figure
from ablate.report.blocks import Block, Column, Sheet, bullets
from ablate.report.material import Material
from ablate.report.numbers import (
    ends_text,
    interval_text,
    number,
    p_text,
    percent,
    ratio_text,
    share_text,
    text_or_dash,
    whole,
)
from ablate.report.sections import OTHERS, Made, Section, Tables
from ablate.report.sheets import MOST_ROWS, SettingsSheet, cut, knob_columns, spread_sheet
from ablate.report.tables import interval_of, setting_texts, value_text
from ablate.report.wording import (
    FUTURE_NOTE,
    all_seeing,
    capital,
    future_note,
    heading,
    marked,
    marked_source,
    measure_name,
    scale_name,
    seeing,
    what_chose,
)


def comparisons_sheet(m: Material, name: str, metric: str, table: pd.DataFrame) -> Sheet:
    """Pairs of settings that differ in one knob; of too many, those with the smallest p."""
    title = METRICS[metric].title
    numeric = not any(isinstance(value, str) for value in table["to_value"])
    columns = [Column("knob"), Column("from", numeric), Column("to", numeric), Column("at", long=True)]
    effect = "difference" if by_difference(metric) else "ratio"
    texts = ("n", effect, percent(m.level), "p", "p (Holm)", "p (ranks)", "P(better)", "seeds needed")
    columns += [Column(text, True) for text in texts]
    chosen, seen = table, set(m.settings.loc[seeing(m.settings), "setting_id"])
    if len(table) > MOST_ROWS:
        chosen = table.sort_values("p", kind="stable").head(MOST_ROWS).sort_index()
    rows = [
        [
            row["knob"],
            marked(value_text(row["from_value"]), row["reference_id"] in seen),
            marked(value_text(row["to_value"]), row["setting_id"] in seen),
            text_or_dash(row["at"]),
            whole(row["n"]),
            *effect_texts(row, metric),
            p_text(row["p"]),
            p_text(row["p_holm"]),
            p_text(row["p_rank"]),
            "–" if pd.isna(row["improvement"]) else f"{row['improvement']:.2f}",
            whole(row["needed"]),
        ]
        for _, row in chosen.iterrows()
    ]
    side = "above" if METRICS[metric].better == "higher" else "below"
    direction = f"{side} {0 if by_difference(metric) else 1}"
    how = "second value minus first" if by_difference(metric) else "second value over first"
    means = "arithmetic" if by_difference(metric) else "geometric"
    notes = [
        f"{capital(effect)} of the {title}: {how}, of {means} means; {direction} the second is better. Interval and p: "
        f"Welch's t{' on logarithms' * (means == 'geometric')}, of the pair alone; p (Holm): corrected over the "
        f"{counted(len(table), 'pair')} of this table; p (ranks): the exact rank-sum test of the pair, a check. "
        "P(better): that a run with the second value beats one with the first. Seeds needed: about how many would make "
        "the pair significant, corrected, in four of five repetitions.",
        *remarks(table, m.level),
    ]
    notes += [m.fixed_tests_note] * bool(m.fixed_tests_note)
    if seen & {*table["setting_id"], *table["reference_id"]}:
        notes.append(FUTURE_NOTE)
    sheet = Sheet(name, f"Comparisons: {title}", columns, rows, table, notes)
    sheet.left_out = len(table) - len(rows)
    return sheet


def effect_texts(row: pd.Series, metric: str) -> tuple[str, str]:
    """The ratio, or the difference, of a pair, and its interval."""
    if not by_difference(metric):
        digits = telling_digits(row["low"], row["high"])
        return ratio_text(row["ratio"], digits), interval_text(row["low"], row["high"])
    top = METRICS[metric].top or math.inf
    ends = [signed(min(max(end, -top), top), top) for end in (row["low"], row["high"])]
    known = math.isfinite(row["low"]) or math.isfinite(row["high"])
    difference = "–" if pd.isna(row["difference"]) else signed(row["difference"], top)
    return difference, " … ".join(ends) if known else "–"


def remarks(table: pd.DataFrame, level: float) -> Iterator[str]:
    """What a reader must know of the tests: where the rank test disagrees, and where another one decides."""
    alpha = percent(1 - level)
    apart = int((~table["ranks_agree"]).sum())
    if apart:
        yield f"In {counted(apart, 'pair')} the rank test and the t test disagree at {alpha}."
    unchecked = int(table["ranks_agree"].isna().sum())
    if unchecked:
        yield f"In {counted(unchecked, 'pair')} the runs are too few for the rank test to reject anything at {alpha}."
    for method, own in table.groupby("method", sort=False):
        if "Welch" not in str(method):
            yield f"In {counted(len(own), 'pair')} by another test: {method}."


def effects_sheet(m: Material, table: pd.DataFrame) -> Sheet:
    columns = [Column("knob"), Column("value", True), Column("n", True), Column(heading(m.main), True)]
    columns += [Column(percent(m.level), True)]
    seen = all_seeing(m.factored_settings)
    rows = [
        [
            row["knob"],
            marked(value_text(row["value"]), seen(row["knob"], row["value"])),
            whole(row["n"]),
            number(row["mean"]),
            ends_text(row["low"], row["high"]),
        ]
        for _, row in table.iterrows()
    ]
    mean = "Mean" if by_difference(m.main) else "Geometric mean"
    notes = [f"{mean} of the {measure_name(m.main, m.settings)} over all settings with that value."]
    notes += ["No interval where a setting has one run."] * bool(table["low"].isna().any())
    notes += [future_note(m.settings)] * bool(future_note(m.settings))
    return cut(Sheet("effects", "Main effects", columns, rows, table, notes))


def variance_sheet(m: Material, table: pd.DataFrame) -> Sheet:
    rows = [
        [marked_source(m.factored_settings, row["source"]), share_text(row["share"])] for _, row in table.iterrows()
    ]
    notes = [f"Shares of the variance of {scale_name(m.main, m.settings)} over all finished runs."]
    notes += [future_note(m.settings)] * bool(future_note(m.settings))
    columns = [Column("source"), Column("share", True)]
    return cut(Sheet("variance", "Where the variance comes from", columns, rows, table, notes))


def importance_sheet(m: Material, table: pd.DataFrame) -> Sheet:
    """Shares of the variance on a full grid, with the interactions; elsewhere an approximation with its interval."""
    of_grid = table["total"].notna().all()
    rows = [
        [
            marked_source(m.factored_settings, row["knob"]),
            share_text(row["importance"]),
            share_text(row["total"]) if of_grid else f"{share_text(row['low'])} – {share_text(row['high'])}",
            row["evaluator"],
        ]
        for _, row in table.iterrows()
    ]
    second = "with its interactions" if of_grid else percent(m.level)
    columns = [Column("knob"), Column("importance", True), Column(second, True), Column("evaluator")]
    notes = [importance_note(m, table)]
    notes += [future_note(m.settings)] * bool(future_note(m.settings))
    return cut(Sheet("importance", "Importance of the knobs", columns, rows, table, notes))


def importance_note(m: Material, table: pd.DataFrame) -> str:
    """What the numbers are shares of, and how far they can be relied on."""
    if table["total"].notna().all():
        return (
            f"Importance: the share of the variance of {scale_name(m.main, m.settings)} over all finished runs that "
            f"the "
            "knob has alone; beside it that with all interactions of two knobs in which it has a part."
        )
    return (
        f"An approximation, from the mean of {scale_name(m.main, m.settings)} in each setting, since the settings "
        f"form no "
        f"full grid: shares of what all knobs account for, with the {percent(m.level)} range over settings drawn anew."
    )


def tuned_sheet(m: Material, table: pd.DataFrame) -> Sheet:
    others = [name for name in m.swept if name != "lr"]
    columns = [*knob_columns(others, m.settings), Column("best lr", True), Column("n", True), Column("diverged", True)]
    columns += [Column(heading(m.main), True)]
    by_id = m.settings.set_index("setting_id")
    rows = [
        [
            *setting_texts(by_id.loc[row["setting_id"]], others),
            value_text(row["value"]) if row["any_best"] else "–",
            *(whole(row[name]) for name in ("n", "diverged")),
            interval_of(m.main, row["mean"], row["low"], row["high"]),
        ]
        for _, row in table.iterrows()
    ]
    notes = [
        f"The learning rate is chosen on every second seed; the {measure_name(m.main, m.settings)}"
        f"{'' if by_difference(m.main) else ' (geometric mean)'} is that of the others. "
        f"{what_chose(chosen_by(m.main), m.main, m.settings)}"
    ]
    if not table["any_best"].all():
        notes.append("–: every run that should choose diverged, at each learning rate: none is the best.")
    if len(table) < len(m.settings.drop_duplicates(others) if others else m.settings[:1]):
        notes.append("Left out: settings with too few seeds to choose by some and to judge by others.")
    notes += [future_note(m.settings)] * bool(future_note(m.settings))
    return cut(Sheet("tuned", "Each setting at its best learning rate", columns, rows, table, notes))


def path_sheet(m: Material, table: pd.DataFrame) -> Sheet:
    metric = str(table["metric"].iloc[0])
    columns = [Column("step", True), Column("change", long=True), Column("tried", True), Column("n", True)]
    columns += [Column(METRICS.known(metric).title, True), Column("to the last step", True)]
    columns += [Column(percent(m.level), True), Column("p (Holm)", True), Column("to the baseline", True)]
    rows = [
        [
            whole(row["number"]),
            str(row["change"]),
            whole(row["tried"]),
            whole(row["n"]),
            interval_of(metric, row["value"], row["value_low"], row["value_high"]),
            ratio_text(row["ratio"]),
            interval_text(row["low"], row["high"]),
            p_text(row["p_holm"]),
            ratio_text(row["total"]),
        ]
        for _, row in table.iterrows()
    ]
    notes = [
        "Each step was trained: of all changes left, the one that helped most on half of the seeds. What was chosen is "
        "reported by the other half, baseline and target by all seeds. "
        f"{what_chose(str(table['chosen_by'].iloc[0]), metric, m.settings)} Ratios are those of geometric means, by "
        "Welch's t on logarithms; p (Holm): corrected over the steps."
    ]
    notes += [m.fixed_tests_note] * bool(m.fixed_tests_note)
    return Sheet("path", "Ablation path", columns, rows, table, notes)


def _comparisons(m: Material) -> Tables:
    names = {metric: "comparisons" if metric == m.main else f"comparisons_{metric}" for metric in m.comparisons}
    return {name: partial(comparisons_sheet, m, name, metric, m.comparisons[metric]) for metric, name in names.items()}


def _matters(m: Material) -> Tables:
    found = {
        "effects": (m.effects, effects_sheet),
        "variance": (m.variance, variance_sheet),
        "importance": (m.importance, importance_sheet),
        "tuned": (m.tuned, tuned_sheet),
    }
    return {name: partial(make, m, frame) for name, (frame, make) in found.items() if frame is not None and len(frame)}


def _path(m: Material) -> Tables:
    return {"path": partial(path_sheet, m, m.path)} if m.path is not None and len(m.path) else {}


def _results(m: Material, made: Made) -> list[Block]:
    """Where several data sets are different questions, these; then the settings, whose main figure the answer has."""
    others = [name for name in made.names if name not in (main_figure(m, made.figures), "settings")]
    return [*bullets(questions(m)), *made.within, *made.of(*others), *made.of("settings")]


def _curves(m: Material, made: Made) -> list[Block]:
    main = main_figure(m, made.figures)
    return [*made.within, *made.of(*(name for name in made.names if name != main))]


def questions(m: Material) -> list[str]:
    """What is asked in each data set of a sweep, where these are different questions."""
    if m.runs.empty or not facts_of(m.settings).many_questions:
        return []
    names = [str(name) for name in m.settings["corpus"].unique() if name in DATASETS and DATASETS[str(name)].asks]
    return [f"{name}: {DATASETS[name].asks}." for name in names]


RESULTS = Section(
    "results",
    "Results",
    lambda m: True,
    tables=lambda m: {} if m.runs.empty else {"settings": SettingsSheet(m).sheet},
    blocks=_results,
)
FURTHER = Section(OTHERS, "Further figures", lambda m: True)
CURVES = Section("curves", "Learning curves", lambda m: True, blocks=_curves)

ANALYSES = (
    Section("comparisons", "Comparisons", lambda m: bool(m.comparisons), tables=_comparisons),
    Section(
        "spread",
        "Spread over the seeds",
        lambda m: m.search is None and not m.runs.empty,
        tables=lambda m: {"spread": partial(spread_sheet, m)},
    ),
    Section("trade-off", "Perplexity against speed", lambda m: not m.runs.empty),
    Section(
        "what-matters",
        "What matters",
        lambda m: not m.runs.empty,
        tables=_matters,
        order=("effects", "variance", "importance", "heatmap", "tuned"),
    ),
    Section("path", "Ablation path", lambda m: m.path is not None, tables=_path),
)
"""What the analysis adds to a report, in the order of the page."""
