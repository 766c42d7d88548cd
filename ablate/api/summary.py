"""A sweep as a notebook shows it: one row per setting, the mean of its main metric with the interval over seeds."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from ablate.analysis.frames import value_text
from ablate.config.errors import counted
from ablate.config.metrics import METRICS

MOST_ROWS = 30
"""Settings that are shown; of more, the first, and how many there are."""


def html_table(title: str, settings: pd.DataFrame, knobs: Sequence[str], metrics: Sequence[str], level: float) -> str:
    """An HTML table without scripts or styles of its own."""
    heads = [*knobs, *(METRICS[name].title for name in metrics), "n", "diverged"]
    rows = [
        [*(value_text(row[knob]) for knob in knobs), *(_mean(row, name) for name in metrics), row["n"], row["diverged"]]
        for row in settings.head(MOST_ROWS).to_dict("records")
    ]
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    left_out = f"; {counted(len(settings) - MOST_ROWS, 'more setting')}" if len(settings) > MOST_ROWS else ""
    note = f"mean over n seeds, {level:.0%} interval of the mean{left_out}"
    return (
        f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{escape(note)}</small></p>"
    )


def _mean(row: dict[Any, Any], metric: str) -> str:
    middle, low, high = row[metric], row[f"{metric}_low"], row[f"{metric}_high"]
    if middle is None or math.isnan(middle):
        return "–"
    return f"{middle:.4g}" if math.isnan(low) else f"{middle:.4g} [{low:.4g}, {high:.4g}]"
