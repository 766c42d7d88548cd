"""The section on how long settings take until a metric reaches a value, of sweeps with timings."""

from functools import partial

import pandas as pd

from ablate.analysis.time_to_quality import MEASURED, SECONDS, Quality, time_to_quality, usual_quality
from ablate.records.qualities import qualities
from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import number, percent
from ablate.report.sections import Section, Tables
from ablate.report.sheets import cut, knob_columns
from ablate.report.tables import bounded, plus_minus, setting_columns, setting_texts
from ablate.report.wording import SPEED_IS, capital


def wanted(m: Material) -> list[Quality]:
    """What was asked for, or else what half of the settings reach."""
    asked = [Quality.read(text) for text in qualities(m.folder)]
    usual = None if asked else usual_quality(m.settings)
    return asked if usual is None else [usual]


def quality_sheet(m: Material) -> Sheet:
    """A row for each timed setting and quality, the fastest first."""
    found = [(quality, _timed(m, quality)) for quality in wanted(m)]
    shown = setting_columns(m.settings, m.swept)
    columns = [Column("quality", long=True), *knob_columns(shown, m.settings), Column("n", True)]
    columns += [Column(name, True) for name in ("reach it", "epochs", "seconds", "expected seconds")]
    rows, parts = [], []
    for quality, table in found:
        parts.append(table.assign(quality=str(quality), metric=quality.metric, value=quality.value))
        for row in table.to_dict("records"):
            share = bounded(row["share"], row["share_low"], row["share_high"], 1)
            seconds = plus_minus(row["seconds"], row["seconds_low"], row["seconds_high"])
            measured = str(row["n"]), share, number(row["epochs"]), seconds, number(row["expected_s"])
            rows.append([str(quality), *setting_texts(row, shown), *measured])
    data = pd.concat(parts, ignore_index=True)
    first = ["setting_id", *shown, "quality", "metric", "value"]
    data = data[[*first, *(name for name in (*MEASURED, *SECONDS) if name not in first)]]
    return cut(Sheet("time_to_quality", "Time to quality", columns, rows, data, [_note(m, [one for one, _ in found])]))


def _timed(m: Material, quality: Quality) -> pd.DataFrame:
    table = time_to_quality(m.runs, m.stored_curves, m.settings, quality, m.level)
    return table.sort_values("seconds", kind="stable", na_position="last", ignore_index=True)


def _note(m: Material, found: list[Quality]) -> str:
    chosen = "" if qualities(m.folder) else f" {capital(str(found[0]))} is what half of the settings reach; --until of "
    chosen += "" if qualities(m.folder) else "ablate report names others."
    return (
        "Seconds until a run first reaches the quality: its tokens until then over the tokens/s of the speed lane "
        f"({SPEED_IS}, one run alone, one thread), never the time that it took in training. The geometric mean of the "
        f"runs that reach it, with a {percent(m.level)} interval over seeds and processes together. Reach it: share of "
        "all runs, with its exact interval. Expected: until one run reaches it, if others follow those that do not."
        f"{chosen}"
    )


def _tables(m: Material) -> Tables:
    return {"time_to_quality": partial(quality_sheet, m)}


TIME_TO_QUALITY = Section(
    "time-to-quality",
    "Time to quality",
    lambda m: m.search is None and m.timed and bool(wanted(m)),
    tables=_tables,
)
