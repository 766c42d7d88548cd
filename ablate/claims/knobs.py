"""The knobs that a claim may name, and their values: what the typed configuration allows."""

import math
from functools import lru_cache
from typing import Any, get_args, get_origin

from ablate.config.columns import OF_EXPERIMENTS, column, columns
from ablate.config.errors import ConfigError, listing, nearest
from ablate.config.knobs import NamedKnob, knobs
from ablate.config.registry import revision

TEXTS = ("model", "corpus", "corpus_sha256", "gates", "device")
"""Columns of which any text may be a value: that of a model, a corpus or a device."""


def knob_fields() -> dict[str, NamedKnob | None]:
    """Column that a claim may name → its knob; None for a text without a list of choices."""
    known = _knob_fields(revision())
    return known | {name: None for name in OF_EXPERIMENTS if name not in known}


@lru_cache(1)
def _knob_fields(_: tuple[int, ...]) -> dict[str, NamedKnob | None]:
    known: dict[str, NamedKnob | None] = {column(key): knob for key, knob in reversed(knobs().items()) if "." in key}
    known |= {column(key): knob for key, knob in knobs().items() if "." not in key}
    known |= {group: knobs()[f"{group}.name"] for group in ("optimizer", "schedule", "task")}
    known |= {"unit": knobs()["data.tokens"], "cleaning": knobs()["data.cleaning"]} | dict.fromkeys(TEXTS)
    return {name: known.get(name) for name in (*columns(), "device")}


def members(knob: str) -> tuple[Any, ...]:
    """The types of a knob's values."""
    found = knob_fields()[knob]
    if found is None:
        return tuple(OF_EXPERIMENTS.get(knob, ())) or (str,)
    if get_origin(found.kind) is list:
        return (str,)
    return get_args(found.kind) or (found.kind,)


def is_number(knob: str) -> bool:
    """Whether the values of a knob are numbers."""
    return bool({int, float} & set(members(knob)))


def knob_value(knob: str, value: Any) -> Any:
    """A value as the records have it. Raises ConfigError for one that the knob cannot have."""
    found, kinds = knob_fields()[knob], members(knob)
    if value is None:
        # Where a knob does not apply, as with the activation of an lstm, it has no value.
        return None
    if bool in kinds:
        if not isinstance(value, bool):
            raise ConfigError(f"{knob} is {value!r}; it must be true or false")
        return value
    if isinstance(value, str) and found is not None and value in found.metadata.get("words", ()):
        return value
    if is_number(knob):
        return _number(knob, value, whole=float not in kinds)
    if not isinstance(value, str):
        raise ConfigError(f"{knob} is {value!r}; it must be a text")
    choices = found.metadata.get("choices") if found else None
    if choices and value not in choices:
        raise ConfigError(f"{knob} is {value!r}; choose {listing(choices)}{nearest(value, choices)}")
    return value


def _number(knob: str, value: Any, whole: bool) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # YAML reads 1e-3 as a text
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{knob} is {value!r}; it must be a number")
    if whole and number != int(number):
        raise ConfigError(f"{knob} is {value}; it must be a whole number")
    found = knob_fields()[knob]
    limits = found.metadata if found else {}
    if "minimum" in limits and number < limits["minimum"]:
        raise ConfigError(f"{knob} is {value}; it must be {limits['minimum']} or more")
    if "above" in limits and number <= limits["above"]:
        raise ConfigError(f"{knob} is {value}; it must be above {limits['above']}")
    return int(number) if whole else number
