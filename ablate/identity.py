"""What makes two runs the same run: hashes of everything that decides an outcome, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from ablate.config import TASK_OPTIONS, Config, resolve

PROTOCOL = 1
"""Raised when a change to the code alters the outcome of a run: stored results of older protocols are not reused."""

NO_KNOB = object()
"""As `absent`: the knob always counts."""


def run_identity(config: Config, corpus_sha256: str) -> dict[str, Any]:
    """Exactly what decides the outcome of one run of `config` with seed `config.seed`.

    `corpus_sha256` is the hash of the cleaned text: the corpus counts by its content, not by its name.
    """
    resolved = resolve(config)
    identity = _deciding(resolved)
    if config.model.cell != "rnn" and config.model.activation == "tanh":
        del identity["model"]["activation"]
    del identity["task"]  # what was trained before there were tasks is a language model
    if config.task.name != "language_model":
        identity["task"] = {"name": config.task.name} | relevant_options(asdict(config.task), TASK_OPTIONS)
    options = asdict(resolved.optimizer)
    identity["optimizer"] = {"name": options["name"]} | relevant_options(options)
    identity["data"] = {"sha256": corpus_sha256, "tokens": config.data.tokens}
    identity["protocol"] = PROTOCOL
    return identity


def _deciding(config: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.metadata.get("identity", True) and value != f.metadata.get("absent", NO_KNOB):
            out[f.name] = _deciding(value) if is_dataclass(value) else value
    return out


OPTIMIZER_OPTIONS = {
    "sgd": ("weight_decay",),
    "momentum": ("momentum", "weight_decay"),
    "adam": ("betas", "eps", "weight_decay"),
    "adamw": ("betas", "eps", "weight_decay"),
    "rmsprop": ("alpha", "eps", "momentum", "weight_decay"),
}
"""The options that each update rule reads."""


def relevant_options(
    group: Mapping[str, Any], options: Mapping[str, tuple[str, ...]] = OPTIMIZER_OPTIONS
) -> dict[str, Any]:
    """The options, of a stored optimizer or task, that matter to the one it names."""
    return {key: group[key] for key in options[group["name"]]}


def short_hash(value: Any) -> str:
    """12 hexadecimal digits that name a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_id(config: Config, corpus_sha256: str) -> str:
    """The name of one run: a hash of its identity."""
    return short_hash(run_identity(config, corpus_sha256))


def cell_id(config: Config, corpus_sha256: str) -> str:
    """The name of a cell: the runs that differ by seed only."""
    identity = run_identity(config, corpus_sha256)
    del identity["seed"]
    return short_hash(identity)


def cohort_key(config: Config, corpus_sha256: str) -> str:
    """The same for runs that can train as one batched program: they differ in per-replica knobs only."""
    identity = run_identity(config, corpus_sha256)
    for f in fields(Config):
        if f.metadata.get("per_replica"):
            del identity[f.name]
    return short_hash(identity | {"engine": config.engine, "device": config.device})
