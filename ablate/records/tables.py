"""The files of a finished sweep: its records in runs.parquet, its curves in curves.parquet, timings in speed.parquet.

    pandas.read_parquet("results/<sweep>/runs.parquet")      one row per run: knobs, metrics, counts, provenance
    pandas.read_parquet("results/<sweep>/curves.parquet")    one row per run and epoch

Every row of runs.parquet has the whole record as JSON in its column `record`, every row of speed.parquet the whole
timing in `timing`: these are what is read here; the other columns are made from them for people. A curve is found by
its content: `curve` in runs.parquet names it, so that record and curve belong together whatever else the files hold.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.records.files import compact_json
from ablate.records.flat import flat, flat_timing
from ablate.records.kinds import fits
from ablate.records.parquet_files import TableError, coded, opened, read, require, table_of, version_of, write
from ablate.records.places import curves_path, runs_path, speed_path

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Curve = dict[str, list[float | None]]
"""Column → value by epoch; None where it was not measured."""

KEY_COLUMNS = ("run_id", "curve")
"""What no column of a curve can be called: they say whose it is."""


@dataclass(frozen=True)
class Row:
    """One run as runs.parquet has it."""

    run_id: str
    record: str  # JSON
    curve: str  # its name in curves.parquet
    curve_columns: tuple[str, ...]


def curve_name(run_id: str, curve: Curve) -> str:
    """16 hexadecimal digits that name a run's curve by its content, to the last bit."""
    return hashlib.sha256(json.dumps([run_id, curve]).encode()).hexdigest()[:16]


BATCH = 1000
"""Records that are read at once."""
OF_BATCHES = ("run_id", "record", "curve", "curve_columns")
"""Columns of what is read then."""


@lru_cache(maxsize=64)
def _names(text: str) -> tuple[str, ...]:
    """The columns of a curve, of which the JSON stands in a row. Raises ValueError."""
    found = json.loads(text)
    if not fits(found, list[str]):
        raise ValueError(f"{text!r:.100} are no columns of a curve")
    return tuple(found)


class Runs:
    """The content of a runs.parquet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_ids = [str(run_id) for run_id in read(path, ["run_id"]).column("run_id").to_pylist()]
        self._place = {run_id: place for place, run_id in enumerate(self.run_ids)}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._place

    @cached_property
    def _rows(self) -> list[Row]:
        return list(rows_of(read(self.path, list(OF_BATCHES))))

    def columns(self) -> "pa.Table":
        """All columns but those of `batches`, texts as dictionaries, and run_id. Raises TableError."""
        import pyarrow as pa

        with opened(self.path, columns=()) as file:
            schema, metadata = file.schema_arrow, file.metadata
        names = ["run_id", *(name for name in schema.names if name not in OF_BATCHES)]
        texts = [name for name in names[1:] if pa.types.is_string(schema.field(name).type)]
        with opened(self.path, metadata, texts, names) as file:
            return file.read(columns=names).combine_chunks()

    def holding(self, where: Mapping[str, Collection[str]]) -> np.ndarray:
        """Whether each row (rows,) can have one of the given texts in each of these columns: where a file lacks the
        column, or a row the value, it can. Raises TableError.
        """
        found = np.ones(len(self.run_ids), dtype=bool)
        with opened(self.path, columns=where) as file:
            there = [name for name in where if name in file.schema_arrow.names]
            for name in there:
                values = file.read(columns=[name]).column(name).to_pylist()
                found &= [one is None or one in where[name] for one in values]
        return found

    def each(self) -> Iterator[Row]:
        """Its rows, of which none is kept: all records together can take more memory than what is made from them.

        Raises TableError.
        """
        for batch in self.batches():
            yield from rows_of(batch)

    def some(self, run_ids: Iterable[str]) -> dict[str, Row]:
        """The rows of those of these runs that it has, without any other. Raises TableError."""
        places = np.array(sorted({self._place[run_id] for run_id in run_ids if run_id in self._place}), dtype=int)
        found: dict[str, Row] = {}
        start = 0
        for batch in self.batches() if len(places) else ():
            here = places[(places >= start) & (places < start + batch.num_rows)] - start
            found |= {row.run_id: row for row in rows_of(batch.take(here))} if len(here) else {}
            start += batch.num_rows
        return found

    def batches(self) -> Iterator["pa.RecordBatch"]:
        """Its rows as `rows_of` takes them, BATCH at a time. Raises TableError."""
        names = list(OF_BATCHES)
        with opened(self.path, columns=names, in_parts=True) as file:
            require(self.path, file, names)
            yield from file.iter_batches(BATCH, columns=names)

    @cached_property
    def _curves(self) -> dict[str, tuple[str, str]]:
        table = read(self.path, ["run_id", "curve", "curve_columns"])
        columns = (table.column(name).to_pylist() for name in ("run_id", "curve", "curve_columns"))
        return {str(run_id): (str(curve), names) for run_id, curve, names in zip(*columns, strict=True)}

    def curve_of(self, run_id: str) -> Row:
        """The row of a run without its record, to find its curve by. Raises TableError."""
        try:
            curve, names = self._curves[run_id]
            return Row(run_id, "", curve, _names(names or "[]"))
        except ValueError as error:
            raise TableError(f"{self.path}: {error}") from error

    @property
    def rows(self) -> list[Row]:
        """Raises TableError."""
        try:
            return self._rows
        except ValueError as error:
            raise TableError(f"{self.path}: {error}") from error

    def row(self, run_id: str) -> Row:
        return self.rows[self._place[run_id]]


def rows_of(table: "pa.Table | pa.RecordBatch") -> Iterator[Row]:
    """The rows of a table with the columns OF_BATCHES, such as one of `Runs.batches`."""
    columns = (table[name].to_pylist() for name in OF_BATCHES)
    for run_id, record, curve, names in zip(*columns, strict=True):
        yield Row(str(run_id), str(record), str(curve), _names(names or "[]"))


class Curves:
    """The content of a curves.parquet, of which a group of rows at a time is in memory: it can be larger than that."""

    def __init__(self, path: Path) -> None:
        self.path, self._version = path, version_of(path)
        self._span: dict[str, tuple[int, int]] = {}
        self.owner: dict[str, str] = {}
        """The name of each curve → its run."""
        self._last: tuple[int, pa.Table] | None = None
        self._last_numbers: tuple[int, tuple[str, ...], dict[str, np.ndarray]] | None = None
        self._sound = False
        with opened(path, in_parts=True) as file:
            self._metadata = file.metadata
            columns = file.schema_arrow.names
            self.names = [name for name in columns if name not in KEY_COLUMNS]
            require(path, file, KEY_COLUMNS, self.names)
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            self._first = np.cumsum([0, *sizes])
            """Row at which each group of rows begins, and the number of all rows."""
            last = ""
            for group, first in enumerate(self._first[:-1].tolist()):
                last = self._find(file.read_row_group(group, columns=list(KEY_COLUMNS)), first, last)

    def _find(self, keys: "pa.Table", first: int, last: str) -> str:
        """Note where the curves of a group of rows are, of which the first may go on with the last one before."""
        if any(keys.column(name).null_count for name in KEY_COLUMNS):
            raise TableError(f"{self.path}: not a file of ablate, a row does not say whose it is")
        codes, of = coded(keys.column("curve"))
        changes = np.flatnonzero(codes[1:] != codes[:-1]) + 1
        edges = np.r_[0, changes, len(codes)] if len(codes) else np.zeros(0, int)  # curves may all be without a row
        owners = keys.column("run_id").take(edges[:-1]).to_pylist()
        for (start, stop), owner in zip(pairwise(edges.tolist()), owners, strict=True):
            name = str(of[codes[start]])
            if name == last and self._span[name][1] == first + start:
                self._span[name] = self._span[name][0], first + stop
            self._span.setdefault(name, (first + start, first + stop))
            self.owner.setdefault(name, str(owner))
            last = name
        return last

    def __contains__(self, row: Row) -> bool:
        return row.curve in self._span or row.curve == curve_name(row.run_id, {name: [] for name in row.curve_columns})

    def length(self, row: Row) -> int:
        """The rows of a run's curve that are here."""
        start, stop = self._span.get(row.curve, (0, 0))
        return stop - start

    def place(self, row: Row) -> int:
        """Where a run's curve begins: curves that are read in this order are each read once."""
        return self._span.get(row.curve, (0, 0))[0]

    def check(self) -> None:
        """Read all of it. Raises TableError where it is damaged anywhere."""
        if not self._sound:
            for group in range(len(self._first) - 1):
                self._group(group)
            self._sound = True

    def _group(self, number: int) -> "pa.Table":
        if self._last is None or self._last[0] != number:
            self._last = number, self._read(number)
        return self._last[1]

    def _read(self, group: int, names: Sequence[str] | None = None) -> "pa.Table":
        """A group of rows, of it the columns that are asked for."""
        if version_of(self.path) != self._version:
            raise TableError(f"{self.path}: was replaced while it was read")
        with opened(self.path, self._metadata, in_parts=True) as file:
            return file.read_row_group(group, columns=None if names is None else list(names))

    def _within(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Each group that has some of these rows, and from where to where within it."""
        group = int(np.searchsorted(self._first, start, side="right")) - 1
        while start < stop:
            first, end = int(self._first[group]), min(stop, int(self._first[group + 1]))
            yield group, start - first, end - first
            start, group = end, group + 1

    def _parts(self, start: int, stop: int) -> Iterator["pa.Table"]:
        """These rows, from each group that has some of them."""
        for group, first, last in self._within(start, stop):
            yield self._group(group).slice(first, last - first)

    def _columns(self, start: int, stop: int, names: Sequence[str]) -> Curve:
        found: Curve = {name: [] for name in names}
        for part in self._parts(start, stop):
            for name in names:
                found[name] += part.column(name).to_pylist()
        return found

    def curve(self, row: Row) -> Curve:
        """The curve of a run, as it was stored. Raises TableError where it is not here, or was edited."""
        unknown = set(row.curve_columns) - set(self.names)
        if unknown:
            raise TableError(f"{self.path}: has no column {sorted(unknown)[0]}")
        curve = self._columns(*self._span.get(row.curve, (0, 0)), row.curve_columns)
        if curve_name(row.run_id, curve) != row.curve:
            what = "was edited" if row.curve in self._span else "is missing"
            raise TableError(f"{self.path}: the curve of {row.run_id} {what}")
        return curve

    def all(self) -> dict[str, tuple[str, Curve]]:
        """Name → run and curve, in every column of the file."""
        return {name: (self.owner[name], self._columns(*span, self.names)) for name, span in self._span.items()}

    def numbers(self, rows: Sequence[Row], names: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """How long the curve of each of these runs is (runs,), and the named columns of all curves, one after the other
        (epochs,): NaN where nothing was measured, and in a column that the file has not. Of a curve that is not here
        nothing. Raises TableError.
        """
        spans = np.array([self._span.get(row.curve, (0, 0)) for row in rows], dtype=np.int64).reshape(-1, 2)
        lengths = spans[:, 1] - spans[:, 0]
        begins = np.cumsum(lengths) - lengths
        values = {name: np.full(int(lengths.sum()), np.nan) for name in names}
        present = tuple(name for name in names if name in self.names)
        order = np.argsort(spans[:, 0], kind="stable")
        order = order[lengths[order] > 0]  # as they stand in the file, where neighbours are read as one
        start, stop, to = spans[order, 0], spans[order, 1], begins[order]
        apart = np.flatnonzero((start[1:] != stop[:-1]) | (to[1:] != to[:-1] + lengths[order][:-1]))
        firsts, lasts = np.r_[0, apart + 1][: len(order)], np.r_[apart, len(order) - 1][: len(order)]
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            at = int(to[first])
            for part in self._number_parts(int(start[first]), int(stop[last]), present):
                for name, column in part.items():
                    values[name][at : at + len(column)] = column
                at += len(column)
        return lengths, values

    def _number_parts(self, start: int, stop: int, names: tuple[str, ...]) -> Iterator[dict[str, np.ndarray]]:
        """Columns of these rows, from each group that has some of them."""
        for group, first, last in self._within(start, stop):
            if self._last_numbers is None or self._last_numbers[:2] != (group, names):
                table = self._read(group, names)
                read = {name: table.column(name).to_numpy().astype(float, copy=False) for name in names}
                self._last_numbers = group, names, read
            yield {name: column[first:last] for name, column in self._last_numbers[2].items()}

    def frame(self, rows: Sequence[Row], names: Sequence[str]) -> "pd.DataFrame":
        """run_id and the named columns of these runs in their order; nothing of one whose curve is not here.

        Raises TableError.
        """
        import pandas as pd

        lengths, values = self.numbers(rows, names)
        run_ids = np.array([row.run_id for row in rows], dtype=object)
        return pd.DataFrame({"run_id": np.repeat(run_ids, lengths), **values})


def runs_of(sweep: Path) -> Runs | None:
    """The records of a sweep that are in one file; None where there is none. Raises TableError for a damaged one."""
    found: Runs | None = _cached(Runs, runs_path(sweep))
    return found


def curves_of(sweep: Path) -> Curves | None:
    """The curves of a sweep that are in one file; None where there is none. Raises TableError for a damaged one."""
    found: Curves | None = _cached(Curves, curves_path(sweep))
    return found


def timings_of(sweep: Path) -> list[str]:
    """The timings of a sweep that are in one file, as JSON. Raises TableError for a damaged one."""
    found: list[str] | None = _cached(_timings, speed_path(sweep))
    return found or []


def _timings(path: Path) -> list[str]:
    return [str(text) for text in read(path, ["timing"]).column("timing").to_pylist()]


def _cached(kind: Any, path: Path) -> Any:
    known = version_of(path)
    return None if known is None else _opened(kind, path, known)


@lru_cache(maxsize=64)
def _opened(kind: Any, path: Path, _: tuple[int, int, int]) -> Any:
    return kind(path)


def write_runs(sweep: Path, records: Sequence[tuple[Mapping[str, Any], Row]]) -> None:
    """runs.parquet, in the order of the run ids; each record with its row. Raises StorageError."""
    records = sorted(records, key=lambda one: one[1].run_id)
    rows = [
        flat(record) | {"curve": row.curve, "curve_columns": json.dumps(row.curve_columns), "record": row.record}
        for record, row in records
    ]
    write(runs_path(sweep), table_of(rows))


def write_curves(sweep: Path, curves: Mapping[str, tuple[str, Curve]]) -> None:
    """curves.parquet: name → run and curve, one after the other by run. Raises StorageError."""
    import pyarrow as pa

    ordered = sorted(curves.items(), key=lambda item: (item[1][0], item[0]))
    names = list(dict.fromkeys(name for _, (_, curve) in ordered for name in curve))
    lengths = [len(next(iter(curve.values()), ())) for _, (_, curve) in ordered]
    texts = {
        "run_id": [run_id for _, (run_id, _) in ordered],
        "curve": [key for key, _ in ordered],
    }
    columns: dict[str, Any] = {}
    for name, values in texts.items():
        codes = np.repeat(np.arange(len(values), dtype=np.int32), lengths)
        columns[name] = pa.DictionaryArray.from_arrays(codes, pa.array(values, pa.string()))
    for name in names:
        column: list[float | None] = []
        for (_, (_, curve)), length in zip(ordered, lengths, strict=True):
            column += curve.get(name, [None] * length)
        columns[name] = pa.array(column, pa.float64(), from_pandas=False)
    write(curves_path(sweep), pa.table(columns))


def write_timings(sweep: Path, timings: Sequence[Mapping[str, Any]]) -> None:
    """speed.parquet, in the order of setting, machine and number of threads. Raises StorageError."""
    ordered = sorted(timings, key=lambda t: (t["setting_id"], str(t["machine"]), t["threads"]))
    rows = [flat_timing(timing) | {"timing": compact_json(timing)} for timing in ordered]
    write(speed_path(sweep), table_of(rows))
