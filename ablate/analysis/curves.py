"""The curves of all runs of a sweep, read many files at a time; and how much they still move at their end."""

import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from csv import QUOTE_NONE
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from ablate.config.metrics import METRICS, TAIL
from ablate.records.curves import read_curve
from ablate.records.parquet_files import TableError
from ablate.records.places import curve_path
from ablate.records.reading import RecordError, read_bytes
from ablate.records.results import curve_places
from ablate.records.tables import Curves, Row, curves_of

COLUMNS = ("run_id", "epoch", "perplexity", "val_perplexity")
TOGETHER = 500
"""Files that are parsed as one."""
ROWS_OF_A_FILE = 1000
"""As many rows is the file of a single run taken to have, before it is read."""


def read_curves(sweep: Path, run_ids: Sequence[str]) -> pd.DataFrame:
    """One row per run and epoch: run_id, epoch, perplexity, val_perplexity, and the other METRICS that some run has.

    Nothing of a run whose curve is damaged.
    """
    parts: list[pd.DataFrame] = []
    for packed, group in groupby(curve_places(sweep, run_ids), lambda one: isinstance(one[1], Row)):
        places = list(group)
        if packed:
            parts += _packed(sweep, [row for _, row in places if isinstance(row, Row)])
            continue
        for start in range(0, len(places), TOGETHER):
            parts += _read(sweep, [(run_id, str(stem)) for run_id, stem in places[start : start + TOGETHER]])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _packed(sweep: Path, rows: list[Row]) -> Iterator[pd.DataFrame]:
    """The curves of runs whose records are in one file."""
    try:
        curves = curves_of(sweep)
        if curves is None:
            return
        sound = _with_epochs(curves, rows)
        measured = set().union(*{row.curve_columns for row in sound})
        scores = [name for name in METRICS.names if name in measured and name not in COLUMNS]
        frame = curves.frame(sound, [*COLUMNS[1:], *scores])
    except TableError:
        return
    if len(frame):
        yield frame


def _with_epochs(curves: Curves, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if "epoch" in row.curve_columns and row in curves]


@dataclass(frozen=True)
class Course:
    """How the training of some runs went on towards its end: what takes all of their curves to tell."""

    run_ids: frozenset[str]
    late_change: pd.Series
    """See the function of this name."""
    fitted_since_best: pd.Series
    """See the function of this name."""


class StoredCurves:
    """The curves of some runs of a sweep, read as far as is asked for: all together can be larger than the memory.

    Its length is the number of runs. `known`: what others have read of them already.
    """

    PORTION = 500_000
    """Rows that are read at once to go through all of them."""

    def __init__(self, sweep: Path, run_ids: Sequence[str], known: Course | None = None) -> None:
        self.sweep, self.run_ids, self._known = sweep, list(run_ids), known

    def __len__(self) -> int:
        return len(self.run_ids)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All of them."""
        return read_curves(self.sweep, self.run_ids)

    def some(self, run_ids: Iterable[str]) -> "StoredCurves":
        """Those of some of the runs."""
        wanted = set(run_ids)
        return StoredCurves(self.sweep, [run_id for run_id in self.run_ids if run_id in wanted])

    def of(self, run_ids: Iterable[str]) -> pd.DataFrame:
        """The frame of those of some of the runs."""
        return self.some(run_ids).frame

    def portions(self, names: Sequence[str] = COLUMNS[1:]) -> Iterator["Portion"]:
        """All of them, whole runs together, those of a file as they stand there; `names`: their columns."""
        places = curve_places(self.sweep, self.run_ids)
        packed = [where for _, where in places if isinstance(where, Row)]
        loose = [run_id for run_id, where in places if not isinstance(where, Row)]
        each = max(1, self.PORTION // ROWS_OF_A_FILE)
        for start in range(0, len(loose), each):
            yield Portion.of(read_curves(self.sweep, loose[start : start + each]), names)
        try:
            curves = curves_of(self.sweep) if packed else None
            if curves is None:
                return
            rows = sorted((row for row in _with_epochs(curves, packed) if curves.length(row)), key=curves.place)
            ends = np.cumsum([curves.length(row) for row in rows])
            parts = (ends - 1) // self.PORTION
            for part in np.unique(parts):
                own = [rows[place] for place in np.flatnonzero(parts == part).tolist()]
                yield Portion([row.run_id for row in own], *curves.numbers(own, names)).ordered()
        except TableError:
            return

    @cached_property
    def course(self) -> Course:
        """That of all of them, read at once."""
        own = frozenset(self.run_ids)
        known = self._known.run_ids if self._known else frozenset()
        others = StoredCurves(self.sweep, [run_id for run_id in self.run_ids if run_id not in known])
        parts = [Course(own, portion.late_change(), portion.fitted_since_best()) for portion in others.portions()]
        parts += [self._known] if self._known else []
        if not parts:
            return Course(own, pd.Series(dtype=float), pd.Series(dtype=bool))
        change = pd.concat([part.late_change for part in parts])
        fitted = pd.concat([part.fitted_since_best for part in parts])
        return Course(own, _of_runs(change, own), _of_runs(fitted, own))


def _read(sweep: Path, places: list[tuple[str, str]]) -> Iterator[pd.DataFrame]:
    """The curves of runs, each with its file: all at once, or where one of them is odd, those of either half."""
    together = _parse(sweep, places)
    if together is not None:
        yield together
    elif len(places) > 1:
        middle = len(places) // 2
        yield from _read(sweep, places[:middle])
        yield from _read(sweep, places[middle:])
    else:
        [(run_id, stem)] = places
        try:
            curve = pd.DataFrame(read_curve(curve_path(sweep, stem)), dtype=float)
        except RecordError:
            return
        if "epoch" in curve and len(curve):
            scores = [name for name in METRICS.names if name in curve and name not in COLUMNS]
            yield curve.assign(run_id=run_id).reindex(columns=[*COLUMNS, *scores])


def _parse(sweep: Path, places: list[tuple[str, str]]) -> pd.DataFrame | None:
    """The curves of these runs, or None unless all files have the same header and as many fields in every line."""
    try:
        texts = [read_bytes(curve_path(sweep, stem)) for _, stem in places]
    except RecordError:
        return None
    header = texts[0][: texts[0].find(b"\n") + 1]
    names = header.decode(errors="replace").rstrip("\n").split(",")
    if tuple(names[:3]) != COLUMNS[1:] and (names[0] != "epoch" or "perplexity" in names):
        return None
    if not all(text.startswith(header) and text.endswith(b"\n") for text in texts):
        return None
    lines = [text.count(b"\n") - 1 for text in texts]
    if any(text.count(b",") != (n + 1) * (len(names) - 1) for text, n in zip(texts, lines, strict=True)):
        return None
    body = b"".join(text[len(header) :] for text in texts)
    try:
        frame = pd.read_csv(
            io.BytesIO(body),
            header=None,
            names=names,
            dtype=float,
            keep_default_na=False,
            na_values=[""],
            quoting=QUOTE_NONE,
            float_precision="high",
            low_memory=False,
        )
    except ValueError:
        return None
    if len(frame) != sum(lines) or not isinstance(frame.index, pd.RangeIndex):
        return None
    frame = frame[[name for name in names if name in COLUMNS or name in METRICS]]
    run_ids = np.array([run_id for run_id, _ in places], dtype=object)
    for name in COLUMNS[2:]:  # which only networks have
        if name not in frame:
            frame[name] = np.nan
    frame.insert(0, "run_id", np.repeat(run_ids, lines))
    return frame


def late_change(curves: pd.DataFrame | StoredCurves) -> pd.Series:
    """run_id → the relative change of the training perplexity from the 5 % of epochs before the last 5 % to those.

    Of geometric means, at least one epoch each; −0.02 says that it still fell by 2 %. Runs of one epoch have none.
    """
    return curves.course.late_change if isinstance(curves, StoredCurves) else Portion.of(curves).late_change()


def fitted_since_best(curves: pd.DataFrame | StoredCurves, run_ids: Iterable[str]) -> pd.Series:
    """run_id → whether the training perplexity still fell after the epoch with the lowest held-out perplexity, of some
    of the runs.

    It is that epoch's against the geometric mean of the last 5 % of epochs. Nothing of a run that no held-out
    perplexity was measured of, or whose last epochs were its best.
    """
    if isinstance(curves, StoredCurves):
        return _of_runs(curves.course.fitted_since_best, set(run_ids))
    return Portion.of(curves[curves["run_id"].isin(list(run_ids))]).fitted_since_best()


def _of_runs(values: pd.Series, run_ids: Collection[str]) -> pd.Series:
    """run_id → value, of some of the runs; Index.isin takes ten times as long with texts."""
    some: pd.Series = values[[run_id in run_ids for run_id in values.index]]
    return some


@dataclass(frozen=True)
class Portion:
    """The curves of some runs as arrays, for there can be millions of rows: one run after the other, epochs in order.

    Each run has a row at least.
    """

    run_ids: Sequence[str]
    lengths: np.ndarray
    """Rows of each run (runs,)."""
    columns: Mapping[str, np.ndarray]
    """epoch, perplexity and val_perplexity, or what else was asked for (rows,)."""

    @classmethod
    def of(cls, curves: pd.DataFrame, names: Sequence[str] = COLUMNS[1:]) -> "Portion":
        """From run_id and these columns, as far as they are there, a row per run and epoch in any order."""
        run, run_ids = pd.factorize(curves["run_id"])
        columns = {name: curves[name].to_numpy(float) for name in names if name in curves}
        order = np.argsort(run, kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
        return cls(list(run_ids), np.bincount(run, minlength=len(run_ids)), columns).ordered()

    @property
    def run(self) -> np.ndarray:
        """The number of each row's run (rows,)."""
        run: np.ndarray = np.repeat(np.arange(len(self.lengths)), self.lengths)
        return run

    @property
    def starts(self) -> np.ndarray:
        """The first row of each run (runs,)."""
        starts: np.ndarray = np.cumsum(self.lengths) - self.lengths
        return starts

    def ordered(self) -> "Portion":
        """The same with the epochs of every run in order."""
        epoch = self.columns["epoch"]
        within = np.ones(len(epoch), bool)
        within[self.starts] = False
        if (epoch[1:] >= epoch[:-1])[within[1:]].all():
            return self
        order = np.lexsort((epoch, self.run))
        return replace(self, columns={name: column[order] for name, column in self.columns.items()})

    def late_change(self) -> pd.Series:
        """See `late_change`."""
        perplexity = self.columns["perplexity"]
        positive = perplexity > 0
        epochs, logs = np.add.reduceat(positive, self.starts, dtype=int), np.log(perplexity[positive])
        width = np.maximum(1, np.ceil(TAIL * epochs)).astype(int)
        sums, end = np.concatenate([[0.0], np.cumsum(logs)]), np.cumsum(epochs)
        last, before = ((sums[end - k * width] - sums[np.maximum(0, end - (k + 1) * width)]) / width for k in (0, 1))
        changes = pd.Series(np.expm1(last - before), index=pd.Index(self.run_ids, name="run_id"), name="late_change")
        long_enough: pd.Series = changes[epochs >= 2 * width]
        return long_enough

    def fitted_since_best(self) -> pd.Series:
        """See `fitted_since_best`."""
        epoch, perplexity, held_out = (self.columns[name] for name in COLUMNS[1:])
        starts, run = self.starts, self.run
        sound = np.isfinite(perplexity) & (perplexity > 0)
        last = np.maximum.reduceat(np.where(sound, epoch, 0.0), starts)
        early = epoch <= ((1 - TAIL) * last)[run]
        tail = np.flatnonzero(sound & ~early)
        sums = np.bincount(run[tail], np.log(perplexity[tail]), minlength=len(starts))
        ends = np.exp(sums / np.maximum(np.bincount(run[tail], minlength=len(starts)), 1))
        known = sound & ~np.isnan(held_out)
        least = np.minimum.reduceat(np.where(known, held_out, np.inf), starts)
        lowest = np.flatnonzero(known & (held_out == least[run]))
        lowest = lowest[np.unique(run[lowest], return_index=True)[1]]  # the first such epoch of each run
        lowest = lowest[early[lowest]]
        ids = np.array(self.run_ids, dtype=object)
        return pd.Series(ends[run[lowest]] < perplexity[lowest], index=ids[run[lowest]])
