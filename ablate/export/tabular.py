"""Runs, settings and curves as files of a table program."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ablate.config.errors import UserError
from ablate.export.exported import Exported, library
from ablate.records.files import replacing, write_csv

MOST_ROWS = 1_048_575
"""Rows below the heading of an Excel sheet."""


def sheets(frames: Exported) -> dict[str, pd.DataFrame]:
    return {"runs": frames.runs, "settings": frames.settings, "curves": frames.curves}


def to_csv(frames: Exported, folder: Path) -> None:
    """runs.csv, settings.csv and curves.csv."""
    for name, frame in sheets(frames).items():
        write_csv(folder / f"{name}.csv", frame)


def to_parquet(frames: Exported, folder: Path) -> None:
    """runs.parquet, settings.parquet and curves.parquet; a knob of numbers and texts is one of texts there."""
    library("pyarrow", "parquet", "pyarrow")
    for name, frame in sheets(frames).items():
        with replacing(folder / f"{name}.parquet") as file:
            file.write(_of_one_kind(frame).to_parquet(None, index=False))


def to_xlsx(frames: Exported, path: Path) -> None:
    """One workbook of three sheets."""
    illegal = library("openpyxl.cell.cell", "xlsx").ILLEGAL_CHARACTERS_RE
    if path.suffix.lower() != ".xlsx":
        raise UserError(f"{path} is no name of a workbook; give --out FILE.xlsx")
    if len(frames.curves) > MOST_ROWS:
        raise UserError(
            f"the curves have {len(frames.curves):,} rows, more than a workbook's sheet; choose --to parquet"
        )
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer, engine="openpyxl") as writer:
        for name, frame in sheets(frames).items():
            texts = {column: _cells(frame[column], illegal) for column in frame if frame[column].dtype.kind == "O"}
            known = frame.assign(**{str(column): own for column, own in texts.items()})
            known.to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 0))
            for row in writer.sheets[name].iter_rows() if _holds_formulas(known) else ():
                for cell in row:
                    cell.data_type = "s" if cell.data_type == "f" else cell.data_type
    with replacing(path) as file:
        file.write(buffer.getvalue())


def _cells(values: pd.Series, illegal: re.Pattern[str]) -> pd.Series:
    """Values as a workbook can hold them: texts without control characters."""
    return values.map(lambda one: illegal.sub("\N{REPLACEMENT CHARACTER}", one) if isinstance(one, str) else one)


def _holds_formulas(frame: pd.DataFrame) -> bool:
    """Whether a text would be taken for a formula, and computed."""
    texts = [frame[name].unique() for name in frame if frame[name].dtype.kind == "O"]
    return any(isinstance(one, str) and one.startswith("=") for values in texts for one in values)


def _of_one_kind(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with texts in the columns that hold values of several kinds, which Parquet does not."""
    mixed = [
        name
        for name in frame
        if frame[name].dtype == object and len({type(value) for value in frame[name].dropna()}) > 1
    ]
    return frame.assign(**{str(name): frame[name].map(str, na_action="ignore") for name in mixed})


TABLES: dict[str, Callable[[Exported, Path], None]] = {"csv": to_csv, "parquet": to_parquet, "xlsx": to_xlsx}
