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
    """A number as a table has it, infinities too, and spaces around it."""
    return bool(NUMBER.fullmatch(text.strip(" ")))


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
        # in quotation marks all, for without them a lone "\r" would begin a row
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([self.columns, *self.rows])
        return text.getvalue()


def trial_rows_of(text: str, space: Mapping[str, Mapping[str, Any]], objectives: Collection[str] = ()) -> TrialRows:
    """Each row of the text of a table as its searched knobs and its objectives need it.

    Raises ValueError for a table without a column that every table of trials has, and where its first line is
    damaged.
    """
    rows = _numbered(io.StringIO(text.removeprefix("\ufeff"), newline="").readlines())
    _, columns, wrong = next(rows, (0, [], ""))
    if wrong:
        raise ValueError(f"its first line has {wrong}")
    found = TrialRows(columns)
    if lacking := next((name for name in (*REQUIRED, *objectives) if name not in found.columns), ""):
        raise ValueError(f"it lacks the column {lacking}")
    kinds = OF_ALL | dict.fromkeys(objectives, (is_number, "a number"))
    kinds |= {name: OF_KIND[one["kind"]] for name, one in space.items() if one["kind"] in OF_KIND}
    tests = [(place, name, *kinds[name]) for place, name in enumerate(found.columns) if name in kinds]
    number, state = found.columns.index("number"), found.columns.index("state")
    seen = set[float]()
    for line, row, wrong in rows:
        if wrong:
            pass  # and no field of it can be told
        elif len(row) != len(found.columns):
            wrong = f"{len(row)} of {len(found.columns)} fields"
        elif not is_whole(row[number]) or float(row[number]) < 0:
            wrong = f"number is {row[number]!r:.40}, not a whole number"
        elif float(row[number]) in seen:
            wrong = f"trial {row[number].strip()} a second time"
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


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, list[str], str]]:
    """The line at which each row begins, its fields, and why they are no row; empty where they are one.

    A quotation mark that is never closed costs its own line: what follows is read again.
    """
    header, begin = list[str](), 0
    while begin < len(lines):
        reader = csv.reader([*lines[begin:], "\n"])  # the last of which belongs to no row but to an open one
        while True:
            first, wrong = begin + reader.line_num, ""
            try:
                row = next(reader, None)
            except csv.Error:
                row, wrong = [""], f"a field of more than {csv.field_size_limit()} characters"
            if row is None:
                return
            if not row:
                continue
            after = begin + reader.line_num
            several = after > first + 1
            if several and (after > len(lines) or _hold_trial(lines[first + 1 : after], header)):
                wrong = "a quotation mark that is never closed"
            header = header or row
            yield first + 1, row, wrong
            if several and (wrong or len(row) != len(header)):
                begin = first + 1
                break


def _hold_trial(lines: Sequence[str], header: Sequence[str]) -> bool:
    """Whether one of the later lines of a row has, alone, all fields and the number of a trial.

    Of a first line each is taken for one: no name of a column has several.
    """
    if not header:
        return True
    for line in lines:
        try:
            row = next(csv.reader([line]), [])
        except csv.Error:
            continue
        if "number" in header and len(row) == len(header) and is_whole(row[header.index("number")]):
            return True
    return False


def _encodable(row: Sequence[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True
