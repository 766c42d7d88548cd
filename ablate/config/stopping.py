"""When a run ends before its epochs do: `until=val_perplexity<9`, `budget=10m`, in words and as they are read."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.config.errors import ConfigError, listing, nearest
from ablate.config.shell import shell_line

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}
"""Of a length of time, in seconds."""

SIGNS = ("<", ">")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def condition(text: str) -> tuple[str, str, float] | None:
    """Metric, sign and number of `val_perplexity<9`, with or without spaces; None for what is no such condition."""
    found = re.fullmatch(rf"\s*(\w+)\s*([{''.join(SIGNS)}])\s*({NUMBER})\s*", text)
    return None if found is None else (found[1], found[2], float(found[3]))


@dataclass(frozen=True)
class Rule:
    """A metric that has to fall below a number, or to rise above it."""

    metric: str
    sign: str
    number: float

    @classmethod
    def read(cls, text: str) -> "Rule":
        """`val_perplexity<9`, with or without spaces. Raises ConfigError for what is no rule."""
        found = condition(text)
        if found is None:
            what = f"write a metric, {listing(SIGNS)} and a number: {shell_line('until=val_perplexity<9')}"
            raise ConfigError(f"until is {text!r}; {what}")
        return cls(*found)

    def holds(self, measured: Mapping[str, Any]) -> bool:
        """Whether it is fulfilled by what was measured, metric → number or None."""
        value = measured.get(self.metric)
        return value is not None and (value < self.number if self.sign == "<" else value > self.number)

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.number:.12g}"


def check_metric(rule: Rule, measured: Sequence[str]) -> None:
    """Raise ConfigError unless a rule names one of the metrics that are `measured` after an epoch."""
    if rule.metric not in measured:
        names = list(measured)
        raise ConfigError(
            f"until names {rule.metric!r}, which is not measured after an epoch here; choose {listing(names)}"
            f"{nearest(rule.metric, names)}"
        )


def seconds_of(name: str, text: str) -> float:
    """Seconds of `90s`, `30m`, `1.5h`. Raises ConfigError, which calls the value by its `name`, for what is no time."""
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text.strip().removeprefix(number)
    try:
        seconds = float(number) * UNITS[unit]
    except (KeyError, ValueError):
        seconds = 0.0
    if not sys.float_info.min <= seconds < float("inf"):
        raise ConfigError(f"{name} is {text!r}, no time; write a number and its unit, such as 90s, 30m or 2h")
    return seconds


def as_seconds(seconds: float) -> str:
    """The one way to write a length of time: `90s`."""
    return f"{seconds:.12g}s"
