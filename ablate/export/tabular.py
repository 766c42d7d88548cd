"""Runs, settings and curves as files of a table program."""

import io
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
    library("openpyxl", "xlsx")
    if path.suffix.lower() != ".xlsx":
        raise UserError(f"{path} is no name of a workbook; give --out FILE.xlsx")
    if len(frames.curves) > MOST_ROWS:
        raise UserError(
            f"the curves have {len(frames.curves):,} rows, more than a workbook's sheet; choose --to parquet"
        )
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer, engine="openpyxl") as writer:
        for name, frame in sheets(frames).items():
            frame.to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 0))
    with replacing(path) as file:
        file.write(buffer.getvalue())


def _of_one_kind(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with texts in the columns that hold values of several kinds, which Parquet does not."""
    mixed = [
        name
        for name in frame
        if frame[name].dtype == object and len({type(value) for value in frame[name].dropna()}) > 1
    ]
    return frame.assign(**{str(name): frame[name].map(str, na_action="ignore") for name in mixed})


TABLES: dict[str, Callable[[Exported, Path], None]] = {"csv": to_csv, "parquet": to_parquet, "xlsx": to_xlsx}
