"""Frames as CSV: the text that pandas writes, to the last character. CPU, no time."""

import csv
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.records.csv_text import as_text, csv_text, of_text

FRAMES: dict[str, dict[str, Any]] = {
    "numbers": {
        "a": [1.5, np.nan, -0.0],
        "b": [0.0, -0.0, 0.0],
        "c": [1, 2, 3],
        "d": [1e-8, 1e16, 123456789.123456789],
    },
    "one value": {"a": [0.1] * 3, "b": [7] * 3, "c": [True] * 3, "d": [-0.0] * 3, "e": ["x,y"] * 3, "f": ["100 %"] * 3},
    "texts": {"a": ['say "so"', "a,b", None], "b": ["line\nend", "a", ""], "c": ["ünï", " ", "中文"]},
    "mixed": {"a": [1, True, 1.0], "b": [None, "null", np.nan], "c": [0.5, "a,b", [1, 2]], "d": ["x", 1, None]},
    "missing": {"a": [None] * 3, "b": [np.nan] * 3, "c": pd.array([1, None, 3], "Int64"), "d": pd.array([None] * 3)},
    "nullable": {
        "a": pd.array([True, None, False], "boolean"),
        "b": pd.array(["x", None, "y"], "string"),
        "c": [1] * 3,
    },
    "times": {"a": pd.to_datetime(["2026-11-28", "2026-11-29", None]), "b": [1, 2, 3]},
    "other types": {"a": np.array([0.1, 0.2, 0.3], "float32"), "b": pd.Categorical(["x", "y", "x"])},
    "names of columns": {"a,b": [1, 2, 3], 'c"d': [1, 2, 3], "100 %": [1, 1, 1]},
    "one column": {"a": [None, 1.0, 2.0]},
    "one row": {"a": ["x"], "b": [None]},
    "no row": {"a": [], "b": []},
}


@pytest.mark.parametrize("at_once", [1, 2, 10_000])
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_as_pandas_writes_it(frame: dict[str, Any], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.records.csv_text.AT_ONCE", at_once)
    made = pd.DataFrame(frame)
    assert csv_text(made) == made.to_csv(index=False, lineterminator="\n")


def test_no_column() -> None:
    assert csv_text(pd.DataFrame()) == pd.DataFrame().to_csv(index=False)


FORMULAS = ("=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\n=1", '=HYPERLINK("x")', "-", "=")
NUMBERS = ("-1", "+1", "-1e-5", "-inf", "a=1", " =1", "")


@pytest.mark.parametrize("rows", [1, 3])
def test_a_spreadsheet_computes_nothing(rows: int) -> None:
    """A text that begins as a formula does gets an apostrophe; what is a number, or begins otherwise, none."""
    for text in (*FORMULAS, *NUMBERS):
        frame = pd.DataFrame({"a": [text] * rows, text or "b": ["x"] * rows, "c": [-1.5] * rows})
        read = list(csv.reader(io.StringIO(csv_text(frame), newline="")))
        first = f"'{text}" if text in FORMULAS else text
        assert read[0] == ["a", first or "b", "c"]
        assert read[1:] == [[first, "x", "-1.5"]] * rows
        assert of_text(as_text(text)) == text
    assert (as_text("\r=1"), as_text("a\r\n=1\r=2")) == ("'\n=1", "a\n=1\n=2"), "no row of its own"
