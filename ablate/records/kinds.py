"""Whether what was read from a file is of the type that its reader takes it for: `fits([1, None], list[int | None])`.

Stored files come from other machines, other versions, and by hand; what is checked where it is read needs no second
look in all the places that use it.
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

LARGEST = 2**63
"""From here on a whole number is none that a table can hold."""

Test = Callable[[Any], bool]


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type: a class, `Any`, `X | None`, `list[X]`, `dict[str, X]`."""
    return _test(kind)(value)


def misfit(values: Mapping[str, Any], kinds: Mapping[str, Any]) -> str:
    """The first of the names that has a value of another type than `kinds` says; empty where there is none."""
    for name, kind in kinds.items():
        if name in values and not _test(kind)(values[name]):
            return name
    return ""


def is_name(value: Any) -> bool:
    """Whether a stored id may be a part of a file's name: it then stays in its folder, whoever wrote it."""
    return isinstance(value, str) and value.replace("-", "").replace("_", "").isalnum() and len(value) <= 100


@cache
def _test(kind: Any) -> Test:
    if kind is Any:
        return lambda value: True
    if kind is float:
        return _is_number
    if kind is int:
        return _is_whole
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        tests = tuple(map(_test, arguments))
        return lambda value: any(test(value) for test in tests)
    if origin is list:
        item = _test(arguments[0])
        return lambda value: isinstance(value, list) and all(map(item, value))
    if origin is dict:
        of_value = _test(arguments[1])
        return lambda value: isinstance(value, dict) and all(map(of_value, value.values()))
    return lambda value: isinstance(value, NoneType if kind is None else kind)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -LARGEST <= value < LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)
