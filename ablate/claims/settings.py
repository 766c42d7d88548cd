"""Which cells a claim speaks about: filtered by `where`, and grouped by what it does not vary itself."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ablate.analysis.frames import KNOBS, setting
from ablate.analysis.frames import value_text as shown
from ablate.config.dependence import independent

Key = tuple[Any, ...]
"""The values of the knobs that a claim varies, in their order: what tells the cells of one group apart."""


class NotTestable(Exception):
    """The sweep lacks what a claim needs; the message says what."""


@dataclass(frozen=True)
class Group:
    """Cells that agree in every knob but those that the claim varies."""

    at: str  # `num_hiddens=32`; empty where there is but one group
    cells: dict[Key, str]  # values of the varied knobs → cell_id

    @property
    def where(self) -> str:
        return f" at {self.at}" if self.at else ""


def cells_of(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, in the order of the runs: cell_id, device and the columns of KNOBS."""
    return runs.drop_duplicates("cell_id").reset_index(drop=True)


def matching(cells: pd.DataFrame, where: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The cells whose knobs have one of the given values. Raises NotTestable for the first knob that leaves none."""
    for knob, allowed in where.items():
        kept = cells[[same(value, allowed) for value in cells[knob]]]
        if kept.empty:
            there = ", ".join(dict.fromkeys(shown(value) for value in cells[knob]))
            wanted = " or ".join(shown(value) for value in allowed)
            raise NotTestable(f"no cell with {knob}={wanted} (there is {knob}={there})")
        cells = kept
    return cells


def same(value: Any, allowed: Sequence[Any]) -> bool:
    """Whether a stored value is one of those named; a GPU may be named without its number."""
    value = plain(value)
    return any(value == one or (one == "cuda" and str(value).startswith("cuda")) for one in allowed)


def grouped(
    cells: pd.DataFrame, keys: Sequence[str], relevant: Callable[[Key], bool]
) -> tuple[list[Group], dict[str, list[str]]]:
    """The groups, and which other knobs differ within them although they need not, each with its values."""
    cells = cells[[relevant(key) for key in values_of(cells, keys)]]
    others, along_with = apart(cells, keys)
    groups: dict[Key, Group] = {}
    for cell, key, rest in zip(cells["cell_id"], values_of(cells, keys), values_of(cells, others), strict=True):
        if rest not in groups:
            groups[rest] = Group(setting(dict(zip(others, rest, strict=True)), others), {})
        known = groups[rest].cells.setdefault(key, cell)
        if known != cell:
            raise NotTestable(f"the cells {known} and {cell} have the same knobs")
    return list(groups.values()), along_with


def values_of(cells: pd.DataFrame, knobs: Sequence[str]) -> list[Key]:
    """The values of some knobs, cell by cell."""
    columns = [[plain(value) for value in cells[knob]] for knob in knobs]
    return list(zip(*columns, strict=True)) if columns else [()] * len(cells)


def apart(cells: pd.DataFrame, keys: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The knobs besides `keys` that tell the cells apart; and those that are confounded with `keys`, with their values.

    What follows from another knob by its meaning (see `ablate.config.dependence`) is neither. A knob is confounded with `keys`
    where it differs between cells that agree in all knobs of the former kind, and never without `keys`.
    """
    told, together = list(keys), list[str]()
    for name in independent({name: [plain(value) for value in cells[name]] for name in KNOBS if name in cells}):
        if name in told:
            continue
        if not told or cells.groupby(told, dropna=False)[name].nunique(dropna=False).max() > 1:
            told.append(name)
            continue
        together.append(name)
    others = told[len(keys) :]
    groups = cells.groupby(others, dropna=False) if others else cells.assign(_all=0).groupby("_all")
    confounded = [name for name in together if keys and groups[name].nunique(dropna=False).max() > 1]
    return others, {name: list(dict.fromkeys(shown(value) for value in cells[name])) for name in confounded}


def absent(keys: Sequence[str], wanted: Collection[Key], present: Collection[Key]) -> list[str]:
    """`sampling=random` for each wanted combination that is not there."""
    return [
        " ".join(f"{name}={shown(value)}" for name, value in zip(keys, key, strict=True))
        for key in wanted
        if key not in present
    ]


def in_size(values: Collection[Any]) -> list[Any]:
    """Numbers by size; null, which stands for no limit, comes last."""
    return sorted(values, key=lambda value: float("inf") if value is None else value)


def plain(value: Any) -> Any:
    """A value of a frame as YAML gives it: None for a missing one, no NumPy type."""
    if value is None or value != value or value is pd.NA:
        return None
    return value.item() if hasattr(value, "item") else value
