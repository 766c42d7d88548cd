"""A data frame as the text of a CSV file, as `DataFrame.to_csv` has it; of long frames several times as fast.

Frames of runs have many columns, and most of these hold one value, or few: a text is made of each once.

A spreadsheet takes a cell that begins with one of FORMULA for a formula, and computes it when the file is opened. A
text like that, which may come from a corpus, a knob or a plugin of somebody else's, gets an apostrophe before it;
numbers, and texts that are numbers, stay as they are.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("object", "str", "string", "float64", "int64", "bool", "Int64", "boolean")
"""Types of columns that are written here; a frame with others is left to pandas."""

AT_ONCE = 10_000
"""Rows whose cells are held at a time: all of those of 100,000 runs take 110 MB."""

FORMULA = ("=", "+", "-", "@", "\t", "\n")
"""What a formula begins with."""


def as_text(value: Any) -> Any:
    """A value that a spreadsheet takes for what it is: a text that it would compute with an apostrophe before it."""
    if not isinstance(value, str):
        return value
    if "\r" in value:  # which would begin a new row
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    if not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def of_text(value: Any) -> Any:
    """What `as_text` was given, of what it made."""
    return value[1:] if isinstance(value, str) and as_text(value[1:]) == value else value


def csv_text(frame: "pd.DataFrame") -> str:
    """The columns of a frame, without its index, after a line of their names; what is missing is empty."""
    if len(frame) < 2 or frame.shape[1] < 2 or any(kind.name not in KINDS for kind in frame.dtypes):
        texts = frame.apply(lambda column: column.map(as_text) if column.dtype.kind == "O" else column)
        return (texts if len(frame) else frame).rename(columns=as_text).to_csv(index=False, lineterminator="\n")
    blocks = (frame.iloc[first : first + AT_ONCE] for first in range(0, len(frame), AT_ONCE))
    return "".join([f"{','.join(_cells(frame.columns))}\n", *map(_rows, blocks)])


def _rows(block: "pd.DataFrame") -> str:
    line, varying = list[str](), list[list[str]]()
    for place in range(block.shape[1]):
        cells = _column(block.iloc[:, place])
        if isinstance(cells, str):
            line.append(cells.replace("%", "%%"))
        else:
            line.append("%s")
            varying.append(cells)
    pattern = f"{','.join(line)}\n"
    rows: Iterable[tuple[str, ...]] = zip(*varying, strict=True) if varying else [()] * len(block)
    return "".join(map(pattern.__mod__, rows))


def _column(column: "pd.Series") -> str | list[str]:
    """The cells of a column; one where all are the same."""
    import pandas as pd

    missing = column.isna().to_numpy()
    if missing.all():
        return ""
    if isinstance(column.dtype, pd.StringDtype):
        codes, different = pd.factorize(column)
        texts = [*_cells(different.tolist()), ""]  # the last one of what is missing, whose code is -1
        return texts[0] if len(texts) == 2 and not missing.any() else [*map(texts.__getitem__, codes.tolist())]
    if column.dtype.kind in "fi" and column.dtype.name.islower():
        bits = column.to_numpy().view("int64")  # that tell 0.0 from -0.0
        if (bits == bits[0]).all():
            return str(column.iloc[0])
    values = column.tolist()
    if missing.any():
        values = ["" if gone else value for value, gone in zip(values, missing.tolist(), strict=True)]
    return [*_cells(values)] if column.dtype == object else [*map(str, values)]


def _cells(values: Iterable[Any]) -> Iterator[str]:
    """Values as they stand between the commas: in quotation marks where they have to."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for value in values:
        writer.writerow(("", as_text(value)))
        yield text.getvalue()[1:-1]
        text.seek(0)
        text.truncate()
