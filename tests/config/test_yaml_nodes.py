"""YAML that stands for more than it seems to, or for nothing: one line, without a wait. CPU, no time."""

from pathlib import Path

import pytest

from ablate.config.errors import UserError
from ablate.config.yaml_nodes import MOST, nodes_of, value_of

LAUGHS = "\n".join(["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40))])
NONE = {
    "aliases of aliases": (LAUGHS, f"{MOST:,}"),
    "a list that holds itself": ("a: &a [*a]", f"{MOST:,}"),
    "brackets": ("[" * 5000, "nested"),
    "a table that never ends": ("{a: ", "line"),
    "an object of Python's": ("!!python/object/apply:os.system [true]", "constructor"),
    "no date": ("2001-99-99", "month"),
    "no number": ("!!int abc", "abc"),
    "a number that has no end": (f"a: {{b: [0x{'f' * 4000}]}}", "line 1: a whole number of 4002 digits"),
}


@pytest.mark.full
@pytest.mark.parametrize(("text", "says"), NONE.values(), ids=NONE)
def test_what_no_value_can_be_made_of(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        value_of(text, Path("mine.yaml"))
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_are_as_good_as_what_they_stand_for() -> None:
    text = "a: &a {lr: [1, 2]}\nb: *a\nc: {<<: *a, d: 1}"
    assert value_of(text, Path("mine.yaml")) == {"a": {"lr": [1, 2]}, "b": {"lr": [1, 2]}, "c": {"lr": [1, 2], "d": 1}}
    assert nodes_of(text, Path("mine.yaml")) is not None
    assert nodes_of("", Path("mine.yaml")) is None
