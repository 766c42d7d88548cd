"""What a run leaves on disk: one atomically written record and its curve. A run is finished if its record exists.

results/<sweep>/runs/<run_id>.json      the record
results/<sweep>/curves/<run_id>.csv     epoch, perplexity, held-out perplexity where it was measured
results/<sweep>/failures/<setting_id>.json a setting that could not be run, with its traceback
results/<sweep>/sweep.json              the commands given, their preset, its question, and what data=auto meant
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
from ablate.config.identity import PROTOCOL, short_hash
from ablate.config.metrics import evaluation, evaluation_of
from ablate.config.registry import TASKS, task_name
from ablate.config.schema import Config
from ablate.records.files import entries, present, remove, write_json, write_text

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
    write_text(curve_path(sweep, record.run_id), _curve_csv(record.curve))
    values = asdict(record)
    del values["curve"]
    write_json(record_path(sweep, record.run_id), values)


def discard(sweep: Path, run_id: str) -> None:
    """Delete a run, where there is one: first its record, so that no record lacks its curve. Raises StorageError."""
    remove(record_path(sweep, run_id))
    remove(curve_path(sweep, run_id))


def load(path: Path) -> dict[str, Any]:
    """A whole record without its curve: whatever a report reads is there.

    Raises RecordError for a damaged or foreign file, and for a copy under another name: a run counts once.
    """
    record = read_json(path)
    own = {f.name: f for f in fields(Record) if f.name != "curve"}
    lacking = [name for name, f in own.items() if name not in record and f.default is f.default_factory is MISSING]
    if "run_id" in lacking or "config" in lacking:
        raise RecordError(f"{path}: not a record of ablate")
    record = (
        {name: f.default for name, f in own.items() if f.default is not MISSING}
        | {"references": {}, "code": {}}
        | record
    )
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
    if path.stem != record["run_id"]:
        raise RecordError(
            f"{path}: a copy of {record['run_id']}.json, which does not count again; delete it, or rename it to that"
        )
    return _as_used(record)


def _as_used(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the training tokens that there were as its max_tokens.

    Records from before `ablate.data.corpora.as_used` have what was typed there, and one network under several numbers.
    """
    config, identity = record["config"], record.get("identity", {})
    used = record.get("counts", {}).get("train_tokens")
    reads_text = TASKS.known(task_name(config)).reads_text
    if used is None or not reads_text or config.get("max_tokens") == used or "max_tokens" not in identity:
        return record
    identity = identity | {"max_tokens": used}
    setting = {key: value for key, value in identity.items() if key != "seed"}
    return record | {
        "config": config | {"max_tokens": used},
        "identity": identity,
        "setting_id": short_hash(setting),
    }


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
    path = record_path(sweep, run_id)
    try:
        record = read_json(path)
    except RecordError:
        return
    if why := newer(record):
        raise NewerRecord(f"{path} is {why}; upgrade ablate, or give another name=NAME")


def newer(record: Mapping[str, Any]) -> str:
    """In which way a record is of a later version of ablate, or an empty string."""
    for name, ours in (("protocol", PROTOCOL), ("schema", SCHEMA)):
        theirs = record.get(name, 1)
        if isinstance(theirs, int) and theirs > ours:
            return f"of {name} {theirs}, from a later version of ablate (this one writes {ours})"
    return ""


def load_curve(sweep: Path, run_id: str) -> dict[str, list[float | None]]:
    """The columns of a run's curve. Raises RecordError where there is none."""
    path = curve_path(sweep, run_id)
    try:
        lines = _read(path).splitlines()
        header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
        return {
            name: [float(row[column]) if row[column] else None for row in rows] for column, name in enumerate(header)
        }
    except (ValueError, IndexError) as error:
        raise RecordError(f"{path}: {error}") from error


def finished(sweep: Path, run_id: str, prefixes: Sequence[str] = (), current: Current = lambda _: True) -> bool:
    """Whether this sweep holds a whole record of the run, of this protocol, with a text for each prefix.

    `current` says of a record's `code` whether the code still computes the same.
    """
    path = record_path(sweep, run_id)
    if present(path) != "file":
        return False
    try:
        record = load(path)
    except RecordError:
        return False
    if outdated(record) or record["schema"] > SCHEMA:
        return False
    if not current(record["code"]):
        return False
    told = record["status"] == "diverged" or set(prefixes) <= set(record["text"])
    return told and present(curve_path(sweep, run_id)) == "file"


def outdated(record: Mapping[str, Any]) -> str:
    """Why the numbers of a whole record mean something else than those of a run today, or an empty string."""
    if record.get("protocol") != PROTOCOL:
        return f"of protocol {record.get('protocol')}, this is {PROTOCOL}"
    then, today = evaluation_of(record), evaluation(record["config"])
    return "" if then == today else f"its held-out text was read in {then}, today it is {today}"


class Neighbours:
    """The other sweeps in a results folder, and which of them hold a run.

    For a few runs their files are looked for; for many, each folder is listed once. What cannot be read is not an
    error, but is remembered for one warning.
    """

    FEW = 8

    def __init__(self, sweep: Path) -> None:
        self.folders = [folder for folder in entries(sweep.parent) if folder != sweep]
        self.unreadable: dict[Path, str] = {}
        self._asked = 0
        self._index: dict[str, list[Path]] | None = None

    def find(self, run_id: str, prefixes: Sequence[str] = (), current: Current = lambda _: True) -> Path | None:
        """A sweep, the first by name, that holds the run; `current` as with `finished`."""
        self._asked += 1
        if self._index is None and self._asked > self.FEW:
            self._index = self._listed()
        for folder in self._holding(run_id) if self._index is None else self._index.get(run_id, ()):
            if finished(folder, run_id, prefixes, current):
                return folder
            for path in (record_path(folder, run_id), curve_path(folder, run_id)):
                if path.exists() and not present(path):
                    self.unreadable.setdefault(folder, "permission denied")
        return None

    def warning(self) -> list[str]:
        """One line, or none, about the sweeps that could not be read."""
        if not self.unreadable:
            return []
        (first, why), more = next(iter(self.unreadable.items())), len(self.unreadable) - 1
        others = f" and {more} more beside it" if more else ""
        return [f"cannot read {first}{others} ({why}): finished runs there are not reused"]

    def _holding(self, run_id: str) -> Iterator[Path]:
        for folder in self.folders:
            try:
                record_path(folder, run_id).stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self._note(folder, error)
                continue
            yield folder

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
    sweep: Path, other: Path, run_id: str, config: Mapping[str, Any], corpus: Mapping[str, Any] | None = None
) -> None:
    """Copy a run from another sweep, so that this folder stands by itself; marked, under our own config.

    `corpus`: what this sweep says of the text, in place of what the other one said; texts count by their content, and
    the same one may be another file there. Raises RecordError where it cannot be read any more, StorageError where it
    cannot be written.
    """
    record = load(record_path(other, run_id))
    record["config"] = dict(config)
    record["corpus"] = record["corpus"] | dict(corpus or {})
    record["reused_from"] = record["reused_from"] or other.name
    curve = _read(curve_path(other, run_id))
    write_text(curve_path(sweep, run_id), curve)
    write_json(record_path(sweep, run_id), record)


def records(sweep: Path) -> Iterator[dict[str, Any] | RecordError]:
    """Every record of a sweep; a file that is none comes as the error that it gave.

    Raises StorageError where the folder cannot be listed.
    """
    try:
        paths = sorted(path for path in runs_dir(sweep).iterdir() if path.suffix == ".json")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageError.of(error, runs_dir(sweep)) from error
    for path in paths:
        try:
            yield load(path)
        except RecordError as error:
            yield error


def timings(sweep: Path) -> Iterator[dict[str, Any]]:
    """Every timing of a sweep, as the speed lane wrote it; not what is damaged, nor a copy under another name."""
    for path in entries(sweep / "speed"):
        with suppress(RecordError, KeyError):
            timing = read_json(path)
            if path == timing_path(sweep, timing["setting_id"], timing["threads"], timing["machine"]):
                yield timing


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises RecordError for anything else."""
    try:
        value = json.loads(_read(path), object_hook=former_names.of_stored)
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
    except RecursionError as error:
        raise RecordError(f"{path}: not a record of ablate") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: not a record of ablate")
    return value


def _read(path: Path) -> str:
    """Raises RecordError where the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(os_reason(error).partition(";")[0]) from error
    except ValueError as error:
        raise RecordError(f"{path}: not a text ({error})") from error


def _curve_csv(curve: Mapping[str, Sequence[float | None]]) -> str:
    names = list(curve)
    rows = zip(*(curve[name] for name in names), strict=True)
    lines = [",".join(names), *(",".join(_number(value) for value in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "" if value is None else format(value, ".7g")
