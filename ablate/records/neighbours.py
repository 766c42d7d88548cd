"""Runs that other sweeps of a results folder have already: found there and copied, so that nothing is done twice."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.config.errors import os_reason
from ablate.records import tables
from ablate.records.curves import curve_csv, packed_curve
from ablate.records.exclusion import excluded_runs
from ablate.records.files import entries, present, write_json, write_text
from ablate.records.parquet_files import TableError, version_of
from ablate.records.places import curve_path, record_path, runs_dir, runs_path
from ablate.records.reading import RecordError, read_text
from ablate.records.results import Current, finished, has_curve, stored


class Neighbours:
    """The other sweeps in a results folder, and which of them hold a run that is not excluded there.

    For a few runs their files are looked for; for many, each folder is listed once. Files come before tables: what a
    sweep that ends meanwhile moves from there to here is not missed. What cannot be read is not an error, but is
    remembered for one warning.
    """

    FEW = 8

    def __init__(self, sweep: Path) -> None:
        self.folders = [folder for folder in entries(sweep.parent) if folder != sweep]
        self.unreadable: dict[Path, str] = {}
        self._asked = 0
        self._excluded: dict[Path, frozenset[str] | None] = {}
        self._index: dict[str, list[Path]] | None = None
        self._packed: dict[Path, tables.Runs] | None = None
        self._tables: dict[Path, tuple[object, tables.Runs | None]] = {}

    def find(
        self,
        run_id: str,
        prefixes: Sequence[str] = (),
        current: Current = lambda _: True,
        former: Sequence[str] = (),
    ) -> Path | None:
        """A sweep, the first by name, that holds the run; `current` and `former` as with `finished`."""
        self._asked += 1
        if self._index is None and self._asked > self.FEW:
            self._index = self._listed()
            self._packed = {folder: table for folder in self.folders if (table := self._table(folder)) is not None}
        ids = (run_id, *former)
        for folder in self._holding(ids):
            if self._is_excluded(folder, ids):
                continue
            if finished(folder, run_id, prefixes, current, former):
                return folder
            for path in (place(folder, one) for place in (record_path, curve_path) for one in ids):
                if path.exists() and not present(path):
                    self.unreadable.setdefault(folder, "permission denied")
        return None

    def _is_excluded(self, folder: Path, ids: Sequence[str]) -> bool:
        """Whether somebody has excluded it there; also where a damaged file does not tell what is excluded."""
        if folder not in self._excluded:
            try:
                self._excluded[folder] = excluded_runs(folder)
            except (RecordError, OSError) as error:
                self._excluded[folder] = None
                self.unreadable.setdefault(folder, str(error).removeprefix(f"{folder}/"))
        excluded = self._excluded[folder]
        return excluded is None or not excluded.isdisjoint(ids)

    def warning(self) -> list[str]:
        """One line, or none, about the sweeps that could not be read."""
        if not self.unreadable:
            return []
        (first, why), more = next(iter(self.unreadable.items())), len(self.unreadable) - 1
        others = f" and {more} more beside it" if more else ""
        return [f"cannot read {first}{others} ({why}): finished runs there are not reused"]

    def _holding(self, ids: Sequence[str]) -> Iterator[Path]:
        """The folders, in their order, in which there is something by one of these names."""
        for folder in self.folders:
            if self._has_file(folder, ids):
                yield folder
                continue
            packed = self._table(folder) if self._packed is None else self._packed.get(folder)
            if packed is not None and any(one in packed for one in ids):
                yield folder

    def _has_file(self, folder: Path, ids: Sequence[str]) -> bool:
        if self._index is not None:
            return any(folder in self._index.get(one, ()) for one in ids)
        for one in ids:
            try:
                record_path(folder, one).stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._note(folder, error)
                return False
            return True
        return False

    def _table(self, folder: Path) -> tables.Runs | None:
        """Its table of now, read again only where it is another one."""
        try:
            version = version_of(runs_path(folder))
            if folder not in self._tables or self._tables[folder][0] != version:
                self._tables[folder] = version, tables.runs_of(folder)
            return self._tables[folder][1]
        except TableError as error:
            self.unreadable.setdefault(folder, str(error).removeprefix(f"{runs_path(folder)}: "))
            return None

    def _listed(self) -> dict[str, list[Path]]:
        index: dict[str, list[Path]] = {}
        for folder in self.folders:
            try:
                names = os.listdir(runs_dir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._note(folder, error)
                continue
            for name in names:
                if name.endswith(".json"):
                    index.setdefault(name.removesuffix(".json"), []).append(folder)
        return index

    def _note(self, folder: Path, error: OSError) -> None:
        self.unreadable.setdefault(folder, os_reason(OSError(error.errno, error.strerror)).partition(";")[0])


def reuse(
    sweep: Path,
    other: Path,
    run_id: str,
    config: Mapping[str, Any],
    corpus: Mapping[str, Any] | None = None,
    former: Sequence[str] = (),
) -> None:
    """Copy a run from another sweep, so that this folder stands by itself; marked, under our own config.

    `corpus`: what this sweep says of the text, in place of what the other one said; texts count by their content, and
    the same one may be another file there. Raises RecordError where it cannot be read any more, StorageError where it
    cannot be written.
    """
    for found in stored(other, run_id, former):
        if has_curve(other, found):
            break
    else:
        raise RecordError(f"{other}: holds no whole record of {run_id} any more")
    record = dict(found.record)
    record["config"] = dict(config)
    record["corpus"] = record["corpus"] | dict(corpus or {})
    record["reused_from"] = record["reused_from"] or other.name
    if found.row is None:
        curve = read_text(curve_path(other, str(found.stem)))
    else:
        curve = curve_csv(packed_curve(other, found.row))
    write_text(curve_path(sweep, run_id), curve)
    write_json(record_path(sweep, run_id), record)
