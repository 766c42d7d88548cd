"""What a run leaves on disk: one atomically written record and its curve. A run is finished if its record exists.

results/<sweep>/runs/<run_id>.json      the record
results/<sweep>/curves/<run_id>.csv     epoch, perplexity, held-out perplexity where it was measured
results/<sweep>/runs.parquet            the records of a sweep that has ended; beside it curves.parquet
results/<sweep>/failures/<setting>.json  a setting that could not be run, with its traceback
results/<sweep>/sweep.json              the commands given, their preset, its question, and what data=auto meant

A run is stored once: as a file of its own under its run_id, else in runs.parquet, else as a file under an id that it
had in an older version (`ablate.config.former_ids`). Whatever it is stored under, it is read under its id of today.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast, get_type_hints

from omegaconf import MISSING as NO_DEFAULT

from ablate.config import former_names
from ablate.config.errors import StorageError, UserError, os_reason
from ablate.config.former_ids import former_identities, identity_today
from ablate.config.identity import PROTOCOL, short_hash
from ablate.config.metrics import evaluation, evaluation_of
from ablate.config.registry import TASKS, task_name
from ablate.config.schema import Config
from ablate.records import tables
from ablate.records.files import entries, present, remove, write_json, write_text
from ablate.records.tables import TableError

SCHEMA = 1
"""Raised when what a record holds means something else than before: versions that do not know it leave it alone."""

Current = Callable[[Mapping[str, Sequence[float]]], bool]

FINISHED = ("ok", "diverged")
NO_QUESTION: dict[str, Any] = {"preset": None, "question": None, "title": None}
"""What the manifest of a sweep without a preset says, and so what one says that is older than these fields."""


@dataclass
class Record:
    """One run: what was asked, what came out, and what it was computed with."""

    run_id: str
    setting_id: str
    seed: int
    status: str  # ok or diverged
    config: dict[str, Any]
    identity: dict[str, Any]
    corpus: dict[str, Any]
    metrics: dict[str, float | None]
    counts: dict[str, int]  # parameters, updates per epoch, training tokens per epoch, …
    text: dict[str, str]  # prefix -> greedy continuation
    engine: str
    timing: dict[str, Any]
    environment: dict[str, Any]
    divergence: dict[str, Any] | None = None
    reused_from: str | None = None
    references: dict[str, str] = field(default_factory=dict)  # prefix -> what a person wrote in place of the text
    sees_future: bool | None = None  # a language model whose outputs depend on later tokens; None: not asked
    measures: dict[str, Any] | None = None  # what a user's task measures (`ablate.tasks.facts.measures`)
    evaluation: str | None = None  # how held-out text was read (ablate.config.metrics.evaluation)
    protocol: int = PROTOCOL
    schema: int = SCHEMA
    code: dict[str, list[float]] = field(
        default_factory=dict
    )  # what the code computed: see `ablate.training.behaviour`
    curve: dict[str, list[float | None]] = field(default_factory=dict)  # kept in its own file


NEEDED = {
    "corpus": ("name", "sha256"),
    "timing": ("wall_s", "threads", "device"),
    "environment": ("cpu", "gpu", "torch", "git_commit"),
}
"""What a record's parts must hold, besides a config, for a report to show it."""


class RecordError(Exception):
    """A file that is not a record of ours, or a damaged one."""


class NewerRecord(UserError):
    """A record of a later version of ablate, which this one neither reads nor overwrites."""


def runs_dir(sweep: Path) -> Path:
    return sweep / "runs"


def record_path(sweep: Path, run_id: str) -> Path:
    return runs_dir(sweep) / f"{run_id}.json"


def curve_path(sweep: Path, run_id: str) -> Path:
    return sweep / "curves" / f"{run_id}.csv"


def failure_path(sweep: Path, setting_id: str) -> Path:
    return sweep / "failures" / f"{setting_id}.json"


def timing_path(sweep: Path, setting_id: str, threads: int, machine: str) -> Path:
    return sweep / "speed" / f"{setting_id}-{machine}-{threads}.json"


def manifest_path(sweep: Path) -> Path:
    return sweep / "sweep.json"


def load_manifest(sweep: Path) -> dict[str, Any]:
    """The commands of a sweep, its preset, question and title (or None), and what its `data=auto` meant.

    Raises RecordError where there is none.
    """
    manifest = read_json(manifest_path(sweep))
    if not {"commands", "auto_corpus"} <= manifest.keys():
        raise RecordError(f"{manifest_path(sweep)}: not a sweep of ablate")
    return NO_QUESTION | manifest


def plugins_of(sweep: Path) -> dict[str, str]:
    """The files of a person's own with which a sweep was trained, each with the hash of its source."""
    try:
        files = load_manifest(sweep).get("plugins")
    except RecordError:
        return {}
    return files if isinstance(files, dict) else {}


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
    return _whole(read_json(path), path, path.stem)


def _whole(record: dict[str, Any], path: Path, stored_as: str) -> dict[str, Any]:
    """The record of one run in a file, checked and under its ids of today. Raises RecordError."""
    lacking = [name for name in WITHOUT_DEFAULT if name not in record]
    if "run_id" in lacking or "config" in lacking:
        raise RecordError(f"{path}: not a record of ablate")
    record = DEFAULTS | {"references": {}, "code": {}} | record
    if not lacking:
        lacking = [name for name in MAPPINGS if not isinstance(record[name], dict)]
    if not lacking:
        lacking = [f"{part}.{name}" for part, names in NEEDED.items() for name in names if name not in record[part]]
        lacking += _lacking(record["config"], _needed(Config))
    if lacking:
        raise RecordError(f"{path}: not a whole record, it lacks {', '.join(lacking[:3])}{', …' * (len(lacking) > 3)}")
    if record["status"] not in FINISHED:
        raise RecordError(
            f"{path}: its status is {record['status']!r}; of a finished run it is {' or '.join(FINISHED)}"
        )
    if stored_as != record["run_id"]:
        raise RecordError(
            f"{path}: a copy of {record['run_id']}.json, which does not count again; delete it, or rename it to that"
        )
    return _as_today(record)


def _as_today(record: dict[str, Any]) -> dict[str, Any]:
    """The record under the ids that the same run has today, with the training tokens that there were as max_tokens.

    Records from before `ablate.data.corpora.as_used` have what was typed there, and one network under several numbers.
    """
    config, stored = record["config"], record["identity"]
    identity = identity_today(stored)
    used = record["counts"].get("train_tokens")
    reads_text = TASKS.known(task_name(config)).reads_text
    if used is not None and reads_text and config.get("max_tokens") != used and "max_tokens" in identity:
        identity["max_tokens"] = used
        config = config | {"max_tokens": used}
    if identity == stored:
        return record
    setting = {key: value for key, value in identity.items() if key != "seed"}
    made_from_it = record["run_id"] == short_hash(stored)
    return record | {
        "config": config,
        "identity": identity,
        "run_id": short_hash(identity) if made_from_it else record["run_id"],
        "setting_id": short_hash(setting),
    }


WITHOUT_DEFAULT = [f.name for f in fields(Record) if f.default is f.default_factory is MISSING]
"""What every record has to say."""
DEFAULTS = {f.name: f.default for f in fields(Record) if f.default is not MISSING}
"""What is meant by what a record may leave out, mappings apart."""
MAPPINGS = [name for name, kind in get_type_hints(Record).items() if getattr(kind, "__origin__", None) is dict][:-1]
"""The parts of a record that hold names and values."""


def _lacking(values: Any, knobs: Mapping[str, Any], where: str = "config") -> list[str]:
    """The knobs of `_needed` that a stored config has not."""
    if not isinstance(values, dict):
        return [where]
    out: list[str] = []
    for name, parts in knobs.items():
        if name not in values:
            out.append(f"{where}.{name}")
        elif parts:
            out += _lacking(values[name], parts, f"{where}.{name}")
    return out


@cache
def _needed(kind: type) -> dict[str, Any]:
    """What every stored config says: the knobs that decide an outcome, but for those that records are older than."""
    out: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for f in fields(kind):
        if "absent" in f.metadata:
            continue
        decides = f.metadata.get("identity", True) or (f.name == "name" and kind is not Config)
        if is_dataclass(group := hints[f.name]):
            if knobs := _needed(cast(type, group)):
                out[f.name] = knobs
        elif decides and not f.metadata.get("own") and (f.default == NO_DEFAULT or f.default is MISSING):
            out[f.name] = {}
    return out


def refuse_newer(sweep: Path, run_id: str) -> None:
    """Raise NewerRecord where the run is on disk as a later version of ablate wrote it."""
    for record, path in _raw(sweep, run_id):
        if why := newer(record):
            raise NewerRecord(f"{path} is {why}; upgrade ablate, or give another name=NAME")


def newer(record: Mapping[str, Any]) -> str:
    """In which way a record is of a later version of ablate, or an empty string."""
    for name, ours in (("protocol", PROTOCOL), ("schema", SCHEMA)):
        theirs = record.get(name, 1)
        if isinstance(theirs, int) and theirs > ours:
            return f"of {name} {theirs}, from a later version of ablate (this one writes {ours})"
    return ""


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

    record: dict[str, Any]
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
    return Stored(_whole(from_json(row.record, packed.path), packed.path, row.run_id), row=row)


def read(sweep: Path, run_id: str, former: Sequence[str] = ()) -> dict[str, Any]:
    """The whole record of a run, without its curve, in whichever form it is stored. Raises RecordError."""
    for found in stored(sweep, run_id, former):
        return found.record
    stem = _stems(sweep).get(run_id, run_id)
    return load(record_path(sweep, stem))


def holds(sweep: Path, run_id: str, former: Sequence[str] = ()) -> bool:
    """Whether there is a record of the run that this user can read, whole or not."""
    if any(present(record_path(sweep, stem)) == "file" for stem in (run_id, *former)):
        return True
    with suppress(TableError):
        packed = tables.runs_of(sweep)
        return packed is not None and any(one in packed for one in (run_id, *former))
    return False


def holds_runs(sweep: Path) -> bool:
    """Whether a folder has records, in either form."""
    return present(tables.runs_path(sweep)) == "file" or any(p.suffix == ".json" for p in entries(runs_dir(sweep)))


def holds_timings(sweep: Path) -> bool:
    """Whether a folder has timings, in either form."""
    return present(tables.speed_path(sweep)) == "file" or present(sweep / "speed") == "folder"


def is_sweep(folder: Path) -> bool:
    """Whether a folder has a place for records, or records."""
    return present(runs_dir(folder)) == "folder" or present(tables.runs_path(folder)) == "file"


def load_curve(sweep: Path, run_id: str) -> dict[str, list[float | None]]:
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


def packed_curve(sweep: Path, row: tables.Row) -> dict[str, list[float | None]]:
    """Raises RecordError."""
    try:
        curves = tables.curves_of(sweep)
        if curves is None:
            raise TableError(f"{tables.curves_path(sweep)}: is missing")
        return curves.curve(row)
    except TableError as error:
        raise RecordError(str(error)) from error


def read_curve(path: Path) -> dict[str, list[float | None]]:
    """The columns of a curve in a file of its own. Raises RecordError."""
    try:
        lines = read_text(path).splitlines()
        header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
        return {
            name: [float(row[column]) if row[column] else None for row in rows] for column, name in enumerate(header)
        }
    except (ValueError, IndexError) as error:
        raise RecordError(f"{path}: {error}") from error


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
    if outdated(record) or record["schema"] > SCHEMA:
        return False
    if not current(record["code"]):
        return False
    told = record["status"] == "diverged" or set(prefixes) <= set(record["text"])
    return told and has_curve(sweep, found)


def has_curve(sweep: Path, found: Stored) -> bool:
    if found.row is None:
        return present(curve_path(sweep, str(found.stem))) == "file"
    with suppress(TableError):
        curves = tables.curves_of(sweep)
        if curves is not None and found.row in curves:
            curves.check()
            return True
    return False


def outdated(record: Mapping[str, Any]) -> str:
    """Why the numbers of a whole record mean something else than those of a run today, or an empty string."""
    if record.get("protocol") != PROTOCOL:
        return f"of protocol {record.get('protocol')}, this is {PROTOCOL}"
    then, today = evaluation_of(record), evaluation(record["config"])
    return "" if then == today else f"its held-out text was read in {then}, today it is {today}"


def records(sweep: Path) -> Iterator[dict[str, Any] | RecordError]:
    """Every record of a sweep, each run once; a file that is none comes as the error that it gave.

    Raises StorageError where the folder cannot be listed.
    """
    for found in whole(sweep):
        yield found if isinstance(found, RecordError) else found.record


def whole(sweep: Path) -> Iterator[Stored | RecordError]:
    """Every record of a sweep and where its curve is, each run once; a file that is none comes as its error.

    First the files of single runs, then runs.parquet: what is moved from there to here meanwhile is not missed.
    Raises StorageError where the folder cannot be listed.
    """
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
    for one in _all_packed(sweep):
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
    _STEMS[sweep] = listed, renamed


def _all_packed(sweep: Path) -> Iterator[Stored | RecordError]:
    """What a runs.parquet holds, row by row."""
    try:
        packed = tables.runs_of(sweep)
        for row in packed.each() if packed is not None else ():
            assert packed is not None
            try:
                yield _unpacked(packed, row)
            except RecordError as error:
                yield error
    except TableError as error:
        yield RecordError(str(error))
    except ValueError as error:
        yield RecordError(f"{tables.runs_path(sweep)}: {error}")


_STEMS: dict[Path, tuple[tuple[int, int] | None, dict[str, str]]] = {}
"""Sweep → the state of its folder of records, and its runs that are files under an id of an older version: those."""


def _stems(sweep: Path) -> dict[str, str]:
    """run_id → the name of its file, where that is an id of an older version."""
    if sweep not in _STEMS or _STEMS[sweep][0] != _version(runs_dir(sweep)):
        for _ in whole(sweep):
            pass
    return _STEMS[sweep][1]


def _version(folder: Path) -> tuple[int, int] | None:
    try:
        facts = folder.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def former_settings(sweep: Path) -> dict[str, str]:
    """Ids that the settings of a sweep could have had in older versions → those of today."""
    found: dict[str, str] = {}
    known: set[str] = set()
    for record in records(sweep):
        if isinstance(record, RecordError) or record["setting_id"] in known:
            continue
        known.add(record["setting_id"])
        identity = {name: value for name, value in record["identity"].items() if name != "seed"}
        found |= {short_hash(one): record["setting_id"] for one in former_identities(identity)}
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises RecordError for anything else."""
    return from_json(read_text(path), path)


def from_json(text: str, path: Path) -> dict[str, Any]:
    """The JSON object of a text that stands in a file. Raises RecordError for anything else."""
    try:
        value = json.loads(text, object_hook=former_names.of_stored if former_names.may_hold(text) else None)
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
    except RecursionError as error:
        raise RecordError(f"{path}: not a record of ablate") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: not a record of ablate")
    return value


def read_text(path: Path) -> str:
    """Raises RecordError where the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(os_reason(error).partition(";")[0]) from error
    except ValueError as error:
        raise RecordError(f"{path}: not a text ({error})") from error


def curve_csv(curve: Mapping[str, Sequence[float | None]], exact: bool = True) -> str:
    """A curve as text, with seven digits of each number, or as many as it takes to read back the same."""
    names = list(curve)
    rows = zip(*(curve[name] for name in names), strict=True)
    lines = [",".join(names), *(",".join(_number(value, exact) for value in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _number(value: float | None, exact: bool) -> str:
    if value is None:
        return ""
    short = format(value, ".7g")
    return short if not exact or float(short) == value or value != value else repr(value)
