"""What makes two runs the same run: hashes of everything that decides an outcome, and of nothing else.

An identity is one nested dictionary: the common knobs that decide, and for the cell, the task, the optimizer … that
take part their own.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, cast

from ablate.config.errors import listing
from ablate.config.former_ids import former_identities
from ablate.config.knobs import NamedKnob, knobs
from ablate.config.registry import ALWAYS, FIRST_TASK
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config, Part

PROTOCOL = 1
"""Raised when a change to the code alters the outcome of a run: stored results of older protocols are not reused."""

NO_KNOB = object()
"""As `absent`: the knob always counts."""


def run_identity(config: Resolved, corpus_sha256: str) -> dict[str, Any]:
    """Exactly what decides the outcome of one run of `config` with seed `config.seed`.

    `corpus_sha256` is the hash of the cleaned text: the corpus counts by its content, not by its name.
    """
    if not config.task.thing.has_network:
        return {"task": _deciding(config.task), "seed": config.seed, "protocol": PROTOCOL}
    identity = _deciding(config)
    if not config.model.thing.recurrent:
        del identity["bias_vectors"]
    if config.task.name == FIRST_TASK and config.task.source is None:
        del identity["task"]  # what was trained before there were tasks
    identity["data"] = {"sha256": corpus_sha256, "tokens": config.data.tokens} | _own(config.data)
    identity["protocol"] = PROTOCOL
    return identity


def _deciding(config: Config | Part) -> dict[str, Any]:
    """What decides an outcome, of a config or of a part of it; of a thing of the user's own the hash of its source."""
    out: dict[str, Any] = {}
    for name, absent in _that_decide(cast(Any, type(config))):
        if name == "own":
            out |= _own(cast(Part, config))
        elif (value := getattr(config, name)) != absent:
            out[name] = _deciding(value) if isinstance(value, Part) else value
    return out


@cache
def _that_decide(kind: type) -> tuple[tuple[str, Any], ...]:
    """The fields of a config, or of a part of it, that decide an outcome, each with its `absent`."""
    return tuple(
        (f.name, f.metadata.get("absent", NO_KNOB))
        for f in fields(kind)
        if f.metadata.get("identity", True) and "through" not in f.metadata
    )


def _own(part: Part) -> dict[str, Any]:
    """The knobs of a thing's own that decide an outcome, and the hash of its source where a user brought it."""
    own = {knob.name: part.own[knob.name] for knob in part.own_knobs if knob.decides}
    absent = {knob.name: knob.absent for knob in part.own_knobs if knob.absent is not ALWAYS}
    out = {name: value for name, value in own.items() if name not in absent or value != absent[name]}
    return out if part.source is None else out | {"source": part.source}


def short_hash(value: Any) -> str:
    """12 hexadecimal digits that name a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_id(config: Resolved, corpus_sha256: str) -> str:
    """The name of one run: a hash of its identity."""
    return short_hash(run_identity(config, corpus_sha256))


def setting_id(config: Resolved, corpus_sha256: str) -> str:
    """The name of a setting: the runs that differ by seed only."""
    return setting_of(run_identity(config, corpus_sha256))


def setting_of(identity: dict[str, Any]) -> str:
    """The name of the setting to which the run of this identity belongs."""
    return short_hash({name: value for name, value in identity.items() if name != "seed"})


def asked_as(config: Resolved) -> str:
    """A hash of what a command says of a setting: it stays when the text, or a file of a person's own, is edited."""
    said = run_identity(config, "") | {"seed": None, "data": config.data.values()}
    for name, part in said.items():
        if isinstance(getattr(config, name, None), Part):
            said[name] = {knob: value for knob, value in part.items() if knob != "source"}
    return short_hash(said)


def former_run_ids(config: Resolved, corpus_sha256: str) -> tuple[str, ...]:
    """The ids under which older versions could have stored this run."""
    return former_ids(run_identity(config, corpus_sha256))


def former_ids(identity: dict[str, Any]) -> tuple[str, ...]:
    """The ids that what has this identity could have had in older versions."""
    return tuple(map(short_hash, former_identities(identity)))


def former_setting_ids(config: Resolved, corpus_sha256: str) -> tuple[str, ...]:
    """The ids that this setting could have had in older versions."""
    identity = run_identity(config, corpus_sha256)
    del identity["seed"]
    return former_ids(identity)


def shared_identity(config: Resolved, corpus_sha256: str) -> dict[str, Any]:
    """What runs of one batched program agree in: all that decides what a run computes, but for per-replica knobs."""
    identity = run_identity(config, corpus_sha256)
    for f in fields(Config):
        value = getattr(config, f.name)
        if f.metadata.get("per_replica"):
            identity.pop(f.name, None)
        elif isinstance(value, Part) and f.name in identity:
            for knob in value.own_knobs:
                if knob.per_replica:
                    identity[f.name].pop(knob.name, None)
    return identity


def cohort_key(config: Resolved, corpus_sha256: str) -> str:
    """The same for runs that can train as one batched program: they differ in per-replica knobs only."""
    how: dict[str, Any] = {"engine": config.engine, "device": config.device, "graphs": config.cuda_graphs}
    # A mask costs those who need none.
    how["drops"] = [share > 0 for share in (config.dropout, config.dropout_in, config.dropout_out)]
    optimizer = config.optimizer.thing
    if optimizer.is_descent and not optimizer.descends(optimizer.options(config.optimizer)):
        # The others' update is one product, with the factor of their clip in it, which no further step may round.
        how["decays"] = True
    return short_hash(shared_identity(config, corpus_sha256) | how)


# --- knobs that are given and that nothing reads ------------------------------------------------------------------


def without_effect(configs: Sequence[Config], given: Iterable[str]) -> dict[str, str]:
    """Knob → one line that says why, for each knob given that no config reads: another value makes no other run.

    A value that switches something off, 0, false or null, needs no word, but for a knob that none of the cells, tasks,
    … that are chosen has: whatever its value, it says nothing.
    """
    found = {}
    for key in given:
        knob = knobs().get(key)
        if knob is None or is_dataclass(knob.kind) or knob.is_group or key.startswith("data."):
            continue
        off: list[Any] = [None, 0, False, [], knob.metadata.get("absent")]
        on = [config for config in configs if _value(config, key) not in off]
        if knob.owners and not any(_has(config, knob) for config in configs):
            on = [*configs]
        if on and not any(_reads(config, knob) for config in configs):
            found[key] = f"{key}={_written(_value(on[0], key))} has no effect here: {_why(on[0], knob)}"
    return found


def _has(config: Config, knob: NamedKnob) -> bool:
    """Whether what is chosen is one of those that have a knob of their own."""
    part = getattr(config, knob.name.partition(".")[0])
    return getattr(part, part.chosen_by) in knob.owners


def _reads(config: Config, knob: NamedKnob) -> bool:
    """Whether the outcome of a config depends on a knob: no other value leaves the run as it is."""
    value, through = _value(config, knob.name), knob.metadata.get("through")
    if through == knob.name.rpartition(".")[2]:  # optimizer.lr is what lr is where nobody sets that
        return bool(_value(config, through) == value)
    if through is not None:
        return True
    own = _outcome(config)
    return all(_outcome(_with(config, knob.name, other)) != own for other in _others(knob, value))


def _outcome(config: Config) -> list[Any]:
    """All that another value of a knob can change: the run, and what of the other knobs is kept when it is resolved."""
    if config.updates is not None:
        config = config.but(epochs=1)  # updates set them
    if config.data.train:
        config = config.but(val_tokens=0, test_tokens=0)  # the files set them
    resolved = resolve(config)
    kept = {f.name: getattr(resolved, f.name) for f in fields(Config) if not f.metadata.get("identity", True)}
    return [run_identity(resolved, ""), {name: value for name, value in kept.items() if not isinstance(value, Part)}]


def _others(knob: NamedKnob, value: Any) -> Iterator[Any]:
    """Other values of a knob, none of which is null: that stands for a default."""
    if knob.metadata.get("choices"):
        yield from (choice for choice in knob.metadata["choices"] if choice != value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1 if value + 1 != value else 1.0  # 1e29 + 1 is 1e29
    elif isinstance(value, str):
        yield f"{value}'"
    elif isinstance(value, list):
        yield [*value, *value[-1:]]


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def _with(config: Any, key: str, value: Any) -> Any:
    name, _, below = key.partition(".")
    return config.but(**{name: _with(getattr(config, name), below, value) if below else value})


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _why(config: Config, knob: NamedKnob) -> str:
    group, _, option = knob.name.rpartition(".")
    if knob.owners:
        return f"{group} is {_value(config, group).name}, and only {listing(knob.owners)} would read it"
    if knob.metadata.get("through") == option:
        return f"{option} is given by itself, {_value(config, option)}"
    if config.data.train and knob.name in ("val_tokens", "test_tokens"):
        return f"with data.train, data.{'valid' if knob.name == 'val_tokens' else 'test'} says what it is"
    if knob.name == "epochs":
        return f"updates={config.updates} sets the epochs"
    needs = knob.metadata.get("needs")
    return f"it needs {needs}" if needs else f"no setting reads it (model={config.model.name}, task={config.task.name})"
