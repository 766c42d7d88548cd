"""The rows of a table of trials, of which one that is damaged costs no other: it is named and left out."""

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ablate.records.kinds import LARGEST

REQUIRED = ("number", "state", "n", "started", "ended", "worker")
NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)", re.ASCII | re.IGNORECASE)
MOMENT = re.compile(r"(?!0)\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.]\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
YEARS = range(1700, 2200)
"""Those that a column of moments can hold."""

Test = Callable[[str], bool]


def is_number(text: str) -> bool:
    """A number as a table has it, infinities too."""
    return bool(NUMBER.fullmatch(text))


def is_finite(text: str) -> bool:
    return is_number(text) and abs(float(text)) < float("inf")


def is_whole(text: str) -> bool:
    """`3`, or the `3.0` that a column with gaps has made of it."""
    return is_finite(text) and float(text).is_integer() and abs(float(text)) < LARGEST


def is_moment(text: str) -> bool:
    try:
        return bool(MOMENT.fullmatch(text)) and datetime.fromisoformat(text).year in YEARS
    except ValueError:
        return False


OF_ALL: dict[str, tuple[Test, str]] = {
    "n": (is_whole, "a whole number"),
    "seconds": (is_finite, "a number"),
    "started": (is_moment, "a moment"),
    "ended": (is_moment, "a moment"),
}
"""Column → what its cells are where they are not empty, as a test and in words."""
OF_KIND: dict[str, tuple[Test, str]] = {"int": (is_whole, "a whole number"), "float": (is_finite, "a number")}
"""Kind of a dimension that is searched → the same of its knob."""


@dataclass
class TrialRows:
    """The rows of a table that are trials, and a line on each of those that are none."""

    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """A table of the trials alone."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()


def trial_rows_of(text: str, space: Mapping[str, Mapping[str, Any]], objectives: Collection[str] = ()) -> TrialRows:
    """Each row of the text of a table as its searched knobs and its objectives need it.

    Raises ValueError for a table without a column that every table of trials has.
    """
    rows = _numbered(io.StringIO(text.removeprefix("\ufeff"), newline="").readlines())
    found = TrialRows(next(rows, (0, []))[1])
    if lacking := next((name for name in (*REQUIRED, *objectives) if name not in found.columns), ""):
        raise ValueError(f"it lacks the column {lacking}")
    kinds = OF_ALL | dict.fromkeys(objectives, (is_number, "a number"))
    kinds |= {name: OF_KIND[one["kind"]] for name, one in space.items() if one["kind"] in OF_KIND}
    tests = [(place, name, *kinds[name]) for place, name in enumerate(found.columns) if name in kinds]
    number, state = found.columns.index("number"), found.columns.index("state")
    seen = set[float]()
    for line, row in rows:
        if len(row) != len(found.columns):
            wrong = f"{len(row)} of {len(found.columns)} fields"
        elif not is_whole(row[number]) or float(row[number]) < 0:
            wrong = f"number is {row[number]!r:.40}, not a whole number"
        elif float(row[number]) in seen:
            wrong = f"trial {row[number]} a second time"
        elif not row[state]:
            wrong = "no state"
        elif not _encodable(row):
            wrong = "not a text in UTF-8"
        else:
            strange = [(name, row[at], what) for at, name, fits, what in tests if row[at] and not fits(row[at])]
            wrong = "".join(f"{name} is {cell!r:.40}, not {what}" for name, cell, what in strange[:1])
        if wrong:
            found.problems.append(f"line {line}: {wrong}")
        else:
            seen.add(float(row[number]))
            found.rows.append(row)
    return found


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The line at which each row begins, and its fields; a quotation mark that is never closed costs its own line."""
    width, begin = 0, 0
    while begin < len(lines):
        reader = csv.reader(lines[begin:])
        while True:
            first = begin + reader.line_num
            try:
                row = next(reader, None)
            except csv.Error:  # longer than any field of ours
                row = [""]
            if row is None:
                return
            width = width or len(row)
            if row:
                yield first + 1, row
            if len(row) != width and begin + reader.line_num > first + 1:
                begin = first + 1
                break


def _encodable(row: Sequence[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True
