"""The names of knobs in frames of records, in claims and in tables: `task.masked` is the column `masked`.

A knob that only things of a user's own have keeps the name that is typed, `model.alpha`: another one of that name may
be there, and a frame tells by itself which of its columns are knobs. That of a function (`ablate.experiments`) is typed
by its bare name, and so it is called: `lr`, `width`; `task.loss` where it has the name of what is measured, or of
another column.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, cast

from ablate.config.registry import ALWAYS, OF_GROUP, Knob, Registry, own_knobs, revision
from ablate.config.schema import PARTS, Config

ORDER = (
    *("task", "model", "model.*", "bidirectional", "connection", "transition", "embedding", "tied"),
    *("num_hiddens", "layers", "dropout", "dropout_in", "dropout_out", "dropout_mask"),
    *("formulation", "init", "init_scale", "forget_bias", "t_max", "reset", "bias_vectors"),
    *("num_steps", "batch_size", "sampling"),
    *(
        "optimizer",
        "lr",
        "schedule",
        "clip",
        "clip_by",
        "precision",
        "epochs",
        "patience",
        "until",
        "budget",
        "max_tokens",
        "val_tokens",
        "test_tokens",
        "corpus",
        "unit",
        "cleaning",
    ),
    *("gates", "readout", "write_back", "optimizer.*", "schedule.*", "task.*", "data.*", "corpus_sha256"),
)
"""The columns that may tell two settings apart; `task.*` stands for the knobs that tasks have of their own."""

OF_DATA = {"data": "corpus", "data.name": "corpus", "data.tokens": "unit", "data.cleaning": "cleaning"}
"""Knobs of the data whose columns have names of their own."""


TAKEN = frozenset(
    (
        *("run_id", "setting_id", "seed", "status", "task", "model", "corpus", "corpus_sha256", "unit", "cleaning"),
        *("started", "diverged_epoch", "parameters", "updates_per_epoch", "tokens_per_epoch", "train_tokens"),
        *("epochs_done", "epochs_trained", "ended_by"),
        *("engine", "threads", "device", "cpu", "gpu", "cores", "platform", "python", "ablate", "torch"),
        *("gpu_capability", "gpu_memory_bytes", "gpu_index", "gpu_uuid", "driver", "cuda", "cudnn"),
        *("git_commit", "git_dirty", "reused_from", "sees_future", "match", "equal_updates", "n", "diverged", "sweep"),
        *("updates", "why", "source", "whose", "differs", "repeats_course", "tokens_per_s", "optimizer", "schedule"),
    )
)
"""Columns of frames that are no knob of a function, whatever it has."""

TIME = "wall_s"
"""The column of the time of a run, which `ablate` measures itself."""

OF_EXPERIMENTS: dict[str, set[type]] = {}
"""Column of a knob of a function, or of a thing that nothing here has loaded → the types of the values that stored
runs have there."""


def metric_names() -> Iterable[str]:
    """What is measured; the registry of metrics is declared above this module."""
    return next((one.found for one in Registry.every if one.kind == "metric"), {})


def not_measured() -> frozenset[str]:
    """The columns of frames that no metric of a person's own may have the name of: they are those of something else."""
    return _not_measured(revision())


@lru_cache(1)
def _not_measured(_: tuple[int, ...]) -> frozenset[str]:
    common = (name for name in ORDER if not name.endswith("*"))
    shipped = (
        column(f"{group}.{name}")
        for group, registry in OF_GROUP.items()
        for name, (_, owners) in own_knobs(group).items()
        if any(owner not in registry.origin for owner in owners)
    )
    return TAKEN | {TIME, *common, *shipped}


def experiment_column(name: str) -> str:
    """The column of a function's knob."""
    return f"task.{name}" if name in TAKEN or name in metric_names() else name


def experiment_values(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Column → value, for the knobs of a function, from a stored `task`."""
    return _remembered({experiment_column(name): _plain(value) for name, value in stored.items() if name != "name"})


def _remembered(values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        OF_EXPERIMENTS.setdefault(name, set()).update([] if value is None else [type(value)])
    return values


def of_experiments() -> Iterable[str]:
    """Columns of functions' knobs. What one function has as a knob another may measure: then it is no knob there."""
    measured = metric_names()
    return [name for name in OF_EXPERIMENTS if name not in measured]


def as_typed(word: str) -> str:
    """`lr=0.1`, or `lr`, for `task.lr=0.1` where that is a function's knob, which a person types by its bare name."""
    name = word.removeprefix("task.").partition("=")[0]
    _, owners = own_knobs("task").get(name, (None, ()))
    functions = all(_is_function("task", owner) for owner in owners) if owners else name in OF_EXPERIMENTS
    return word.removeprefix("task.") if functions else word


def _is_function(group: str, name: str) -> bool:
    return group == "task" and not getattr(OF_GROUP[group].get(name), "has_network", True)


def column(key: str) -> str:
    """The column of a knob, given by the name that is typed."""
    group, dot, name = key.partition(".")
    if key in OF_DATA or not dot:
        return OF_DATA.get(key, key)
    if group in PARTS and name in (found := own_knobs(group)):
        _, owners = found[name]
        if all(_is_function(group, owner) for owner in owners):
            return experiment_column(name)
        return name if any(owner not in OF_GROUP[group].origin for owner in owners) else key
    return name


def named_column(name: str, known: Collection[str]) -> str:
    """The one of these columns that a person means by a name: its own, that of the knob as a command has it,
    `model.activation`, or, of a thing of one's own, the last part of that, `a` for `model.a`. Otherwise the name.
    """
    if name in known:
        return name
    group, dot, _ = name.partition(".")
    typed = column(name) if not dot or group in PARTS else name
    bare = [one for one in known if one.partition(".")[2] == name]
    return typed if typed in known else bare[0] if len(bare) == 1 else name


def gate_named(name: str) -> str | None:
    """`update` for `model.gates.update`, or for `gates.update`: one of the gates that the column `gates` is about."""
    gate = name.removeprefix("model.").removeprefix("gates.")
    return gate if gate.isidentifier() and name in (f"model.gates.{gate}", f"gates.{gate}") else None


def own_columns(group: str) -> dict[str, str]:
    """Knob that things of a group have of their own → its column."""
    return _tables(revision())[group]


@lru_cache(1)
def _tables(_: tuple[int, ...]) -> dict[str, dict[str, str]]:
    return {group: {name: column(f"{group}.{name}") for name in own_knobs(group)} for group in OF_GROUP}


def columns() -> tuple[str, ...]:
    """The columns that may tell two settings apart, also those of what users brought, in their order."""
    return _columns(revision())


@lru_cache(1)
def _columns(_: tuple[int, ...]) -> tuple[str, ...]:
    out: dict[str, None] = {}
    for name in ORDER:
        group, dot, __ = name.partition(".")
        out |= dict.fromkeys(own_columns(group).values() if dot else [name])
    return tuple(out)


def columns_in(frame: Iterable[Any]) -> list[str]:
    """Those columns of a frame, or of a row, that are knobs; also such as nothing that is loaded has."""
    present = dict.fromkeys(map(str, frame))
    known = [name for name in (*columns(), *of_experiments()) if name in present]
    dotted = (name for name in present if "." in name and name.partition(".")[0] in PARTS)
    return list(dict.fromkeys([*known, *dotted]))


def own_values(group: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Column → value, for each knob that a thing of a group may have of its own, from a stored part.

    Where it is no part of the setting: the value that means so, or None. Where nothing of the stored name is loaded
    here, everything in the part that is no common knob is taken to be its own.
    """
    part = PARTS[group].of(stored)
    names, declared = own_columns(group), own_knobs(group)
    out = {
        names[name]: _off(first)
        for name, (first, owners) in declared.items()
        if not all(_is_function(group, owner) for owner in owners)
    }
    if getattr(part, part.chosen_by) not in OF_GROUP[group]:
        stored = {names.get(name, f"{group}.{name}"): _plain(value) for name, value in part.own.items()}
        return out | _remembered({name: value for name, value in stored.items() if "." in name}) | stored
    return out | {names[knob.name]: _plain(part.own[knob.name]) for knob in part.own_knobs}


def _off(knob: Knob) -> Any:
    return None if knob.absent is ALWAYS else knob.absent


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, list | dict) else value


def common_added_later() -> dict[str, Any]:
    """The common knobs that records may be older than, parts apart, with the value that these mean."""
    return {f.name: f.metadata["absent"] for f in fields(Config) if f.name not in PARTS and "absent" in f.metadata}


def added_later(group: str) -> dict[str, Any]:
    """The same for the knobs of a part, by their columns."""
    return _added_later(group, revision())


@lru_cache(len(OF_GROUP))
def _added_later(group: str, _: tuple[int, ...]) -> dict[str, Any]:
    common = {f.name: f.metadata["absent"] for f in fields(cast(Any, PARTS[group])) if "absent" in f.metadata}
    own = {column(f"{group}.{name}"): first.absent for name, (first, _) in own_knobs(group).items()}
    return {name: value for name, value in (own | common).items() if value is not ALWAYS}
