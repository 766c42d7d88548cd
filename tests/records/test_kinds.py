"""Whether stored values are of the type that their readers take them for, by hand. CPU, no time."""

import math
from typing import Any

import pytest

from ablate.records.kinds import fits, is_name, misfit

KINDS: list[tuple[Any, list[Any], list[Any]]] = [
    (str, ["", "a"], [None, 1, ["a"]]),
    (int, [0, -1, 2**62], [True, 1.0, 2**63, 10**30, None, "1"]),
    (float, [0.5, 1, math.inf], [True, 10**30, None, "1"]),
    (bool, [True], [0, 1, None]),
    (float | None, [None, 1.5], ["a", [1]]),
    (list[str], [[], ["a"]], [None, "a", ["a", 1], ("a",)]),
    (dict[str, list[float | None]], [{}, {"a": [1, None]}], [{"a": 1}, {"a": ["x"]}, []]),
    (list[dict[str, Any]], [[{"a": object()}]], [[1], {"a": 1}]),
    (Any, [None, object()], []),
]


@pytest.mark.parametrize(("kind", "fitting", "others"), KINDS, ids=map(str, (kind for kind, *_ in KINDS)))
def test_types(kind: Any, fitting: list[Any], others: list[Any]) -> None:
    assert all(fits(value, kind) for value in fitting)
    assert not any(fits(value, kind) for value in others)


def test_the_first_that_does_not_fit_is_named() -> None:
    assert misfit({"a": 1, "b": "x", "c": []}, {"a": int, "b": int, "c": str, "d": str}) == "b"
    assert misfit({"a": 1}, {"a": int, "b": str}) == ""


def test_names_that_stay_in_their_folder() -> None:
    assert all(map(is_name, ("0123456789ab", "a-b_c", "é1")))
    strange = ("", ".", "..", "a/b", "/a", "a\\b", "a.b", "a b", "a\0", "a" * 101, None, 5, "-")
    assert not any(map(is_name, strange))
