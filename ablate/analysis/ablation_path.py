"""The steps of an executed ablation path, from the runs behind it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.frames import runs_frame
from ablate.analysis.samples import samples, typical
from ablate.analysis.tuning import reporting
from ablate.records.reading import RecordError, read_json
from ablate.records.results import former_settings
from ablate.stats import RatioTest, holm, ratio

COLUMNS = (
    "number",
    "change",
    "setting_id",
    "reference_id",
    "metric",
    "n",
    "diverged",
    "value",
    "value_low",
    "value_high",
    "ratio",
    "low",
    "high",
    "p",
    "p_holm",
    "total",
    "total_low",
    "total_high",
    "tried",
    "method",
    "chosen_by",
)


def path_frame(sweep: Path, level: float = 0.95) -> pd.DataFrame | None:
    """One row per step of results/<sweep>/path.json, after row 0, the baseline; None where there is no path.

    number, change ("baseline" in row 0), setting_id, reference_id (the setting before it); metric; n and diverged runs;
    value, value_low, value_high: geometric mean and t interval of the finished runs; ratio, low, high: to the step
    before, by `stats.ratio` (Welch's t on logarithms, see method), with p and p_holm (corrected over the steps); total,
    total_low, total_high: to the baseline; tried: how many changes were left to choose from; chosen_by: the metric that
    chose. Where there are test data, `metric` is the same measured on these. Ratios are empty in row 0.

    The best of several tries is too good on the seeds that made it the best. So what was chosen is measured, and
    compared, by the seeds that did not choose it (`choosing_seeds` in path.json names those that did); what was not,
    baseline and target, by all. A path that names none, from an older version, was chosen on all seeds: there p is
    multiplied by the number tried, and the intervals are as much wider (Bonferroni), but the estimates too good.
    """
    try:
        path = read_json(sweep / "path.json")
        today = former_settings(sweep)
        chosen_by, baseline = str(path["metric"]), path["baseline"]["setting_id"]
        baseline = today.get(baseline, baseline)
        steps = [
            {name: step[name] for name in ("number", "change")}
            | {name: today.get(step[name], step[name]) for name in ("setting_id", "reference_id")}
            | {"tried": len(step["tried"])}
            for step in path["steps"]
        ]
        choosing = path.get("choosing_seeds")
        chose = set(choosing or ())
    except (RecordError, KeyError, TypeError):
        return None
    runs, _ = runs_frame(sweep)
    of_path = runs[runs["setting_id"].isin([baseline, *(step["setting_id"] for step in steps)])]
    metric = reporting(of_path, chosen_by)
    by_setting = samples(runs, metric) if len(runs) else {}
    chosen = {step["setting_id"]: step["tried"] for step in steps if step["tried"] > 1}

    def values(setting: str, *others: str) -> pd.Series:
        """Of one setting, for a comparison with others: by fresh seeds where any of them was chosen."""
        own = by_setting.get(setting, pd.Series(dtype=float))
        fresh = choosing is not None and not chosen.keys().isdisjoint((setting, *others))
        return own[[seed not in chose for seed in own.index]] if fresh else own

    def compare(setting: str, other: str) -> tuple[RatioTest, int]:
        """The ratio of two settings, and among how many the p-value has to be counted."""
        tries = 1 if choosing is not None else max(chosen.get(setting, 1), chosen.get(other, 1))
        return ratio(values(setting, other), values(other, setting), 1 - (1 - level) / tries), tries

    start = {"number": 0, "change": "baseline", "setting_id": baseline, "reference_id": None, "tried": 0}
    rows = []
    for step in (start, *steps):
        setting = step["setting_id"]
        row: dict[str, Any] = step | {"metric": metric, "chosen_by": chosen_by}
        row |= _measured(values(setting), metric, level)
        if step["number"]:
            test, tries = compare(setting, step["reference_id"])
            row |= _ratio(test, "ratio", "low", "high") | {"method": test.method}
            row["p"] = min(1.0, tries * test.p()) if test.n else math.nan
            row |= _ratio(compare(setting, baseline)[0], "total", "total_low", "total_high")
        rows.append(row)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.assign(p_holm=holm(frame["p"].astype(float)))


def _measured(values: pd.Series, metric: str, level: float) -> dict[str, float | int]:
    diverged = int(np.isinf(values).sum())
    told = zip(("value", "value_low", "value_high"), typical(values, metric, level), strict=True)
    return {"n": len(values) - diverged, "diverged": diverged, **dict(told)}


def _ratio(test: RatioTest, *names: str) -> dict[str, float]:
    return dict(zip(names, (test.ratio, test.low, test.high), strict=True))
