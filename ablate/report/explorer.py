"""The runs on the page, for its script: a reader changes the measure, leaves out seeds, and sees what becomes of it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from ablate.config.errors import counted
from ablate.config.metrics import METRICS, decimals
from ablate.report.blocks import Block, Explorer
from ablate.report.material import Material
from ablate.report.numbers import percent
from ablate.report.sections import Made, Section
from ablate.report.sheets import knob_columns
from ablate.report.tables import setting_columns, setting_texts
from ablate.report.wording import future_note, heading, shown_metrics

MOST_SETTINGS = 200
"""Rows that a person still compares by eye."""
MOST_VALUES = 40_000
"""About 450 KB of the page: of more settings the first, and of more measures the foremost."""
DIGITS = 9
"""Significant ones of each value: with 6 the last digit of a mean differs now and then from that of a table."""


def explorer(m: Material) -> Explorer:
    """The settings with the values of their runs by seed, in the order of the settings' table."""
    seeds = sorted(int(seed) for seed in m.runs["seed"].unique())
    settings = m.settings.head(min(MOST_SETTINGS, max(1, MOST_VALUES // len(seeds))))
    names = [name for name in shown_metrics(m.settings) if m.runs[name].notna().any()]
    names = names[: max(1, MOST_VALUES // (len(seeds) * len(settings)))]
    runs = m.runs[m.runs["setting_id"].isin(settings["setting_id"])]
    row = pd.Index(settings["setting_id"]).get_indexer(runs["setting_id"])
    column = np.searchsorted(seeds, runs["seed"].to_numpy(int))
    finished = (runs["status"] == "ok").to_numpy()
    shape = (len(settings), len(seeds))
    shown = setting_columns(m.settings, m.swept)
    return Explorer(
        {
            "knobs": [{"heading": one.heading, "number": one.number} for one in knob_columns(shown, m.settings)],
            "settings": [setting_texts(setting, shown) for setting in settings.to_dict("records")],
            "seeds": seeds,
            "metrics": [_metric(name) for name in names],
            "values": [_placed(runs[name], finished, row, column, shape) for name in names],
            "diverged": [sorted(column[(row == at) & ~finished].tolist()) for at in range(len(settings))],
            "quantiles": _quantiles(len(seeds), m.level),
            "note": _note(m, len(settings)),
        }
    )


def _metric(name: str) -> dict[str, Any]:
    facts = METRICS.known(name)
    ends = [end if math.isfinite(end) else None for end in facts.bounds]
    written = {"decimals": None if facts.top is None else decimals(facts.top), "ends": ends}
    return {"heading": heading(name), "title": facts.title, "logs": facts.in_logs} | written


def _placed(
    values: pd.Series, finished: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]
) -> list[list[float | None]]:
    """The values (runs,) of finished runs by setting and seed; None where there is none."""
    found = np.full(shape, math.nan)
    numbers = values.to_numpy(float, na_value=math.nan)
    found[row[finished], column[finished]] = numbers[finished]
    return [[_rounded(value) for value in line] for line in found.tolist()]


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _quantiles(most: int, level: float) -> list[float]:
    """Student's t for the interval of a mean of n values, at place n; 0 where there is no interval."""
    degrees = np.arange(1, max(most, 1))
    return [0.0, 0.0, *special.stdtrit(degrees, 0.5 + level / 2).tolist()]


def _note(m: Material, settings: int) -> str:
    """What the strip and the numbers are."""
    said = [
        f"A dot is a run, a line the mean of a setting, a bar its {percent(m.level)} interval over the seeds, as in "
        "the settings' table. Point at a dot to see its seed, which lights up in every setting; a click on a heading, "
        "here and in the other tables, sorts.",
    ]
    if settings < len(m.settings):
        said.append(f"The first {settings} of {counted(len(m.settings), 'setting')}; runs.csv has them all.")
    return " ".join([*said, *[future_note(m.settings)] * bool(future_note(m.settings))])


def _applies(m: Material) -> bool:
    return m.search is None and len(m.runs) > 1


def _blocks(m: Material, made: Made) -> Sequence[Block]:
    return [explorer(m)]


EXPLORE = Section("explore", "Look for yourself", _applies, blocks=_blocks)
