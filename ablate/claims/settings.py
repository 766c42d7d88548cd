"""Which settings a claim speaks about: filtered by `where`, and grouped by what it does not vary itself."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ablate.analysis.frames import setting_name
from ablate.analysis.frames import value_text as shown
from ablate.config.columns import columns_in
from ablate.config.dependence import independent

Key = tuple[Any, ...]
"""The values of the knobs that a claim varies, in their order: what tells the settings of one group apart."""


class NotTestable(Exception):
    """The sweep lacks what a claim needs; the message says what."""


@dataclass(frozen=True)
class Group:
    """Settings that agree in every knob but those that the claim varies."""

    at: str  # `num_hiddens=32`; empty where there is but one group
    settings: dict[Key, str]  # values of the varied knobs → setting_id

    @property
    def where(self) -> str:
        return f" at {self.at}" if self.at else ""


def settings_of(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per setting, in the order of the runs: setting_id, device and the columns of the knobs."""
    return runs.drop_duplicates("setting_id").reset_index(drop=True)


def matching(settings: pd.DataFrame, where: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The settings whose knobs have one of the given values. Raises NotTestable for the first knob that leaves none."""
    for knob, allowed in where.items():
        kept = settings[[same(value, allowed) for value in settings[knob]]]
        if kept.empty:
            there = ", ".join(dict.fromkeys(shown(value) for value in settings[knob]))
            wanted = " or ".join(shown(value) for value in allowed)
            raise NotTestable(f"no setting with {knob}={wanted} (there is {knob}={there})")
        settings = kept
    return settings


def same(value: Any, allowed: Sequence[Any]) -> bool:
    """Whether a stored value is one of those named; a GPU may be named without its number."""
    value = plain(value)
    return any(value == one or (one == "cuda" and str(value).startswith("cuda")) for one in allowed)


def grouped(
    settings: pd.DataFrame, keys: Sequence[str], relevant: Callable[[Key], bool]
) -> tuple[list[Group], dict[str, list[str]]]:
    """The groups, and which other knobs differ within them although they need not, each with its values."""
    settings = settings[[relevant(key) for key in values_of(settings, keys)]]
    others, along_with = apart(settings, keys)
    groups: dict[Key, Group] = {}
    for setting, key, rest in zip(
        settings["setting_id"], values_of(settings, keys), values_of(settings, others), strict=True
    ):
        if rest not in groups:
            groups[rest] = Group(setting_name(dict(zip(others, rest, strict=True)), others), {})
        known = groups[rest].settings.setdefault(key, setting)
        if known != setting:
            raise NotTestable(f"the settings {known} and {setting} have the same knobs")
    return list(groups.values()), along_with


def spoken_of(settings: pd.DataFrame, keys: Sequence[str], relevant: Callable[[Key], bool]) -> pd.DataFrame:
    """Those that a claim compares, which decide what is measured of them and where; all of them where there is none."""
    own = settings[[relevant(key) for key in values_of(settings, keys)]]
    return settings if own.empty else own


def values_of(settings: pd.DataFrame, knobs: Sequence[str]) -> list[Key]:
    """The values of some knobs, setting by setting."""
    columns = [[plain(value) for value in settings[knob]] for knob in knobs]
    return list(zip(*columns, strict=True)) if columns else [()] * len(settings)


def apart(settings: pd.DataFrame, keys: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The knobs besides `keys` that tell the settings apart; and those that are confounded with `keys`, with their
    values.

    What follows from another knob by its meaning (see `ablate.config.dependence`) is neither. A knob is confounded
    with `keys` where it differs between settings that agree in all knobs of the former kind, and never without `keys`.
    """
    told, together = list(keys), list[str]()
    for name in independent({name: [plain(value) for value in settings[name]] for name in columns_in(settings)}):
        if name in told:
            continue
        if not told or settings.groupby(told, dropna=False)[name].nunique(dropna=False).max() > 1:
            told.append(name)
            continue
        together.append(name)
    others = told[len(keys) :]
    groups = settings.groupby(others, dropna=False) if others else settings.assign(_all=0).groupby("_all")
    confounded = [name for name in together if keys and groups[name].nunique(dropna=False).max() > 1]
    return others, {name: list(dict.fromkeys(shown(value) for value in settings[name])) for name in confounded}


def absent(keys: Sequence[str], wanted: Collection[Key], present: Collection[Key]) -> list[str]:
    """`sampling=random` for each wanted combination that is not there."""
    return [
        " ".join(f"{name}={shown(value)}" for name, value in zip(keys, key, strict=True))
        for key in wanted
        if key not in present
    ]


def in_size(values: Collection[Any]) -> list[Any]:
    """Numbers by size, words behind them; null, which stands for no limit, comes last."""
    return sorted(values, key=lambda value: (value is None, isinstance(value, str), value))


def plain(value: Any) -> Any:
    """A value of a frame as YAML gives it: None for a missing one, no NumPy type."""
    if value is None or value != value or value is pd.NA:
        return None
    return value.item() if hasattr(value, "item") else value
