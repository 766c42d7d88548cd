"""A data frame as the text of a CSV file, as `DataFrame.to_csv` has it; of long frames several times as fast.

Frames of runs have many columns, and most of these hold one value, or few: a text is made of each once.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("object", "str", "string", "float64", "int64", "bool", "Int64", "boolean")
"""Types of columns that are written here; a frame with others is left to pandas."""


def csv_text(frame: "pd.DataFrame") -> str:
    """The columns of a frame, without its index, after a line of their names; what is missing is empty."""
    if len(frame) < 2 or frame.shape[1] < 2 or any(kind.name not in KINDS for kind in frame.dtypes):
        return frame.to_csv(index=False, lineterminator="\n")
    line, varying = list[str](), list[list[str]]()
    for place in range(frame.shape[1]):
        cells = _column(frame.iloc[:, place])
        if isinstance(cells, str):
            line.append(cells.replace("%", "%%"))
        else:
            line.append("%s")
            varying.append(cells)
    pattern = f"{','.join(line)}\n"
    rows: Iterable[tuple[str, ...]] = zip(*varying, strict=True) if varying else [()] * len(frame)
    return f"{','.join(_cells(frame.columns))}\n{''.join(map(pattern.__mod__, rows))}"


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
        writer.writerow(("", value))
        yield text.getvalue()[1:-1]
        text.seek(0)
        text.truncate()
