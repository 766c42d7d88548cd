"""What of sweeps is exported: their runs, their settings and the curves of their runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import curves_frame, runs_frame, setting_names, swept_knobs
from ablate.analysis.throughput import speed_frames, with_speed
from ablate.config.columns import columns
from ablate.config.errors import UserError
from ablate.config.metrics import METRICS
from ablate.records.environment import DISTRIBUTION
from ablate.records.files import encodable
from ablate.records.places import no_run


@dataclass(frozen=True)
class Run:
    """One run, as trackers of experiments think of one."""

    name: str  # `gru num_hiddens=32 seed=0`
    row: dict[str, Any]
    curve: pd.DataFrame

    @property
    def knobs(self) -> dict[str, str | int | float | bool]:
        """Every knob that applies, and the seed."""
        known = {knob: self.row[knob] for knob in (*columns(), "seed") if knob in self.row}
        return {knob: _plain(value) for knob, value in known.items() if _is_known(value)}

    @property
    def metrics(self) -> dict[str, float]:
        """What the trained network was measured at; nothing of a run that has diverged."""
        return {name: float(self.row[name]) for name in METRICS.names if name in self.row and _is_known(self.row[name])}

    def epochs(self) -> Iterator[tuple[int, dict[str, float]]]:
        """For each epoch, counted from 1, what was measured after it."""
        for values in self.curve.to_dict("records"):
            own = {
                str(name): float(value) for name, value in values.items() if name not in ("sweep", "run_id", "epoch")
            }
            yield int(values["epoch"]), {name: value for name, value in own.items() if value == value}


@dataclass(frozen=True)
class Exported:
    """The runs and curves of sweeps with a column `sweep`, and the settings of them all with their speed."""

    runs: pd.DataFrame
    settings: pd.DataFrame
    curves: pd.DataFrame

    @classmethod
    def read(cls, sweeps: Sequence[Path], level: float) -> "Exported":
        """Raises UserError for a folder without a finished run."""
        runs, curves = [], []
        for sweep, name in named_apart(sweeps).items():
            own, problems = runs_frame(sweep)
            if own.empty:
                raise no_run(sweep, problems)
            runs.append(own.assign(sweep=name))
            curves.append(curves_frame(sweep, own).assign(sweep=name))
        every, curve = (
            part[["sweep", *(name for name in part if name != "sweep")]]
            for part in (pd.concat(parts, ignore_index=True) for parts in (runs, curves))
        )
        once = every.drop_duplicates(["setting_id", "seed"], ignore_index=True)
        return cls(every, with_speed(aggregate(once, level), speed_frames(sweeps)), curve)

    def each(self) -> Iterator[Run]:
        swept = [knob for knob in swept_knobs(self.runs) if knob != "model"]
        curves = dict(tuple(self.curves.groupby(["sweep", "run_id"])))
        names = setting_names(self.runs, [*swept, "seed"])
        for name, row in zip(names, self.runs.to_dict("records"), strict=True):
            curve = curves.get((row["sweep"], row["run_id"]), self.curves.iloc[:0])
            yield Run(f"{row['model']} {name}", {str(column): value for column, value in row.items()}, curve)


def named_apart(sweeps: Sequence[Path]) -> dict[Path, str]:
    """Folder → its name; of several folders of one name the later ones with a number: `gates`, `gates-2`."""
    found: dict[Path, str] = {}
    for sweep in dict.fromkeys(sweeps):
        name = encodable(sweep.resolve().name)
        names = (name, *(f"{name}-{number}" for number in range(2, len(sweeps) + 1)))
        found[sweep] = next(one for one in names if one not in found.values())
    return found


def library(module: str, extra: str, package: str | None = None) -> Any:
    """A module that an extra installs. Raises UserError with the command where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        what = package or f"{DISTRIBUTION}[{extra}]"
        raise UserError(f"--to {extra} needs {module.partition('.')[0]}: python -m pip install '{what}'") from error


def _is_known(value: Any) -> bool:
    return value is not None and value is not pd.NA and value == value


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
