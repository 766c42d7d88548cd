"""The steps of an executed ablation path, from the runs behind it."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis.aggregate import summarise
from ablate.analysis.frames import runs_frame
from ablate.analysis.samples import samples
from ablate.results import RecordError, read_json
from ablate.stats import RatioTest, holm, paired

COLUMNS = (
    "number",
    "change",
    "cell_id",
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
)


def path_frame(sweep: Path, level: float = 0.95) -> pd.DataFrame | None:
    """One row per step of results/<sweep>/path.json, after row 0, the baseline; None where there is no path.

    number, change ("baseline" in row 0), cell_id, reference_id (the cell before it); metric; n and diverged runs;
    value, value_low, value_high: mean and t interval of the finished runs; ratio, low, high: to the step before, paired
    by seed (Wilcoxon), with p and p_holm (corrected over the steps); total, total_low, total_high: to the baseline;
    tried: how many changes were left to choose from. Ratios are empty in row 0.

    A step was chosen for being the best of those tried, on these very seeds: where its rivals come close, its ratio
    is a little too good (the total of the last step, where nothing was left to choose, is not).
    """
    try:
        path = read_json(sweep / "path.json")
        metric, baseline = str(path["metric"]), path["baseline"]["cell_id"]
        steps = [
            {name: step[name] for name in ("number", "change", "cell_id", "reference_id")}
            | {"tried": len(step["tried"])}
            for step in path["steps"]
        ]
    except (RecordError, KeyError, TypeError):
        return None
    runs, _ = runs_frame(sweep)
    by_cell = samples(runs, metric) if len(runs) else {}
    nobody = pd.Series(dtype=float)
    start = {"number": 0, "change": "baseline", "cell_id": baseline, "reference_id": None, "tried": 0}
    rows = []
    for step in (start, *steps):
        own = by_cell.get(step["cell_id"], nobody)
        row: dict[str, Any] = step | {"metric": metric} | _measured(own, level)
        if step["number"]:
            test = paired(own, by_cell.get(step["reference_id"], nobody), level)
            row |= _ratio(test, "ratio", "low", "high") | {"p": test.p() if test.n else math.nan}
            row |= _ratio(paired(own, by_cell.get(baseline, nobody), level), "total", "total_low", "total_high")
        rows.append(row)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.assign(p_holm=holm(frame["p"].astype(float)))


def _measured(values: pd.Series, level: float) -> dict[str, float | int]:
    finite = values[values < math.inf]
    summary = summarise(finite, "value", level)
    return {
        "n": len(finite),
        "diverged": len(values) - len(finite),
        **{name: summary[name] for name in ("value", "value_low", "value_high")},
    }


def _ratio(test: RatioTest, *names: str) -> dict[str, float]:
    return dict(zip(names, (test.ratio, test.low, test.high), strict=True))
