"""Published values of a person's own: a CSV, laid beside the settings that its rows describe.

Its columns are named after knobs, as `settings.csv` has them (model, num_hiddens, lr …), and after metrics
(val_perplexity, accuracy, tokens_per_s …), beside `source` (who published it), `repeats` (over how many runs), `note`.
A row speaks of every setting that has its values of the knobs; an empty field says nothing. It stands in the
sweep's folder as `published.csv`, or beside a preset of one's own, `sweeps/mine.yaml`, as `sweeps/mine.published.csv`.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis.frames import KNOBS, value_text
from ablate.config.errors import DataError, nearest
from ablate.config.former_names import knob_of, value_of
from ablate.config.metrics import METRICS
from ablate.records.files import present

FILE = "published.csv"
SPEED = "tokens_per_s"
FACTS = ("source", "repeats", "note")
"""Columns beside knobs and metrics."""
MOST_REPEATS = 1_000_000_000


def own_file(folder: Path, preset: Path | None) -> Path | None:
    """The published values of a sweep: in its folder, or beside the preset that it was made by."""
    beside = None if preset is None else preset.with_name(f"{preset.stem}.{FILE}")
    return next((path for path in (folder / FILE, beside) if path is not None and present(path) == "file"), None)


def read_own(path: Path) -> pd.DataFrame:
    """One row per line: source, repeats, note, the knobs as text and the metrics as numbers.

    Raises DataError, with file and line, for a column that is neither knob nor metric and for a value that is none.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = [knob_of(name.strip()) for name in reader.fieldnames or []]
            _check_columns(path, names)
            reader.fieldnames = names
            rows = [_row(path, reader.line_num, row) for row in reader if any(value for value in row.values())]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8: {error}") from error
    frame = pd.DataFrame(rows, columns=[*dict.fromkeys([*FACTS, *names])])
    return frame.assign(
        source=frame["source"].fillna(path.name), repeats=frame["repeats"].fillna(1).astype(int), note=frame["note"]
    )


def knobs_of(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows if name in KNOBS]


def metrics_in(rows: pd.DataFrame) -> list[str]:
    return [str(name) for name in rows if name == SPEED or name in METRICS]


def _check_columns(path: Path, names: Sequence[str]) -> None:
    known = [*KNOBS, *METRICS.names, SPEED, *FACTS]
    for name in names:
        if name not in known:
            raise DataError(f"{path}, line 1: {name!r} is no knob and no metric{nearest(name, known)}")
        if names.count(name) > 1:
            raise DataError(f"{path}, line 1: there are two columns {name}")
    if not any(name in METRICS or name == SPEED for name in names):
        raise DataError(f"{path}, line 1: no column is a metric, such as val_perplexity or accuracy")


def _row(path: Path, line: int, values: dict[Any, Any]) -> dict[str, Any]:
    if None in values or any(value is None for value in values.values()):
        raise DataError(f"{path}, line {line}: it has not as many fields as there are columns")
    out: dict[str, Any] = {}
    for name, text in values.items():
        text = text.strip()
        if not text:
            out[name] = None
        elif name == "repeats" or name == SPEED or name in METRICS:
            out[name] = _number(path, line, name, text)
        else:
            out[name] = text if name in FACTS else str(value_of(name, text))
    return out


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (name == "repeats" and (not 1 <= value <= MOST_REPEATS or value % 1)):
        raise DataError(f"{path}, line {line}: {name} is {text!r}; give a number")
    return value


def match_own(settings: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """setting_id, source, repeats, and `published_…` of each metric, of the settings that a row speaks of.

    Where several rows do, the one that says most of the setting counts, then the first.
    """
    knobs, found = knobs_of(rows), []
    for _, setting in settings.iterrows():
        fitting = [row for _, row in rows.iterrows() if _fits(setting, row, knobs)]
        if fitting:
            best = max(fitting, key=lambda row: int(row[knobs].notna().sum()))
            values = {f"published_{metric}": best[metric] for metric in metrics_in(rows)}
            facts = {"source": best["source"], "repeats": best["repeats"], "differs": ""}
            found.append({"setting_id": setting["setting_id"], **values, **facts, "of_course": False})
    return pd.DataFrame(found)


def _fits(setting: pd.Series, row: pd.Series, knobs: Sequence[str]) -> bool:
    return all(row[knob] is None or pd.isna(row[knob]) or _same(setting[knob], str(row[knob])) for knob in knobs)


def _same(ours: Any, theirs: str) -> bool:
    """Whether a knob's value is what somebody typed: `0.5` is `.5`, `true` is `True`."""
    if value_text(ours).lower() == theirs.lower():
        return True
    try:
        return not isinstance(ours, str | bool) and math.isclose(float(ours), float(theirs), rel_tol=1e-9)
    except (TypeError, ValueError):
        return False
