"""The knobs that a claim may name, and their values: what the typed configuration allows."""

import math
from dataclasses import Field, fields
from typing import Any

from ablate.analysis.frames import KNOBS
from ablate.config.errors import ConfigError, listing, nearest
from ablate.config.schema import Config, DataConfig, ModelConfig, OptimizerConfig, ScheduleConfig, TaskConfig


def _fields() -> dict[str, Field[Any] | None]:
    config, model, data, optimizer, schedule, task = (
        {field.name: field for field in fields(kind)}
        for kind in (Config, ModelConfig, DataConfig, OptimizerConfig, ScheduleConfig, TaskConfig)
    )
    elsewhere = {"unit": data["tokens"], "cleaning": data["cleaning"]}
    elsewhere |= {"optimizer": optimizer["name"], "schedule": schedule["name"], "task": task["name"]}
    # Any name may be that of a model, a corpus or a device; None: a text without a list of choices.
    names: dict[str, Field[Any] | None] = dict.fromkeys(
        ("model", "corpus", "corpus_sha256", "gates", "betas", "device")
    )
    known = task | optimizer | model | config | elsewhere | names
    return {name: known[name] for name in (*KNOBS, "device")}


KNOB_FIELDS = _fields()
"""Knob → its field in the typed configuration, where it has one of its own."""


def is_number(knob: str) -> bool:
    """Whether the values of a knob are numbers."""
    field = KNOB_FIELDS[knob]
    return field is not None and str(field.type).startswith(("int", "float"))


def knob_value(knob: str, value: Any) -> Any:
    """A value as the records have it. Raises ConfigError for one that the knob cannot have."""
    field = KNOB_FIELDS[knob]
    kind = "str | None" if field is None else str(field.type)
    if value is None:
        # Where a knob does not apply, as with the activation of an lstm, it has no value.
        return None
    if kind.startswith("bool"):
        if not isinstance(value, bool):
            raise ConfigError(f"{knob} is {value!r}; it must be true or false")
        return value
    if is_number(knob):
        return _number(knob, value, whole=kind.startswith("int"))
    if not isinstance(value, str):
        raise ConfigError(f"{knob} is {value!r}; it must be a text")
    choices = field.metadata.get("choices") if field else None
    if choices and value not in choices:
        raise ConfigError(f"{knob} is {value!r}; choose {listing(choices)}{nearest(value, choices)}")
    return value


def _number(knob: str, value: Any, whole: bool) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # YAML reads 1e-3 as a text
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{knob} is {value!r}; it must be a number")
    if whole and number != int(number):
        raise ConfigError(f"{knob} is {value}; it must be a whole number")
    field = KNOB_FIELDS[knob]
    limits = field.metadata if field else {}
    if "minimum" in limits and number < limits["minimum"]:
        raise ConfigError(f"{knob} is {value}; it must be {limits['minimum']} or more")
    if "above" in limits and number <= limits["above"]:
        raise ConfigError(f"{knob} is {value}; it must be above {limits['above']}")
    return int(number) if whole else number
