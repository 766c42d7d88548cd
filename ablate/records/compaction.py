"""From one file per run to one file per sweep, when a sweep has ended; and back.

While a sweep runs, each run is a record and a curve of its own. `compact` moves all whole ones into runs.parquet and
curves.parquet, and timings into speed.parquet. It can be stopped between any two steps, and begun again, since

1. curves.parquet is written first, with the curves of before and the new ones: nothing refers to the new ones yet;
2. runs.parquet is written: from here on a run is there twice, equal, and the file of its own counts;
3. both are read back from the disk and compared with what was to be written;
4. only then the files of their own are deleted, first the record, then its curve, and only those that are still what
   was read. What is no whole record of this version stays as it is.

A file is replaced only while it is the one that was read; the caller holds the sweep's folder.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.config.errors import StorageError, UserError
from ablate.config.terminal import lines
from ablate.records import places, results, tables
from ablate.records import timings as stored_timings
from ablate.records.curves import curve_csv, read_curve
from ablate.records.files import compact_json, entries, exact_json, remove, remove_unfinished, write_text
from ablate.records.kinds import is_name
from ablate.records.locks import LOCK, InUse, held_soon
from ablate.records.parquet_files import TableError, version_of
from ablate.records.places import holds_runs, holds_timings, no_sweep
from ablate.records.reading import RecordError, from_json, read_json
from ablate.records.record import newer, whole_record
from ablate.records.tables import Curve, Row

Version = tuple[int, int, int] | None


@dataclass(frozen=True)
class Compacted:
    """What was moved into the files of a sweep, and the files that were left as they are, each with the reason."""

    runs: int = 0
    timings: int = 0
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class _New:
    """A run, or a timing, that is a file of its own: what it says, and the files that said it."""

    record: dict[str, Any]
    curve: Curve
    files: tuple[tuple[Path, Version], ...]


def compact(sweep: Path) -> Compacted:
    """Move the whole records, curves and timings of a sweep into its three files.

    Raises UserError where one of these is damaged or was changed meanwhile, StorageError where the disk does not take
    them; nothing is lost by either.
    """
    try:
        left: list[str] = []
        runs = _compact_runs(sweep, left)
        timings = _compact_timings(sweep)
    except (TableError, RecordError) as error:
        raise UserError(
            f"{error}; restore it, or move it away: the files of single runs are left as they are"
        ) from error
    for folder in (
        places.runs_dir(sweep),
        places.curves_dir(sweep),
        places.timings_dir(sweep),
        places.checkpoints_dir(sweep),
    ):
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()
    return Compacted(runs, timings, tuple(left))


def compacted(folder: Path) -> None:
    """Put what a sweep that has ended left into its Parquet files; where that cannot be done, say why.

    While another process is at work in the folder, as in a search of several, it is left for the last one to do.
    """
    say = lines()
    try:
        with held_soon(folder / LOCK, "start no other ablate on this folder meanwhile"):
            remove_unfinished(folder)
            compact(folder)
    except InUse:
        return
    except (StorageError, UserError) as error:
        say(f"the records stay in files of their own: {error}")


def _compact_runs(sweep: Path, left: list[str]) -> int:
    before = [version_of(path) for path in (places.runs_path(sweep), places.curves_path(sweep))]
    packed, curves = tables.runs_of(sweep), tables.curves_of(sweep)
    if curves is not None:
        curves.check()  # a damaged file is not replaced
    new = _single_runs(sweep, left)
    rows = {} if packed is None else {row.run_id: row for row in packed.rows}
    owners = {} if curves is None else curves.owner
    superseded = {name for name, run in owners.items() if run in rows and (run in new or rows[run].curve != name)}
    if not new and not superseded and not _orphans(sweep, rows, curves):
        return 0
    kept: dict[str, dict[str, Any]] = {}
    content: dict[str, tuple[str, Curve]] = {}
    for run_id, row in rows.items():
        assert packed is not None
        kept[run_id] = from_json(row.record, packed.path)
        if curves is not None and row in curves:
            content[row.curve] = run_id, curves.curve(row)
    if curves is not None:
        content |= _curves_of_others(curves, rows)
    older = _older(kept, new, sweep) if new else set()
    superseded |= {rows[run_id].curve for run_id in older}
    for run_id in older:
        del rows[run_id], kept[run_id]
    for run_id, one in new.items():
        name = tables.curve_name(run_id, one.curve)
        rows[run_id] = Row(run_id, compact_json(one.record), name, tuple(one.curve))
        kept[run_id] = one.record
        content[name] = run_id, one.curve
    superseded -= {row.curve for row in rows.values()}
    if new:
        _unchanged(sweep, before)
        tables.write_curves(sweep, content)
        tables.write_runs(sweep, [(kept[run_id], row) for run_id, row in rows.items()])
    read_back = _verified(sweep, rows, content)
    for one in new.values():
        _delete(one.files)
    for path, version in _orphans(sweep, rows, read_back):
        _delete([(path, version)])
    if superseded:
        tables.write_curves(sweep, {name: of for name, of in content.items() if name not in superseded})
    return len(new)


def _single_runs(sweep: Path, left: list[str]) -> dict[str, _New]:
    """The runs that are files of their own, and that count; what is not whole is `left`."""
    new: dict[str, _New] = {}
    versions = {
        path: version_of(path)
        for folder in (places.runs_dir(sweep), places.curves_dir(sweep))
        for path in entries(folder)
    }
    for found in results.whole(sweep):
        if isinstance(found, RecordError):
            left.append(str(found))
            continue
        if found.stem is None:
            continue
        record, path, curve_path = dict(found.record), *_files(sweep, found.stem)
        if path not in versions or curve_path not in versions:
            left.append(f"{path}: has no curve, {curve_path} is missing")
            continue
        if newer(record):
            left.append(f"{path}: is from a later version of ablate")
            continue
        try:
            curve = read_curve(curve_path)
        except RecordError as error:
            left.append(str(error))
            continue
        if set(curve) & set(tables.KEY_COLUMNS):
            left.append(f"{curve_path}: not a curve of ablate")
            continue
        files = ((path, versions[path]), (curve_path, versions[curve_path]))
        new[record["run_id"]] = _New(record, curve, files)
    return new


def _older(kept: Mapping[str, dict[str, Any]], new: Collection[str], sweep: Path) -> set[str]:
    """The rows under an id of an older version of runs that are there under that of today, too: trained again since."""
    found = set()
    for run_id, record in kept.items():
        with suppress(RecordError):
            today = whole_record(record, places.runs_path(sweep), run_id)["run_id"]
            if today != run_id and (today in kept or today in new):
                found.add(run_id)
    return found


def _files(sweep: Path, stem: str) -> tuple[Path, Path]:
    return places.record_path(sweep, stem), places.curve_path(sweep, stem)


def _orphans(sweep: Path, rows: dict[str, Row], curves: tables.Curves | None) -> list[tuple[Path, Version]]:
    """Curves whose records a stopped compaction has deleted already: those that are equal in curves.parquet."""
    found = []
    loose = {path.stem for path in entries(places.runs_dir(sweep)) if path.suffix == ".json"}
    for path in entries(places.curves_dir(sweep)):
        if path.suffix != ".csv" or path.stem in loose or path.stem not in rows or curves is None:
            continue
        version = version_of(path)
        with suppress(RecordError, TableError):
            if read_curve(path) == curves.curve(rows[path.stem]):
                found.append((path, version))
    return found


def _unchanged(sweep: Path, before: Sequence[Version]) -> None:
    """Raises UserError where another program has written the files since they were read."""
    if [version_of(path) for path in (places.runs_path(sweep), places.curves_path(sweep))] != list(before):
        raise UserError(f"{places.runs_path(sweep)} is being written by another program; run the same command again")


def _verified(sweep: Path, rows: dict[str, Row], content: dict[str, tuple[str, Curve]]) -> tables.Curves | None:
    """What is on the disk now. Raises UserError unless it is exactly what was to be written there."""
    packed, curves = tables.runs_of(sweep), tables.curves_of(sweep)
    same = packed is not None and {row.run_id: row for row in packed.rows} == rows
    if same and curves is not None:
        same = all(curves.curve(row) is not None for row in rows.values() if row.curve in content)
    if not same:
        raise UserError(f"{places.runs_path(sweep)} was changed by another program; the files of single runs are kept")
    return curves


def _compact_timings(sweep: Path) -> int:
    paths = {path: version_of(path) for path in entries(places.timings_dir(sweep)) if path.suffix == ".json"}
    if not paths:
        return 0
    before = version_of(places.speed_path(sweep))
    stored_timings.all_packed(sweep)  # a damaged file is not replaced
    timings = {stored_timings.timing_key(timing): timing for timing in stored_timings.timings(sweep)}
    gone = []
    former = results.former_settings(sweep)
    for path, version in paths.items():
        with suppress(RecordError):
            timing = stored_timings.whole_timing(read_json(path), path)
            own = path == places.timing_path(sweep, timing["setting_id"], timing["threads"], timing["machine"])
            timing["setting_id"] = former.get(timing["setting_id"], timing["setting_id"])
            if own and timings.get(stored_timings.timing_key(timing)) == timing:
                gone.append((path, version))
    if gone:
        if version_of(places.speed_path(sweep)) != before:
            raise UserError(f"{places.speed_path(sweep)} is being written by another program")
        tables.write_timings(sweep, list(timings.values()))
        stored = {stored_timings.timing_key(timing): timing for timing in stored_timings.packed_timings(sweep)}
        if stored != timings:
            raise UserError(f"{places.speed_path(sweep)} was changed by another program; the single timings are kept")
        _delete(gone)
    return len(gone)


def _delete(files: Sequence[tuple[Path, Version]]) -> None:
    """Delete files in this order, but none that is not the one that was read, nor what comes after it."""
    for path, version in files:
        if version is None or version_of(path) not in (version, None):
            return
        remove(path)


def unpack(sweep: Path) -> int:
    """The other way round: a file for each run and timing, as while a sweep runs; how many runs there were.

    A run that is a file of its own already stays that; a damaged file gives way to the whole run. Raises UserError for
    a damaged Parquet file: nothing is deleted.
    """
    try:
        packed, curves = tables.runs_of(sweep), tables.curves_of(sweep)
        rows = [] if packed is None else packed.rows
        timings = stored_timings.all_packed(sweep)
        if (strange := next((row.run_id for row in rows if not is_name(row.run_id)), None)) is not None:
            raise TableError(f"{places.runs_path(sweep)}: {strange!r:.100} is no id of a run")
        for row in rows:
            path, curve_path = _files(sweep, row.run_id)
            if _is_run(path, curve_path):
                continue
            if curves is not None and row in curves:
                write_text(curve_path, curve_csv(curves.curve(row)))
            write_text(path, exact_json(from_json(row.record, places.runs_path(sweep))))
        own = {path.stem for path in entries(places.runs_dir(sweep))}  # also of an --undo that was killed before
        others = {} if curves is None else _curves_of_others(curves, own)
    except (TableError, RecordError) as error:
        raise UserError(f"{error}; nothing was deleted") from error
    for timing in timings:
        path = places.timing_path(sweep, timing["setting_id"], timing["threads"], timing["machine"])
        if not path.exists():
            write_text(path, exact_json(timing))
    for path in (places.runs_path(sweep), places.speed_path(sweep)):
        remove(path)
    if others:
        tables.write_curves(sweep, others)
    else:
        remove(places.curves_path(sweep))
    return len(rows)


def _is_run(path: Path, curve_path: Path) -> bool:
    """Whether these files say what came of a run: its whole record and its curve, or what a later version wrote."""
    with suppress(RecordError):
        record = read_json(path)
        if newer(record):
            return True
        whole_record(record, path, path.stem)
        read_curve(curve_path)
        return True
    return False


def _curves_of_others(curves: tables.Curves, runs: Collection[str]) -> dict[str, tuple[str, Curve]]:
    """The curves of other runs: of a runs.parquet that somebody has taken away, and may bring back."""
    if {*curves.owner.values()} <= {*runs}:
        return {}
    return {name: of for name, of in curves.all().items() if of[0] not in runs}


def sweep_folders(paths: Sequence[Path]) -> list[Path]:
    """These folders of sweeps. Raises UserError for one that holds no records."""
    for path in paths:
        if not holds_runs(path) and not holds_timings(path):
            raise no_sweep(path, "no runs")
    return list(paths)
