"""What the memory tasks add to a report: how well each network answers, by the length of the sequences."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from ablate.config.errors import counted
from ablate.report.blocks import Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import listed, percent
from ablate.report.sections import Section
from ablate.report.sheets import cut, knob_columns
from ablate.report.tables import bounded, setting_name, shown_knobs, value_text
from ablate.report.wording import task_of
from ablate.stats import share_interval

SOLVED = 0.99
"""Accuracy from which on a memory task counts as solved."""


def by_length(m: Material) -> bool:
    """Whether the sequences were of several lengths; of settings that are all of this one task."""
    return bool(task_of(m.settings)) and "num_steps" in m.swept and bool(m.settings["accuracy"].notna().any())


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
    columns = [*knob_columns(knobs, m.settings), *(Column(counted(length, "step"), True) for length in lengths)]
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


def _solved(m: Material) -> Iterator[str]:
    """Of each memory task, how many runs of each network solve it, at which lengths: a mean hides that some do."""
    knobs = [name for name in shown_knobs(m.swept) if name not in ("corpus", "num_steps")]
    runs = m.runs.assign(solved=(m.runs["status"] == "ok") & (m.runs["accuracy"] >= SOLVED))
    for task, own in runs.groupby("corpus", sort=False):
        said: dict[str, list[str]] = {}
        for _, of_network in own.groupby(knobs, sort=False, dropna=False):
            name = setting_name(of_network.iloc[0], [knob for knob in knobs if knob != "model"])
            counts = of_network.groupby("num_steps")["solved"].agg(["sum", "size"])
            said.setdefault(_solving(counts, int(own["num_steps"].max()), m.level), []).append(name)
        networks = "; ".join(f"{listed(names)}: {what}" for what, names in said.items())
        yield f"Runs of {task} that reach an accuracy of {SOLVED:g}: {networks}."


def _solving(counts: pd.DataFrame, longest: int, level: float) -> str:
    """`all up to num_steps=10, 5 of 6 (36–100 %) at 20, none at 50 and 100`, from sum and size by length."""
    solved, size = counts["sum"], counts["size"]
    if not solved.any():
        return f"none at any length (at most {100 * share_interval(0, int(size.min()), level)[1]:.0f} % at each)"
    full = (solved == size).cummin()
    parts = []
    if full.any():
        last = int(counts.index[full][-1])
        parts.append(f"all up to num_steps={last}{', the longest tried' if last == longest else ''}")
    for length in counts.index[~full & (solved > 0)]:
        k, n = int(solved[length]), int(size[length])
        low, high = (100 * share for share in share_interval(k, n, level))
        parts.append(f"{k} of {n} ({low:.0f}–{high:.0f} %) at num_steps={length}")
    if (solved == 0).any():
        parts.append(f"none at {listed([str(length) for length in counts.index[solved == 0]])}")
    return ", ".join(parts)


BY_LENGTH = Section(
    "lengths",
    "Accuracy by the length of the sequences",
    applies=lambda m: m.search is None and by_length(m),
    tables=lambda m: {"lengths": partial(lengths_sheet, m)},
    sentences=_solved,
    within="results",
    instead_of_best=True,
)
