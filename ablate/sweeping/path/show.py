"""The steps of a path on the terminal."""

import pandas as pd
from rich.table import Table

from ablate.config.metrics import METRICS
from ablate.report.numbers import interval_text, ratio_text
from ablate.report.tables import PLAIN, plus_minus

TITLE = "from baseline to target, at each step the change that helps most"


def steps_table(path: pd.DataFrame) -> Table:
    """One row per step of a `path_frame`: the change, the metric with its 95 % interval, its ratio to the step before.

    What was chosen among several is shown by the seeds that did not choose it.
    """
    table = Table(title=TITLE, **PLAIN)
    metric = METRICS[str(path["metric"].iloc[0])].title
    for name in ("step", "change", metric, "ratio to the step before", "n", "diverged"):
        table.add_column(name, justify="left" if name == "change" else "right")
    for _, step in path.iterrows():
        interval = interval_text(step["low"], step["high"])
        table.add_row(
            str(step["number"]),
            str(step["change"]) if step["number"] else "(baseline)",
            plus_minus(step["value"], step["value_low"], step["value_high"]),
            f"{ratio_text(step['ratio'])}{'' if interval == '–' else f' ({interval})'}" if step["number"] else "",
            str(step["n"]),
            str(step["diverged"]),
        )
    return table
