"""What is legal: single values, values together, and which engines can compute a config."""

import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, cast

from ablate.config.errors import CombinationError, ConfigError, listing, nearest
from ablate.config.metrics import METRICS, loss_metrics
from ablate.config.registry import CELLS, DATASETS, OF_GROUP, TASKS, Knob, knobs_of, own_knobs
from ablate.config.resolved import Resolved
from ablate.config.schema import FILES_OF_PARTS, PARTS, Config, Part
from ablate.config.stopping import Rule, check_metric, seconds_of

FUNCTION = "function"
"""What computes a task that has no network of ours: a function of a person's own, called once a run."""

NAME_LIMIT = 200
"""Longest name of a sweep, in bytes: file systems allow 255, and names of files are made from it."""


def engines_for(config: Resolved) -> tuple[str, ...]:
    """The engines to choose from: the one asked for, or with engine=auto the fast ones that can.

    Raises CombinationError where the engine asked for cannot.
    """
    if not config.task.thing.has_network:
        return (FUNCTION,)
    if config.precision == "bf16":
        if config.engine not in ("auto", "cohort"):
            raise CombinationError(
                f"precision={config.precision} is what engine=cohort computes, not engine={config.engine}; "
                "leave one of them out"
            )
        return ("cohort",)
    why_not = api_cannot(config)
    if config.engine == "auto":
        return ("cohort",) if why_not else ("cohort", "torch_nn")
    if config.engine == "torch_nn" and why_not:
        remedy = "use engine=cohort, engine=eager or engine=auto"
        what = "task.attention=true" if _attends(config) else f"model={config.model.name}"
        raise CombinationError(f"engine=torch_nn cannot compute {what}: {why_not}; {remedy}")
    return (config.engine,)


def api_cannot(config: Resolved) -> str:
    """Why torch.nn does not offer the function that this config means, or an empty string."""
    model, cell = config.model, CELLS[config.model.cell]
    if _attends(config):
        return "the decoder with attention is written for the readable cells alone"
    if beyond := cell.beyond_torch_nn(model):
        return f"torch.nn has no {beyond}"
    if model.gates:
        return f"torch.nn.{cell.torch_nn} has no option to fix its {listing(model.gates)} gate"
    if model.readout != "state" or not model.write_back:
        return f"torch.nn.{cell.torch_nn} always carries and reads out its state"
    if config.reset == "before":
        return "torch.nn.GRU applies the reset gate after the recurrent product (reset=after)"
    return ""


def _attends(config: Config) -> bool:
    return config.task.name == "translation" and config.task.attention


def validate(config: Config) -> None:
    """Raise ConfigError, in one line, for the first value that no run could have."""
    for group in PARTS:
        _check_choice(group, getattr(config, group))
    for where, one, metadata in _knobs(config):
        _check(where, one, metadata)
    gates = config.model.thing.gates
    for gate, constant in config.model.gates.items():
        if gate not in gates:
            has = f"its gates are {listing(gates)}" if gates else "it has none"
            raise ConfigError(f"model.gates names {gate!r}, but a {config.model.cell} has no such gate; {has}")
        if isinstance(constant, bool) or not isinstance(constant, int | float) or not 0 <= constant <= 1:
            raise ConfigError(f"model.gates.{gate} is {constant}; a gate lies between 0 and 1")
    own = {knob.name for knob in config.model.own_knobs}
    for name, given in config.model.own.items():
        if name not in own:
            knob, owners = own_knobs("model")[name]
            value, off = (str(one).lower() for one in (given, knob.off))
            raise ConfigError(
                f"model.{name} is {value}, but a {config.model.cell} has no such thing; it is for "
                f"model.cell={listing(owners)}; beside that cell, model:model.{name}={owners[0]}:{value},"
                f"{config.model.name}:{off}"
            )
    for group in PARTS:
        part = getattr(config, group)
        _check_unread(part)
        if (check := getattr(part.thing, "check", None)) is not None:
            check(part)
    if config.model.transition is not None and config.model.connection != "dense":
        raise ConfigError(
            f"model.transition is {config.model.transition}, but model.connection is {config.model.connection}; "
            "only densely connected layers grow wider and can be reduced: add model.connection=dense"
        )
    data, task = config.data.thing, config.task.thing
    if data.name not in task.data:
        fitting = [one.name for one in TASKS if data.name in one.data]
        choose = [f"{key}={listing(names)}" for key, names in (("data", task.data), ("task", fitting)) if names]
        raise ConfigError(f"data is {data.name}, but task is {task.name}; choose {', or '.join(choose)}")
    for option, only in data.fixed.items():
        typed = getattr(config.data, option)
        if typed != only:
            known = f"data={config.data.name} knows data.{option}={only} alone"
            raise ConfigError(f"data.{option} is {typed}, but {known}; leave it out")
    _check_files(config)
    if task.has_network:
        _check_stopping(config)
    if not re.fullmatch(r"cpu|cuda|cuda:[0-9]+|mps|auto", config.device):
        raise ConfigError(f"device is {config.device!r}; choose cpu, cuda, cuda:0 …, mps or auto")
    if config.name is not None and (
        not config.name.strip() or config.name in (".", "..") or set(config.name) & set('/\\:*?"<>|\0')
    ):
        raise ConfigError(f'name is {config.name!r}; it names a folder: leave out / \\ : * ? " < > |')
    if config.name is not None and len(config.name.encode()) > NAME_LIMIT:
        raise ConfigError(
            f"name has {len(config.name.encode())} bytes; a folder's may have {NAME_LIMIT}: give a shorter one"
        )


def _check_files(config: Config) -> None:
    """Raise ConfigError for a file of the user's that is missing, or that nothing would read."""
    data, thing, task = config.data, config.data.thing, config.task.name
    parts = {part: getattr(data, part) for part in FILES_OF_PARTS if getattr(data, part)}
    if thing.own_file and not data.path and not parts:
        raise ConfigError(f"data={data.name} needs a file: give data.path=FILE")
    for option, file in {"path": data.path, **parts}.items():
        reads = "own_file" if option == "path" else "in_parts"
        if not file or getattr(thing, reads):
            continue
        reading = [one.name for one in DATASETS if getattr(one, reads) and task in one.tasks]
        remedies = [f"choose data={listing(reading)}"] if reading else []
        remedies += [f"declare it with ablate.DataSet(…, {reads}=True)"] * (thing.name in DATASETS.origin)
        raise ConfigError(
            f"data.{option} is {file!r}, but data is {thing.name}, which reads no file of yours"
            f"{' for a part of its text' * (reads == 'in_parts')}; "
            f"{', or '.join(remedies or [f'leave data.{option} out'])}"
        )
    given = ", ".join(f"data.{part}" for part in parts)
    if parts and data.path:
        raise ConfigError(
            f"data.path is given, and {given} too; give one file, data.path=FILE, or one for each part, "
            "data.train=FILE data.valid=FILE data.test=FILE"
        )
    for part, use in {"train": "that is trained on", "valid": "by which is chosen"}.items() if parts else ():
        if part not in parts:
            raise ConfigError(f"{given} is given without data.{part}; give data.{part}=FILE, too, the text {use}")


def check_combination(config: Resolved) -> None:
    """Raise CombinationError for values that are legal by themselves and mean nothing together."""
    if config.model.bidirectional and config.sampling == "sequential":
        raise CombinationError(
            "model.bidirectional reads each sequence from its end, too, so no state can be carried from minibatch to "
            "minibatch (sampling=sequential); choose sampling=random or sampling=sequential-reset"
        )
    if config.speed and not config.task.thing.has_network:
        raise CombinationError(f"speed=true times networks, and task={config.task.name} has none; leave it out")
    facts = config.task.thing
    if facts.has_network and (kept := facts.held_out.too_little(config)):
        raise CombinationError(f"{kept} is too little to be measured; give 0, or {facts.held_out.least} or more")
    if facts.has_network and not facts.held_out.some(config):
        follows = [f"patience={config.patience}"] * (config.patience is not None)
        follows += [f"schedule={config.schedule.name}"] * config.schedule.thing.reads_held_out
        if follows:
            remedy = f"; raise {facts.held_out.knob}" if facts.held_out.knob else ""
            raise CombinationError(
                f"{' and '.join(follows)} follows the held-out perplexity, and nothing is held out "
                f"({facts.held_out.knob}={facts.held_out.amount(config)}){remedy}"
            )
    engines_for(config)


def _check_stopping(config: Config) -> None:
    """Raise ConfigError for a rule by which no run of this task could end."""
    if config.budget is not None:
        seconds_of("budget", config.budget)
    if config.until is not None:
        facts = config.task.thing
        held_out = facts.held_out.some(config)
        names = [*loss_metrics(), *(name for name in facts.metrics if held_out)]
        usable = [name for name in names if (held_out or not METRICS[name].held_out) and not METRICS[name].of_test]
        check_metric(Rule.read(config.until), usable)


def _check_choice(group: str, part: Part) -> None:
    """Raise ConfigError for a name that nothing has."""
    name, registry = getattr(part, part.chosen_by), OF_GROUP[group]
    if name not in registry:
        key = group if part.chosen_by == "name" else f"{group}.{part.chosen_by}"
        raise ConfigError(f"{key} is {name!r}; choose {listing(registry.names)}{nearest(str(name), registry.names)}")


def _knobs(config: Config | Part, prefix: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    for f in fields(cast(Any, config)):
        value = getattr(config, f.name)
        if isinstance(value, Part):
            yield from _knobs(value, f"{prefix}{f.name}.")
        elif not f.metadata.get("own"):
            yield prefix + f.name, value, f.metadata
    if isinstance(config, Part):
        for knob in config.own_knobs:
            yield from _own(knob, config.own[knob.name], prefix)


def _own(knob: Knob, value: Any, prefix: str) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    fixed = isinstance(knob.default, list) and not knob.any_length
    length = len(knob.default) if fixed else 0
    if isinstance(value, list) and length and len(value) != length:
        raise ConfigError(f"{prefix}{knob.name} is {value}; give {length} values")
    for one in value if isinstance(value, list) else [value]:
        yield prefix + knob.name, one, knob.metadata


def _check_unread(part: Part) -> None:
    """Raise ConfigError for the value of a knob that only others declare, and that none of these could have."""
    read = {knob.name for knob in part.own_knobs}
    for name, value in part.own.items():
        refusals: list[ConfigError] = []
        declared = [knob for thing in OF_GROUP[part.group] for knob in knobs_of(thing) if knob.name == name]
        for knob in declared if name not in read else ():
            try:
                for where, one, metadata in _own(knob, value, f"{part.group}."):
                    _check(where, one, metadata)
            except ConfigError as error:
                refusals.append(error)
        if refusals and len(refusals) == len(declared):
            raise refusals[0]


def _check(where: str, value: Any, metadata: Mapping[str, Any]) -> None:
    if value is None:
        return
    words = metadata.get("words")
    if words and isinstance(value, str) and value not in words:
        raise ConfigError(f"{where} is {value!r}; give a number, or {listing(words)}{nearest(value, words)}")
    choices = metadata.get("choices")
    if choices and value not in choices:
        names = [str(choice) for choice in choices]
        meant = nearest(str(value), names) or metadata.get("otherwise", "")
        raise ConfigError(f"{where} is {value!r}; choose {listing(names)}{meant}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not -sys.float_info.max <= value <= sys.float_info.max:  # nor NaN
            raise ConfigError(f"{where} is {_shown(value)}; it must be a finite number")
        if 0 < abs(value) < sys.float_info.min:  # flushed to 0 where networks are trained
            raise ConfigError(f"{where} is {value}, too near 0 to be computed with; give at least 1e-300")
        if "minimum" in metadata and value < metadata["minimum"]:
            raise ConfigError(f"{where} is {value}; it must be {metadata['minimum']} or more")
        if "above" in metadata and value <= metadata["above"]:
            raise ConfigError(f"{where} is {value}; it must be above {metadata['above']}{_off(where)}")
        if "below" in metadata and value >= metadata["below"]:
            raise ConfigError(f"{where} is {value}; it must be below {metadata['below']}")


def _shown(value: float) -> str:
    """What is no finite number, in a message: of a whole one how many digits it has."""
    return (
        f"a number of about {value.bit_length() * math.log10(2):.0f} digits" if isinstance(value, int) else str(value)
    )


def _off(where: str) -> str:
    return " (clip=null switches clipping off)" if where == "clip" else ""
