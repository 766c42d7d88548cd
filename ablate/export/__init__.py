"""Sweeps for other programs, each through that program's own library.

tabular     runs, settings and curves as CSV, Parquet or an Excel workbook
trackers    a run of theirs for each of ours: TensorBoard, MLflow, Weights & Biases, all written to local folders
"""

from collections.abc import Sequence
from pathlib import Path

from ablate.config.errors import UserError, listing, nearest

FORMATS = ("csv", "parquet", "xlsx", "tensorboard", "mlflow", "wandb")


def export(sweeps: Sequence[Path], to: str, out: Path | None = None, level: float = 0.95) -> Path:
    """Write the finished runs of sweeps in the format `to`, one of FORMATS, and return where.

    `out` is a folder, or with xlsx a file; by default `export-<to>` (`export.xlsx`) in the first sweep's folder.
    Nothing is sent anywhere. Raises UserError for another format, a missing library (with the command that installs
    it), and a folder without a finished run.
    """
    from ablate.export.exported import Exported
    from ablate.export.tabular import TABLES
    from ablate.export.trackers import TRACKERS

    if to not in FORMATS:
        raise UserError(f"to is {to!r}; choose {listing(FORMATS)}{nearest(to, FORMATS)}")
    if not sweeps:
        raise UserError("give the folder of a sweep, such as results/smoke")
    frames = Exported.read(sweeps, level)
    place = out or sweeps[0] / ("export.xlsx" if to == "xlsx" else f"export-{to}")
    if _keeps_runs(place):
        raise UserError(f"{place} is a sweep with files of its own; give another folder with --out FOLDER")
    (TABLES | TRACKERS)[to](frames, place)
    return place


def _keeps_runs(folder: Path) -> bool:
    """Whether a folder is that of a sweep: its runs.parquet are its records, that of an export has tables beside it."""
    from ablate.records.places import is_search, is_sweep, manifest_path

    records = is_sweep(folder) and not (folder / "settings.parquet").exists()
    return records or manifest_path(folder).exists() or is_search(folder)
