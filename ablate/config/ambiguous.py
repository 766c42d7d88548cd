"""Words that are read in one way and were perhaps meant in another, `lr=1,5`: a line that says both."""

import os
import re

from ablate.config.knobs import knobs, members_of
from ablate.config.overrides import SWEEP_FUNCTION, Override
from ablate.config.quoting import quote, split, unquote
from ablate.config.schema import FILES_OF_PARTS
from ablate.config.shell import shell_line


def decimal_comma(word: str) -> str | None:
    """A line for `lr=1,5`, two values and in many countries one number, and for `num_hiddens=1,000`; else None."""
    override = Override.read(word)
    whole_number = without_separators(override.key, override.value or "")
    if whole_number is not None:
        several = split(override.value or "")
        values = f"{', '.join(several[:-1])} and {several[-1]}"
        return f"{word} is {len(several)} values, {values}; one number is written {override.key}={whole_number}"
    number = with_decimal_point(override.key, override.value or "")
    if number is None:
        return None
    whole, part = number.split(".")
    return f"{word} is two values, {whole} and {part}; one number has a decimal point: {override.key}={number}"


def without_separators(key: str, text: str) -> str | None:
    """`1000` of `1,000`, where a knob is a whole number and the groups are of three digits, one at least not to be
    written so as a value of its own (`000`, `050`); None for all else."""
    knob = knobs().get(key)
    if knob is None or int not in members_of(knob.kind) or float in members_of(knob.kind):
        return None
    found = re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+", text.strip())
    groups = text.strip().split(",")
    return "".join(groups) if found and any(group.startswith("0") for group in groups[1:]) else None


def with_decimal_point(key: str, text: str) -> str | None:
    """`1.5` of `1,5`, where a knob is a number that may have a fraction; None for all else."""
    knob = knobs().get(key)
    found = re.fullmatch(r"([-+]?\d+),(\d+)", text.strip())
    return f"{found[1]}.{found[2]}" if knob and found and float in members_of(knob.kind) else None


FILES = tuple(f"data.{name}" for name in ("path", *FILES_OF_PARTS))
"""Knobs whose values are names of files."""


def comma_in_path(word: str) -> str | None:
    """A line for `data.path=a,b.txt`, two files, where these are not there or one of the whole name is; else None."""
    override = Override.read(word)
    value = override.value or ""
    parts = [unquote(part.strip()) for part in split(value)]
    there = [os.path.exists(os.path.expanduser(name)) for name in (value, *parts)]
    if override.key not in FILES or len(parts) < 2 or SWEEP_FUNCTION.fullmatch(value.strip()):
        return None
    if not there[0] and all(there[1:]):
        return None
    quoted = shell_line(f"{override.key}={quote(value)}")
    return f"{word} is {len(parts)} files, {', '.join(parts)}; a name with a comma stands in quotes: {quoted}"
