"""Knobs as Python values, as the words of a command line: `num_hiddens=[32, 256]` is `num_hiddens=32,256`."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_origin

from ablate.config.errors import ConfigError, counted
from ablate.config.knobs import knobs
from ablate.config.overrides import SWEEP_FUNCTION
from ablate.config.quoting import is_quoted, quote

SPECIAL = re.compile(r"[,()\[\]{}\"'$=:\\]|^\s|\s$|^$|^(?i:null)$")
"""Texts that a command line would have to quote."""


def words_of(given: Mapping[str, Any]) -> list[str]:
    """`knob=value` of each; a list is swept, of a knob that is itself a list a list of lists.

    A knob of a group stands under its dotted name, `**{"model.gates.reset": 1}`, or in a mapping of the group:
    `model={"name": "gru", "gates": {"reset": 1}}`. Raises ConfigError for a value that no word can say.
    """
    return [f"{key}={_values(key, value)}" for key, value in _flat(given) if key != "hydra"]


def _flat(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A mapping's `name` is the choice itself: `{"model": {"name": "gru"}}` is `model=gru`."""
    for name, value in given.items():
        key = prefix.rstrip(".") if prefix and name == "name" else f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _values(key: str, value: Any) -> str:
    knob = knobs().get(key)
    is_list = knob is not None and get_origin(knob.kind) is list
    values = _listed(value)
    if ":" in key:
        return _together(key, values)
    if values is None:
        return _word(key, value)
    if not values:
        if is_list:
            return "[]"
        raise ConfigError(f"{key} is an empty list; give the values to sweep, or one value")
    if not is_list:
        return ",".join(_word(key, one) for one in values)
    each = [_listed(one) for one in values]
    if all(one is None for one in each):
        return _as_list(key, values)
    return ",".join(_as_list(key, one if one is not None else [one]) for one in each)


def _together(key: str, rows: list[Any] | None) -> str:
    """Knobs that change together, `num_hiddens:lr`: rows of a value each, (32, 1), or as they are typed, "32:1"."""
    names = key.split(":")
    if not rows:
        raise ConfigError(f"{key} needs a list of rows, such as {[tuple('VALUE' for _ in names)]}")
    words = []
    for row in rows:
        values = _listed(row)
        if values is not None and len(values) != len(names):
            raise ConfigError(
                f"{key} has the row {row!r}, {counted(len(values), 'value')} for {counted(len(names), 'knob')}"
            )
        words.append(str(row) if values is None else ":".join(map(_word, names, values)))
    return ",".join(words)


def _as_list(key: str, values: Iterable[Any]) -> str:
    return f"[{','.join(quote(one) if isinstance(one, str) else _word(key, one) for one in values)}]"


def _listed(value: Any) -> list[Any] | None:
    """The values of a list, tuple, range, array or column; None for a single value."""
    if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, Iterable):
        return None
    if isinstance(value, set | frozenset):
        return sorted(value)
    return list(value)


def _word(key: str, value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value  # of NumPy
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {value!r}; give a number, a text, True, False, None, or a list of these")
    knob = knobs().get(key)
    is_text = knob is not None and knob.is_text
    if is_text and not is_quoted(value) and (SPECIAL.search(value) or SWEEP_FUNCTION.fullmatch(value)):
        return quote(value)
    return value
