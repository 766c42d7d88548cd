"""The curve of a run: as a file of its own, and out of curves.parquet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ablate.records import tables
from ablate.records.parquet_files import TableError
from ablate.records.places import curves_path
from ablate.records.reading import RecordError, read_text
from ablate.records.tables import Curve, Row


def read_curve(path: Path) -> Curve:
    """The columns of a curve in a file of its own. Raises RecordError."""
    try:
        lines = read_text(path).splitlines()
        header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
        return {
            name: [float(row[column]) if row[column] else None for row in rows] for column, name in enumerate(header)
        }
    except (ValueError, IndexError) as error:
        raise RecordError(f"{path}: {error}") from error


def packed_curve(sweep: Path, row: Row) -> Curve:
    """The curve of a run whose record is a row of runs.parquet.

    Raises RecordError where it is not there, or was edited.
    """
    try:
        curves = tables.curves_of(sweep)
        if curves is None:
            raise TableError(f"{curves_path(sweep)}: is missing")
        return curves.curve(row)
    except TableError as error:
        raise RecordError(str(error)) from error


def curve_csv(curve: Mapping[str, Sequence[float | None]], exact: bool = True) -> str:
    """A curve as text, with seven digits of each number, or as many as it takes to read back the same."""
    names = list(curve)
    rows = zip(*(curve[name] for name in names), strict=True)
    lines = [",".join(names), *(",".join(_number(value, exact) for value in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _number(value: float | None, exact: bool) -> str:
    if value is None:
        return ""
    short = format(value, ".7g")
    return short if not exact or float(short) == value or value != value else repr(value)
