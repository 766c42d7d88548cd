"""The table of memory tasks: how well each network answers, by the length of the sequences."""

import pandas as pd

from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import percent
from ablate.report.sheets import cut, knob_columns
from ablate.report.tables import bounded, shown_knobs, value_text
from ablate.report.wording import task_of

SOLVED = 0.99
"""Accuracy from which on a memory task counts as solved."""


def by_length(m: Material) -> bool:
    """Whether memory tasks were trained at several lengths."""
    return task_of(m.settings) == "memory" and "num_steps" in m.swept and bool(m.settings["accuracy"].notna().any())


def lengths_sheet(m: Material) -> Sheet:
    """A row for each network and task, a column for each length: mean accuracy with its interval, runs that solve."""
    knobs = [name for name in shown_knobs(m.swept) if name != "num_steps"]
    lengths = sorted(m.settings["num_steps"].unique())
    runs = m.runs.assign(solved=(m.runs["status"] == "ok") & (m.runs["accuracy"] >= SOLVED))
    solved = runs.groupby("setting_id")["solved"].sum()
    rows, full = [], []
    for _, own in m.settings.groupby(knobs, sort=False, dropna=False):
        first, at = own.iloc[0], own.drop_duplicates("num_steps").set_index("num_steps")
        rows.append(
            [
                *(value_text(first[name]) for name in knobs),
                *(_answered(at.loc[length], solved) if length in at.index else "–" for length in lengths),
            ]
        )
        known = ("num_steps", "n", "diverged", "accuracy", "accuracy_low", "accuracy_high")
        full.append(own[["setting_id", *knobs, *known]].assign(solved=own["setting_id"].map(solved)))
    columns = [*knob_columns(knobs, m.settings), *(Column(f"{length} steps", True) for length in lengths)]
    notes = [
        f"Mean accuracy and its {percent(m.level)} interval over the seeds, and how many of the runs solve the task: "
        f"accuracy of {SOLVED:g} or more. A run that diverged solves nothing."
    ]
    data = pd.concat(full, ignore_index=True)
    return cut(Sheet("lengths", "Accuracy by the length of the sequences", columns, rows, data, notes))


def _answered(setting: pd.Series, solved: pd.Series) -> str:
    """`0.970 (0.940–1.000), 2 of 3`"""
    mean = bounded(setting["accuracy"], setting["accuracy_low"], setting["accuracy_high"], 1.0)
    return f"{mean}, {solved[setting['setting_id']]} of {setting['n'] + setting['diverged']}"
