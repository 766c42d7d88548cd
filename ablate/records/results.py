"""The runs of a sweep: written, found, read, in whichever form they are stored. A run is finished if its record exists.

A run is stored once: as a file of its own under its run_id, else in runs.parquet, else as a file under an id that it
had in an older version (`ablate.config.former_ids`). Whatever it is stored under, it is read under its id of today.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ablate.config.errors import StorageError
from ablate.config.former_ids import former_identities
from ablate.config.identity import short_hash
from ablate.records import tables
from ablate.records.curves import curve_csv, packed_curve, read_curve
from ablate.records.files import entries, present, remove, write_json, write_text
from ablate.records.parquet_files import TableError
from ablate.records.places import curve_path, curves_dir, curves_path, record_path, runs_dir, runs_path
from ablate.records.reading import RecordError, from_json, read_json
from ablate.records.record import NewerRecord, Record, newer, outdated, whole_record
from ablate.records.summaries import summaries_of

Current = Callable[[Mapping[str, Sequence[float | None]]], bool]
"""Whether the code of today computes what a record says of the code that computed it."""


State = tuple[tuple[int, int] | None, ...]
"""What is the same as long as no run has come, gone or been replaced."""


def state(sweep: Path) -> State:
    """The state of the runs of a sweep now."""
    return tuple(map(_version, (runs_dir(sweep), curves_dir(sweep), runs_path(sweep), curves_path(sweep))))


def save(sweep: Path, record: Record) -> None:
    """Write the curve, then the record: a record on disk means that both are whole.

    Raises StorageError, and NewerRecord where a later version has written the run.
    """
    refuse_newer(sweep, record.run_id)
    write_text(curve_path(sweep, record.run_id), curve_csv(record.curve, exact=False))
    values = asdict(record)
    del values["curve"]
    write_json(record_path(sweep, record.run_id), values)


def discard(sweep: Path, run_id: str) -> None:
    """Delete a run, where there is one: first its record, so that no record lacks its curve. Raises StorageError."""
    remove(record_path(sweep, run_id))
    remove(curve_path(sweep, run_id))


def load(path: Path) -> dict[str, Any]:
    """A whole record without its curve, under its ids of today: whatever a report reads is there.

    Raises RecordError for a damaged or foreign file, and for a copy under another name: a run counts once.
    """
    return whole_record(read_json(path), path, path.stem)


def refuse_newer(sweep: Path, run_id: str) -> None:
    """Raise NewerRecord where the run is on disk as a later version of ablate wrote it."""
    for record, path in _raw(sweep, run_id):
        if why := newer(record):
            raise NewerRecord(f"{path} is {why}; upgrade ablate, or give another name=NAME")


def _raw(sweep: Path, run_id: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """What is stored of a run, as it stands there, with its file."""
    with suppress(RecordError):
        yield read_json(record_path(sweep, run_id)), record_path(sweep, run_id)
    with suppress(RecordError, TableError):
        packed = tables.runs_of(sweep)
        if packed is not None and run_id in packed:
            yield from_json(packed.row(run_id).record, packed.path), packed.path


@dataclass(frozen=True)
class Stored:
    """A whole record, and where its curve is: in a file of this name, or with the row of runs.parquet."""

    record: Mapping[str, Any]
    stem: str | None = None
    row: tables.Row | None = None


def stored(sweep: Path, run_id: str, former: Sequence[str] = ()) -> Iterator[Stored]:
    """Every whole record of a run in this sweep, the one that counts first; `former`: ids that it had before."""
    with suppress(RecordError):
        if present(record_path(sweep, run_id)) == "file":
            yield Stored(load(record_path(sweep, run_id)), run_id)
    with suppress(TableError):
        packed = tables.runs_of(sweep)
        for one in (run_id, *former) if packed is not None else ():
            if packed is not None and one in packed:
                with suppress(RecordError):
                    found = _unpacked(packed, packed.row(one))
                    if found.record["run_id"] == run_id:
                        yield found
    for stem in former:
        with suppress(RecordError):
            path = record_path(sweep, stem)
            record = load(path) if present(path) == "file" else {"run_id": None}
            if record["run_id"] == run_id:
                yield Stored(record, stem)


def _unpacked(packed: tables.Runs, row: tables.Row) -> Stored:
    """Raises RecordError."""
    return Stored(whole_record(from_json(row.record, packed.path), packed.path, row.run_id), row=row)


def read(sweep: Path, run_id: str, former: Sequence[str] = ()) -> dict[str, Any]:
    """The whole record of a run, without its curve, in whichever form it is stored. Raises RecordError."""
    for found in stored(sweep, run_id, former):
        return dict(found.record)
    stem = _stems(sweep).get(run_id, run_id)
    return load(record_path(sweep, stem))


def read_some(sweep: Path, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What `read` returns, of a few of the runs of a large sweep; nothing of one that cannot be read."""
    rows, packed = dict[str, tables.Row](), None
    with suppress(TableError, ValueError):
        packed = tables.runs_of(sweep)
        rows = {} if packed is None else packed.some(run_ids)
    out: dict[str, dict[str, Any]] = {}
    for run_id in run_ids:
        with suppress(RecordError):
            if packed is not None and run_id in rows and present(record_path(sweep, run_id)) != "file":
                out[run_id] = dict(_unpacked(packed, rows[run_id]).record)
            else:
                out[run_id] = read(sweep, run_id)
    return out


def holds(sweep: Path, run_id: str, former: Sequence[str] = ()) -> bool:
    """Whether there is a record of the run that this user can read, whole or not."""
    if any(present(record_path(sweep, stem)) == "file" for stem in (run_id, *former)):
        return True
    with suppress(TableError):
        packed = tables.runs_of(sweep)
        return packed is not None and any(one in packed for one in (run_id, *former))
    return False


def load_curve(sweep: Path, run_id: str) -> tables.Curve:
    """The columns of a run's curve. Raises RecordError where there is none."""
    for last in (False, False, True):  # it may be moved, into curves.parquet or out of it, while one looks for it
        [(_, where)] = curve_places(sweep, [run_id])
        try:
            return packed_curve(sweep, where) if isinstance(where, tables.Row) else read_curve(curve_path(sweep, where))
        except RecordError:
            if last or (not isinstance(where, tables.Row) and os.path.lexists(curve_path(sweep, where))):
                raise
    raise AssertionError("the last attempt returns or raises")


def curve_places(sweep: Path, run_ids: Sequence[str]) -> list[tuple[str, str | tables.Row]]:
    """Each run with the place of its curve: the name of its file below curves/, or its row in runs.parquet."""
    loose = {path.stem for path in entries(runs_dir(sweep)) if path.suffix == ".json"}
    packed = None
    with suppress(TableError):
        packed = tables.runs_of(sweep)
    out: list[tuple[str, str | tables.Row]] = []
    for run_id in run_ids:
        if run_id in loose:
            out.append((run_id, run_id))
        elif packed is not None and run_id in packed:
            out.append((run_id, packed.curve_of(run_id)))
        else:
            out.append((run_id, _stems(sweep).get(run_id, run_id) if loose else run_id))
    return out


def finished(
    sweep: Path,
    run_id: str,
    prefixes: Sequence[str] = (),
    current: Current = lambda _: True,
    former: Sequence[str] = (),
) -> bool:
    """Whether this sweep holds a whole record of the run, of this protocol, with a text for each prefix.

    `current` says of a record's `code` whether the code still computes the same; `former` are ids that it had before.
    """
    return any(_is_good(sweep, found, prefixes, current) for found in stored(sweep, run_id, former))


def _is_good(sweep: Path, found: Stored, prefixes: Sequence[str], current: Current) -> bool:
    record = found.record
    if outdated(record) or newer(record) or not current(record["code"]):
        return False
    told = record["status"] == "diverged" or set(prefixes) <= set(record["text"])
    return told and has_curve(sweep, found)


def has_curve(sweep: Path, found: Stored) -> bool:
    """Whether the curve that belongs to a record is there, and whole where it is in curves.parquet."""
    if found.row is None:
        return present(curve_path(sweep, str(found.stem))) == "file"
    with suppress(TableError):
        curves = tables.curves_of(sweep)
        if curves is not None and found.row in curves:
            curves.check()
            return True
    return False


def records(sweep: Path) -> Iterator[Mapping[str, Any] | RecordError]:
    """Every record of a sweep, each run once; a file that is none comes as the error that it gave.

    Raises StorageError where the folder cannot be listed.
    """
    for found in whole(sweep):
        yield found if isinstance(found, RecordError) else found.record


def summaries(
    sweep: Path, where: Mapping[str, Collection[str]] | None = None
) -> Iterator[Mapping[str, Any] | RecordError]:
    """The same, of which only what is asked for is parsed: see `ablate.records.summaries`.

    `where`: column of runs.parquet → texts of today; what has another one there may be left out, but need not be.
    """
    read = partial(summaries_of, where=where)
    for found in _each_once(sweep, _all_packed(sweep, read), whole=where is None):
        yield found if isinstance(found, RecordError) else found.record


def whole(sweep: Path) -> Iterator[Stored | RecordError]:
    """Every record of a sweep and where its curve is, each run once; a file that is none comes as its error.

    First the files of single runs, then runs.parquet: what is moved from there to here meanwhile is not missed.
    Raises StorageError where the folder cannot be listed.
    """
    return _each_once(sweep, _all_packed(sweep, _parsed))


def _each_once(
    sweep: Path, packed: Iterator[Stored | RecordError], whole: bool = True
) -> Iterator[Stored | RecordError]:
    """The files of single runs, then of what runs.parquet holds whatever is not among them; `whole`: `packed` is all
    that it holds."""
    listed = _version(runs_dir(sweep))
    try:
        paths = sorted(path for path in runs_dir(sweep).iterdir() if path.suffix == ".json")
    except (FileNotFoundError, NotADirectoryError):
        paths = []
    except OSError as error:
        raise StorageError.of(error, runs_dir(sweep)) from error
    seen: set[str] = set()
    later: list[Stored] = []  # of older versions
    renamed: dict[str, str] = {}
    for path in paths:
        try:
            found = Stored(load(path), path.stem)
        except RecordError as error:
            if os.path.lexists(path):  # else it was moved into runs.parquet, or deleted
                yield error
            continue
        if found.record["run_id"] == path.stem:
            seen.add(path.stem)
            yield found
        else:
            later.append(found)
    copies: list[str] = []
    for one in packed:
        if isinstance(one, RecordError):
            yield one
        elif one.record["run_id"] not in seen:
            seen.add(one.record["run_id"])
            yield one
    for found in later:
        run_id, stem = found.record["run_id"], str(found.stem)
        if run_id in seen:
            copies.append(stem)
            continue
        seen.add(run_id)
        renamed[run_id] = stem
        yield found
    if copies:
        which = f"{', '.join(copies[:3])}{', …' * (len(copies) > 3)}"
        what = "is a run" if len(copies) == 1 else f"are {len(copies)} runs"
        yield RecordError(
            f"{runs_dir(sweep)}: {which} {what} that the folder holds under its id of today, too: once each"
        )
    if whole:
        _STEMS[sweep] = listed, renamed


def _all_packed(
    sweep: Path, read: Callable[[tables.Runs], Iterator[tuple[tables.Row, Mapping[str, Any] | RecordError]]]
) -> Iterator[Stored | RecordError]:
    """What a runs.parquet holds, row by row; not a row under the id of an older version where the run has another one
    under its id of today."""
    try:
        packed = tables.runs_of(sweep)
        for row, record in read(packed) if packed is not None else ():
            if isinstance(record, RecordError):
                yield record
            elif record["run_id"] == row.run_id or (packed is not None and record["run_id"] not in packed):
                yield Stored(record, row=row)
    except TableError as error:
        yield RecordError(str(error))
    except ValueError as error:
        yield RecordError(f"{runs_path(sweep)}: {error}")


def _parsed(packed: tables.Runs) -> Iterator[tuple[tables.Row, Mapping[str, Any] | RecordError]]:
    """Each row with its whole record, or the error that it gave."""
    for row in packed.each():
        try:
            yield row, _unpacked(packed, row).record
        except RecordError as error:
            yield row, error


_STEMS: dict[Path, tuple[tuple[int, int] | None, dict[str, str]]] = {}
"""Sweep → the state of its folder of records, and its runs that are files under an id of an older version: those."""


def _stems(sweep: Path) -> dict[str, str]:
    """run_id → the name of its file, where that is an id of an older version."""
    if sweep not in _STEMS or _STEMS[sweep][0] != _version(runs_dir(sweep)):
        for _ in summaries(sweep):
            pass
    return _STEMS[sweep][1]


def _version(path: Path) -> tuple[int, int] | None:
    """What changes when a file, or one in a folder, is written, which is done by moving it into place."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def former_settings(sweep: Path) -> dict[str, str]:
    """Ids that the settings of a sweep could have had in older versions → those of today."""
    found: dict[str, str] = {}
    known: set[str] = set()
    for record in summaries(sweep):
        if isinstance(record, RecordError) or record["setting_id"] in known:
            continue
        known.add(record["setting_id"])
        identity = {name: value for name, value in record["identity"].items() if name != "seed"}
        found |= {short_hash(one): record["setting_id"] for one in former_identities(identity)}
    return found
