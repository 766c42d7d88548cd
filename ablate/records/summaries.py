"""The records of a runs.parquet without parsing each: of the runs that are alike the first is parsed, and what the
others have of their own is read from the columns.

Runs are alike whose texts, truth values and missing values are the same in every column, but for what was measured.
Columns are believed where they say of the first run what its record says. Where they do not, and where a column varies
that is none of what was measured, each record is parsed: what is read is the same, slower.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.config import former_names
from ablate.config.identity import short_hash
from ablate.records.files import compact_json
from ablate.records.flat import MEASURED, WHAT_COMPUTED, measured_columns
from ablate.records.parquet_files import TableError, coded
from ablate.records.reading import RecordError, from_json
from ablate.records.record import whole_record
from ablate.records.tables import Row, Runs, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

NEVER_SHARED = ("identity", "text", "references", "code")
"""Parts of a record that no column has: they are parsed of each run, when somebody asks for them."""
OWN = frozenset(("run_id", "seed", "config", *MEASURED, *NEVER_SHARED))
"""Parts that are not the same in all runs that are alike."""
DECIDES_IDS = "train_tokens"
"""What a run is called today can follow from it (`ablate.records.record`), so it has to be the same."""

FEWEST = 200
"""Rows from which on reading a hundred columns takes less time than parsing the records."""

Values = Callable[[str], list[Any]]
"""Name of a column → its values in the rows that are read together."""


class RunSummary(Mapping[str, Any]):
    """The record of a run. Its parts that no column has are parsed when they are asked for; RecordError where they are
    damaged.
    """

    def __init__(self, alike: "_Alike", row: Row, run_id: str, at: int, values: Values) -> None:
        self._alike, self._row, self._at, self._values = alike, row, at, values
        self._own: dict[str, Any] = {"run_id": run_id}
        self.first: Mapping[str, Any] = alike.first
        """The record of the first of the runs that are alike, from which this one differs in its seed and in what was
        measured; it is the same object for all of them."""

    @property
    def own(self) -> Mapping[str, Mapping[str, str]]:
        """Part of MEASURED → the names in it whose values differ among the runs that are alike, with their columns."""
        return self._alike.columns

    def in_columns(self, columns: Sequence[str]) -> list[Any]:
        """What the run has in columns of `own`; lists and mappings as JSON."""
        return [self._values(column)[self._at] for column in columns]

    def __getitem__(self, name: str) -> Any:
        if name not in OWN:
            return self.first[name]
        if name not in self._own:
            self._own[name] = self._made(name)
        return self._own[name]

    def _made(self, name: str) -> Any:
        if name in MEASURED:
            part = dict(self.first[name])
            for key, column in self.own[name].items():
                value = self._values(column)[self._at]
                part[key] = _nested(part[key], value) if isinstance(part[key], dict | list) else value
            return part
        if name == "seed":
            return self._values("seed")[self._at]
        if name == "config":
            asked = self._alike.asked in self._row.record
            return self.first["config"] | {"seed": self["seed"]} if asked else self._parsed["config"]
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.first)

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        return whole_record(from_json(self._row.record, self._alike.path), self._alike.path, self._row.run_id)


def _nested(known: Any, text: str) -> Any:
    """A list or mapping that a column has as JSON; `known` where that is what the text says."""
    return known if compact_json(known) == text else json.loads(text)


def summaries_of(
    packed: Runs, where: Mapping[str, Collection[str]] | None = None
) -> Iterator[tuple[Row, Mapping[str, Any] | RecordError]]:
    """Each row, in their order, with its record under its ids of today, or the error of one that is none.

    `where`: column → texts; rows that have another one there (`Runs.holding`) are left out. Raises TableError.
    """
    wanted = packed.holding(where) if where else np.ones(len(packed.run_ids), dtype=bool)
    if not wanted.any():
        return
    columns: _Columns | None = None
    readable = int(wanted.sum()) >= FEWEST  # and until one is damaged that records do not need
    known: dict[int, _Alike | None] = {}
    start = 0
    for batch in packed.batches():
        values = columns.between(start, start + batch.num_rows) if columns else None
        for at, row in enumerate(rows_of(batch)):
            if not wanted[start + at]:
                continue
            if columns and values:
                alike = known.get(kind := int(columns.kind[start + at]))
                if alike and (run_id := alike.id_today(row.run_id, values("seed")[at])):
                    yield row, RunSummary(alike, row, run_id, at, values)
                    continue
            try:
                stored = from_json(row.record, packed.path)
                record = whole_record(stored, packed.path, row.run_id)
            except RecordError as error:
                yield row, error
                continue
            if columns is None and readable:
                try:
                    columns = _Columns(packed.columns(), measured_columns(record))
                    values = columns.between(start, start + batch.num_rows)
                except TableError:
                    readable = False
            if columns and (kind := int(columns.kind[start + at])) not in known:
                known[kind] = columns.alike(start + at, stored, record, packed.path)
            yield row, record
        start += batch.num_rows


@dataclass(frozen=True)
class _Alike:
    """Runs that are alike: the record of the first of them, and the columns with what each has of its own."""

    first: dict[str, Any]
    path: Path
    columns: Mapping[str, dict[str, str]]
    """Part of a record → name in it → its column, of what differs among them."""
    stored: Mapping[str, Any] | None
    """The identity that the first one is stored with, where it is not that of today."""
    asked: str
    """What the first one's record says of the knobs that no column has (`asked_in`)."""

    def id_today(self, stored_as: str, seed: int) -> str | None:
        """The id of a run; None where its record has to tell."""
        if self.stored is None:
            return stored_as
        if short_hash({**self.stored, "seed": seed}) != stored_as:
            return None
        return short_hash(self.first["identity"] | {"seed": seed})


class _Columns:
    """The columns of a file, and which of its rows are alike."""

    def __init__(self, table: "pa.Table", measured: Mapping[str, tuple[str, str]]) -> None:
        """`measured`: the columns of what was measured of one of the runs."""
        import pyarrow as pa

        self.table = table
        self.name_of = {former_names.KEYS.get(name, name): name for name in table.column_names}
        """Column by its name of today → its name in the file."""
        self._loose: list[str] = []
        """Columns that may vary among rows that are alike: what was measured, and numbers."""
        self.kind = np.zeros(table.num_rows, dtype=np.int64)
        """The number of what each row is alike (rows,)."""
        own = {self.name_of.get(name) for name in (*measured, "run_id", "seed")}
        for name in table.column_names:
            column = table.column(name)
            if 0 < column.null_count < len(column):
                self._split(column.is_null().to_numpy(zero_copy_only=False))
            if name in own or not (pa.types.is_dictionary(column.type) or pa.types.is_boolean(column.type)):
                self._loose.append(name)
            else:
                self._split(coded(column)[0])
        self._first = np.unique(self.kind, return_index=True)[1]

    def _split(self, by: np.ndarray) -> None:
        """Rows are alike only where these values (rows,), numbers from −1 up or truth values, are the same, too."""
        if len(by) and (by != by[0]).any():
            key = self.kind * (int(by.max()) + 2) + by + 1
            self.kind = np.unique(key, return_inverse=True)[1].reshape(-1)

    @cached_property
    def _varying(self) -> dict[str, np.ndarray]:
        """Loose column → whether it varies among the rows of each kind (kinds,), where it does in any."""
        import pyarrow as pa

        found = {}
        for name in self._loose:
            column = self.table.column(name)
            is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
            values = column.to_numpy() if is_number else coded(column)[0]
            firsts = values[self._first[self.kind]]
            differs = (values != firsts) & ~((values != values) & (firsts != firsts))
            if differs.any():
                found[name] = np.bincount(self.kind[differs], minlength=len(self._first)) > 0
        return found

    def alike(self, place: int, stored: Mapping[str, Any], record: dict[str, Any], path: Path) -> _Alike | None:
        """What the runs share that are alike this one, of which this is the record, as it is `stored` and as it is
        read; None where each has to be parsed.

        Nothing is shared with a run that diverged, or that a rule ended: how and when stands in its record alone. What
        is counted under the name of a knob (val_tokens) has no column, and follows from the knob.
        """
        kind, measured = self.kind[place], measured_columns(record)
        names = {name: self.name_of.get(name, "") for name in (*measured, "seed")}
        without = {(part, name) for part in ("metrics", "timing") for name in record[part]} - {*measured.values()}
        varying = {name for name, of_kinds in self._varying.items() if of_kinds[kind]} - {self.name_of.get("run_id")}
        if (
            record["divergence"]
            or record.get("ended")
            or without
            or not varying <= set(names.values())
            or DECIDES_IDS in varying
        ):
            return None
        columns: dict[str, dict[str, str]] = {part: {} for part in MEASURED}
        for name, (part, within) in measured.items():
            if not names[name] or not _says(self.table.column(names[name])[place].as_py(), record[part][within]):
                return None
            if names[name] in varying:
                columns[part][within] = names[name]
        if not names["seed"] or not _says(self.table.column(names["seed"])[place].as_py(), record["seed"]):
            return None
        asked = asked_in(stored["config"])
        if stored["run_id"] != record["run_id"]:
            return _Alike(record, path, columns, stored["identity"], asked)
        return _Alike(record, path, columns, None, asked) if stored["setting_id"] == record["setting_id"] else None

    def between(self, start: int, stop: int) -> Values:
        """The values of columns in some of the rows, each list made once."""
        found: dict[str, list[Any]] = {}

        def values(name: str) -> list[Any]:
            if name not in found:
                found[name] = self.table.column(name).slice(start, stop - start).to_pylist()
            return found[name]

        return values


def asked_in(config: Mapping[str, Any]) -> str:
    """The knobs, as a stored config has them, in whose columns stands what the run was really computed with, and what
    lies between them: `"engine":"auto","device":"cpu","cuda_graphs":true,"threads":2`."""
    names = list(config)
    places = [names.index(name) for name in WHAT_COMPUTED if name in config]
    between = names[min(places) : max(places) + 1] if places else []
    return compact_json({name: config[name] for name in between})[1:-1]


def _says(column: Any, record: Any) -> bool:
    """Whether a column has what a record has, to the last bit and of the same type."""
    if isinstance(record, dict | list):
        return bool(column == compact_json(record))
    return type(column) is type(record) and (column == record or column != column)
