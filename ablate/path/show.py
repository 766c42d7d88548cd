"""The steps of a path on the terminal."""

import math

import pandas as pd
from rich.table import Table

from ablate.analysis.aggregate import summarise
from ablate.metrics import METRICS
from ablate.path.walk import Walk
from ablate.report.tables import PLAIN, plus_minus
from ablate.stats import RatioTest, paired

TITLE = "from baseline to target, at each step the change that helps most"


def steps_table(walk: Walk) -> Table:
    """One row per step: the change, the metric with its 95 % interval, and its ratio to the step before by seed."""
    table = Table(title=TITLE, **PLAIN)
    for name in ("step", "change", METRICS[walk.metric].title, "ratio to the step before", "n", "diverged"):
        table.add_column(name, justify="left" if name == "change" else "right")
    before = walk.values(walk.cells[walk.baseline])
    table.add_row("0", "(baseline)", *_measured(before))
    for number, step in enumerate(walk.steps, 1):
        now = walk.values(step.cell)
        table.add_row(str(number), step.change, *_measured(now, ratio_text(paired(now, before))))
        before = now
    return table


def _measured(values: pd.Series, ratio: str = "") -> tuple[str, str, str, str]:
    finite = values[values < math.inf]
    summary = summarise(finite, "value", 0.95)
    return plus_minus(summary["value"], summary["value_high"]), ratio, str(len(finite)), str(len(values) - len(finite))


def ratio_text(test: RatioTest) -> str:
    """`0.81 (0.78–0.84)`; no interval where the seeds are too few for one."""
    if math.isnan(test.ratio):
        return "–"
    interval = f" ({test.low:.3g}–{test.high:.3g})" if math.isfinite(test.high) and test.low > 0 else ""
    return f"{test.ratio:.3g}{interval}"
