"""Names that were other ones until version 0.1: what is typed, or stored, in the old words still means the same.

Two axes had been given the same two words. `formulation` says which function is computed, `engine` what computes it.
"""

from collections.abc import Mapping
from typing import Any

KNOBS = {"impl": "formulation"}
"""Former name of a knob → its name."""

VALUES: dict[str, dict[str, str]] = {
    "formulation": {"api": "torch", "scratch": "textbook"},
    "engine": {"api": "torch_nn", "scratch": "eager"},
}
"""Knob → former name of a value → its name."""

METRICS = {"published_loss": "course_loss", "published_bleu": "course_bleu"}
"""Former name of a metric → its name."""

KEYS = {"cell_id": "setting_id"} | METRICS
"""Former name of a field of a stored file → its name."""


def knob_of(name: str) -> str:
    """The name of a knob, given by it or by its former one."""
    return KNOBS.get(name, name)


def value_of(knob: str, value: Any) -> Any:
    """A value of a knob (by its name of today) in the words of today; a list of values one by one."""
    if isinstance(value, list | tuple):
        return type(value)(value_of(knob, one) for one in value)
    return VALUES.get(knob, {}).get(value, value) if isinstance(value, str) else value


def with_todays_names(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs and their values in the words of today, at the level of a config where `formulation` and `engine` stand."""
    return {knob_of(name): value_of(knob_of(name), value) for name, value in knobs.items()}


_FORMER = (
    r"\u00",
    *(f'"{name}"' for name in [*KEYS, *KNOBS, *(old for values in VALUES.values() for old in values)]),
)


def may_hold(text: str) -> bool:
    """Whether a stored text could hold a former name: one that does not is read without the hook, twice as fast."""
    return any(former in text for former in _FORMER)  # several times as fast as one regular expression


def of_stored(values: dict[str, Any]) -> dict[str, Any]:
    """The hook with which stored JSON is read: its names are those of today, but for what an identity is made of."""
    out = {KEYS.get(name, name): value for name, value in values.items()}
    for part in ("config", "defaults", "knobs"):
        if isinstance(out.get(part), dict):
            out[part] = with_todays_names(out[part])
    return out | {"engine": value_of("engine", out["engine"])} if "engine" in out else out


def in_claim(entry: Any) -> Any:
    """An entry of a file of claims, its knobs and their values in the words of today."""
    if isinstance(entry, list):
        return [in_claim(one) for one in entry]
    if not isinstance(entry, dict):
        return entry
    along = knob_of(entry["along"]) if isinstance(entry.get("along"), str) else ""
    out = {knob_of(str(key)): value_of(knob_of(str(key)), in_claim(value)) for key, value in entry.items()}
    if isinstance(out.get("metric"), str):
        out["metric"] = METRICS.get(out["metric"], out["metric"])
    for key in ("along", "tuned"):
        if isinstance(out.get(key), str):
            out[key] = knob_of(out[key])
    return out | {
        key: value_of(along, out[key]) for key in ("ascending", "descending", "of", "to") if key in out and along
    }
