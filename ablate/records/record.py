"""The record of one run: what it holds, when a stored one is whole, and under which ids it counts today."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast, get_type_hints

from omegaconf import MISSING as NO_DEFAULT

from ablate.config.errors import UserError
from ablate.config.former_ids import identity_today
from ablate.config.identity import PROTOCOL, short_hash
from ablate.config.metrics import evaluation, evaluation_of
from ablate.config.registry import TASKS, task_name
from ablate.config.schema import Config
from ablate.records.kinds import fits, is_name, misfit
from ablate.records.reading import RecordError

SCHEMA = 1
"""Raised when what a record holds means something else than before: versions that do not know it leave it alone."""

FINISHED = ("ok", "diverged")
"""The statuses of a run that has ended."""

NEEDED: dict[str, dict[str, Any]] = {
    "corpus": {"name": str, "sha256": str},
    "timing": {"wall_s": float | None, "threads": int | None, "device": str},
    "environment": dict.fromkeys(("cpu", "gpu", "torch", "git_commit"), str | None),
}
"""What a record's parts must hold, besides a config, for a report to show it, each with its type."""
MAY_HOLD: dict[str, dict[str, Any]] = {"corpus": {"unit": str | None}, "timing": {"started": str | None}}
"""The types of what they may hold beside it and a report reads."""


class NewerRecord(UserError):
    """A record of a later version of ablate, which this one neither reads nor overwrites."""


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
    ended: dict[str, Any] | None = None  # by a rule, before its epochs were trained: epoch, rule, value
    reused_from: str | None = None
    references: dict[str, str] = field(default_factory=dict)  # prefix -> what a person wrote in place of the text
    sees_future: bool | None = None  # a language model whose outputs depend on later tokens; None: not asked
    measures: dict[str, Any] | None = None  # what a user's task measures (`ablate.tasks.facts.measures`)
    evaluation: str | None = None  # how held-out text was read (ablate.config.metrics.evaluation)
    protocol: int = PROTOCOL
    schema: int = SCHEMA
    code: dict[str, list[float | None]] = field(default_factory=dict)  # what it computed (`ablate.training.behaviour`)
    curve: dict[str, list[float | None]] = field(default_factory=dict)  # kept in its own file


WITHOUT_DEFAULT = [f.name for f in fields(Record) if f.default is f.default_factory is MISSING]
"""What every record has to say."""
DEFAULTS = {f.name: f.default for f in fields(Record) if f.default is not MISSING}
"""What is meant by what a record may leave out, mappings apart."""
KINDS = {name: kind for name, kind in get_type_hints(Record).items() if name != "curve"}
"""The type of each part of a record."""


def whole_record(record: dict[str, Any], path: Path, stored_as: str) -> dict[str, Any]:
    """The record of one run in a file, checked and under its ids of today. Raises RecordError."""
    lacking = [name for name in WITHOUT_DEFAULT if name not in record]
    if "run_id" in lacking or "config" in lacking:
        raise RecordError(f"{path}: not a record of ablate")
    record = DEFAULTS | {"references": {}, "code": {}} | record
    if not lacking:
        if wrong := misfit(record, KINDS):
            raise RecordError(f"{path}: not a whole record, its {wrong} is of another type")
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
    if wrong := _strange(record):
        raise RecordError(f"{path}: not a whole record, its {wrong} is of another type")
    return _as_today(record)


def _strange(record: Mapping[str, Any]) -> str:
    """The first part of a record that is none that it was ever stored with; empty where there is none."""
    for name in ("run_id", "setting_id"):
        if not is_name(record[name]):
            return name
    for kinds in (NEEDED, MAY_HOLD):
        for part, own in kinds.items():
            if wrong := misfit(record[part], own):
                return f"{part}.{wrong}"
    return _strange_knob(record["config"], _kinds(Config), "config")


def _strange_knob(values: Mapping[str, Any], kinds: Mapping[str, Any], where: str) -> str:
    for name, kind in kinds.items():
        if name not in values:
            continue
        value = values[name]
        if not isinstance(kind, dict):
            if not fits(value, kind):
                return f"{where}.{name}"
        elif not isinstance(value, dict):
            return f"{where}.{name}"
        elif wrong := _strange_knob(value, kind, f"{where}.{name}"):
            return wrong
    return ""


@cache
def _kinds(kind: type) -> dict[str, Any]:
    """The common knobs of a stored config, each with its type; of a part those in it."""
    hints = get_type_hints(kind)
    own = {f.name: hints[f.name] for f in fields(kind) if not f.metadata.get("own")}
    return {name: _kinds(cast(type, one)) if is_dataclass(one) else one for name, one in own.items()}


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


def newer(record: Mapping[str, Any]) -> str:
    """In which way a record is of a later version of ablate, or an empty string."""
    for name, ours in (("protocol", PROTOCOL), ("schema", SCHEMA)):
        theirs = record.get(name, 1)
        if isinstance(theirs, int) and theirs > ours:
            return f"of {name} {theirs}, from a later version of ablate (this one writes {ours})"
    return ""


def outdated(record: Mapping[str, Any]) -> str:
    """Why the numbers of a whole record mean something else than those of a run today, or an empty string."""
    if record.get("protocol") != PROTOCOL:
        return f"of protocol {record.get('protocol')}, this is {PROTOCOL}"
    then, today = evaluation_of(record), evaluation(record["config"])
    return "" if then == today else f"its held-out text was read in {then}, today it is {today}"
