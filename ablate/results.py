"""What a run leaves on disk: one atomically written record and its curve. A run is finished if its record exists.

results/<sweep>/runs/<run_id>.json      the record
results/<sweep>/curves/<run_id>.csv     epoch, perplexity, held-out perplexity where it was measured
results/<sweep>/failures/<cell_id>.json a cell that could not be run, with its traceback
results/<sweep>/sweep.json              the commands given, their preset, its question, and what data=auto meant
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ablate.files import write_atomically
from ablate.identity import PROTOCOL

Current = Callable[[Mapping[str, Sequence[float]]], bool]

FINISHED = ("ok", "diverged")
NO_QUESTION: dict[str, Any] = {"preset": None, "question": None, "title": None}
"""What the manifest of a sweep without a preset says, and so what one says that is older than these fields."""


@dataclass
class Record:
    """One run: what was asked, what came out, and what it was computed with."""

    run_id: str
    cell_id: str
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
    protocol: int = PROTOCOL
    code: dict[str, list[float]] = field(default_factory=dict)  # what the code computed: see `ablate.behaviour`
    curve: dict[str, list[float | None]] = field(default_factory=dict)  # kept in its own file


class RecordError(Exception):
    """A file that is not a record of ours, or a damaged one."""


def runs_dir(sweep: Path) -> Path:
    return sweep / "runs"


def record_path(sweep: Path, run_id: str) -> Path:
    return runs_dir(sweep) / f"{run_id}.json"


def curve_path(sweep: Path, run_id: str) -> Path:
    return sweep / "curves" / f"{run_id}.csv"


def failure_path(sweep: Path, cell_id: str) -> Path:
    return sweep / "failures" / f"{cell_id}.json"


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


def save(sweep: Path, record: Record) -> None:
    """Write the curve, then the record: a record on disk means that both are whole."""
    write_text(curve_path(sweep, record.run_id), _curve_csv(record.curve))
    fields = asdict(record)
    del fields["curve"]
    write_json(record_path(sweep, record.run_id), fields)


def load(path: Path) -> dict[str, Any]:
    """A record without its curve. Raises RecordError for a damaged or foreign file."""
    record = read_json(path)
    if not {"run_id", "cell_id", "status", "config", "metrics"} <= record.keys():
        raise RecordError(f"{path}: not a record of ablate")
    return record


def load_curve(sweep: Path, run_id: str) -> dict[str, list[float | None]]:
    """The columns of a run's curve. Raises RecordError where there is none."""
    path = curve_path(sweep, run_id)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
        return {
            name: [float(row[column]) if row[column] else None for row in rows] for column, name in enumerate(header)
        }
    except (OSError, ValueError, IndexError) as error:
        raise RecordError(f"{path}: {error}") from error


def finished(sweep: Path, run_id: str, prefixes: Sequence[str] = (), current: Current = lambda _: True) -> bool:
    """Whether this sweep holds a whole record of the run, of this protocol, with a text for each prefix.

    `current` says of a record's `code` whether the code still computes the same.
    """
    path = record_path(sweep, run_id)
    if not path.is_file():
        return False
    try:
        record = load(path)
    except RecordError:
        return False
    if record["status"] not in FINISHED or record.get("protocol") != PROTOCOL:
        return False
    if not current(record.get("code", {})):
        return False
    told = record["status"] == "diverged" or set(prefixes) <= set(record.get("text", ()))
    return told and curve_path(sweep, run_id).is_file()


def find_elsewhere(
    sweep: Path, run_id: str, prefixes: Sequence[str] = (), current: Current = lambda _: True
) -> Path | None:
    """Another sweep in the same results folder that holds the run."""
    try:
        siblings = sorted(sweep.parent.iterdir())
    except OSError:
        return None
    for other in siblings:
        if other != sweep and finished(other, run_id, prefixes, current):
            return other
    return None


def reuse(sweep: Path, other: Path, run_id: str, config: Mapping[str, Any]) -> None:
    """Copy a run from another sweep, so that this folder stands by itself; marked, under our own config."""
    record = load(record_path(other, run_id))
    record["config"] = dict(config)
    record["reused_from"] = record.get("reused_from") or other.name
    write_text(curve_path(sweep, run_id), curve_path(other, run_id).read_text(encoding="utf-8"))
    write_json(record_path(sweep, run_id), record)


def records(sweep: Path) -> Iterator[dict[str, Any] | RecordError]:
    """Every record of a sweep; a file that is none comes as the error that it gave."""
    for path in sorted(runs_dir(sweep).glob("*.json")):
        try:
            yield load(path)
        except RecordError as error:
            yield error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises RecordError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: not a record of ablate")
    return value


def write_json(path: Path, value: Any) -> None:
    write_text(path, to_json(value) + "\n")


def to_json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, indent=1)


def write_text(path: Path, text: str) -> None:
    write_atomically(path, text.encode())


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are written as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _curve_csv(curve: Mapping[str, Sequence[float | None]]) -> str:
    names = list(curve)
    rows = zip(*(curve[name] for name in names), strict=True)
    lines = [",".join(names), *(",".join(_number(value) for value in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "" if value is None else format(value, ".7g")
