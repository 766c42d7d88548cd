"""What the code makes of a config: a few numbers that change when an equation does, and not when a line of code does.

A run's identity says what was asked for; it cannot see that a cell's equation, an update rule or the order of the data
was edited since. So a few minibatches of a tiny network are computed here, in float64, from weights, tokens and random
numbers made by rule, and each record keeps what came out, in five parts:

    network    losses of three minibatches, forward and back, and of held-out tokens, by the readable network
    initial    the initial weights
    update     losses under the config's update rule and clipping
    task       what an epoch reads, in which order; the held-out tokens; what is scored beside the perplexity
    measures   from losses to metrics

Sizes, learning rates and the like are fixed, so that few probes serve all settings of a sweep. Neither the order of a
sum on some processor nor the random numbers of a release of torch enter: compare with `TOLERANCE`.

Records that are older than this know nothing of it: `GOLDEN` has the numbers of the code that computed them.
`python -m ablate.training.golden` writes them; see `tests/training/test_behaviour.py` for when that is right.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from ablate.config.registry import DATASETS, OPTIMIZERS, SCHEDULES, TASKS, own_knobs, revision
from ablate.config.resolved import CHRONO, Resolved
from ablate.config.schema import ModelConfig, ScheduleConfig
from ablate.networks.families import family
from ablate.training.probes import (
    EMBEDDING,
    PROBED,
    TOLERANCE,
    TRANSITION,
    USUAL,
    Series,
    by_engine,
    probe,
    tiny_by_name,
)

Behaviour = dict[str, Series]

GOLDEN_PATH = Path(__file__).with_name("behaviour.json")


def behaviour(config: Resolved) -> Behaviour:
    """Part → its numbers, of the code as it is."""
    return {part: probe(key) for part, key in keys(config).items()}


def changes(recorded: Mapping[str, Sequence[float | None]], config: Resolved) -> list[str]:
    """What has changed since a run of this config was recorded with this behaviour, in words; empty for nothing.

    A part that is not recorded is that of `GOLDEN`; one that is not there either is taken as it is now.
    """
    out = []
    for part, key in keys(config).items():
        before = recorded.get(part) or golden().get(key)
        if before is not None and not alike(before, probe(key)):
            out.append(NAMES[part](config))
    return out


def disagreement(engine: str, config: Resolved) -> str:
    """What an engine computes otherwise than the readable network and torch.optim, in words; empty for nothing."""
    parts = keys(config)
    for part in ("network", "update") if parts else ():
        key = parts[part]
        for series, tolerance in by_engine(engine, key, revision()):
            if not alike(series, probe(key), tolerance):
                return NAMES[part](config)
    return ""


def compared(config: Resolved) -> list[Resolved]:
    """The tiny configs on which the engines that could compute this one are compared, see `disagreement`."""
    parts = keys(config)
    return [tiny_by_name(parts[part], revision()) for part in ("network", "update") if parts]


def alike(before: Sequence[float | None], now: Sequence[float | None], tolerance: float = TOLERANCE) -> bool:
    """Whether these are the numbers of the same code; where one is not finite, neither may the other be."""
    pairs = zip(before, now, strict=False)
    return len(before) == len(now) and all(
        a is b if a is None or b is None else math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance / 1000)
        for a, b in pairs
    )


NAMES: dict[str, Callable[[Resolved], str]] = {
    "network": lambda config: f"the code of {config.model.name}",
    "initial": lambda config: f"the initial weights of {config.model.name}",
    "update": lambda config: f"the update by {config.optimizer.name}",
    "task": lambda config: f"the data and scores of {config.task.name}",
    "measures": lambda config: "what is measured",
}
"""How a message names a part."""


def keys(config: Resolved) -> dict[str, str]:
    """Part → the name of the probe that stands for this config, which says all that the probe depends on."""
    if not config.task.thing.has_network:
        return {}
    model = {name: value for name, value in config.model.values().items() if value != _usual(name)}
    model.pop("name", None)
    if "transition" in model:
        model["transition"] = TRANSITION
    if "embedding" in model:
        model["embedding"] = EMBEDDING
    network = model | {"layers": min(config.layers, 2), "bias_vectors": config.bias_vectors}
    if config.reset:
        network["reset"] = config.reset
    if not family(config).steps:
        network |= {"task": config.task.name, "context": config.task.context, "attention": config.task.attention}
    optimizer = _of_update(config)
    task: dict[str, Any] = {"task": config.task.name, "bidirectional": config.model.bidirectional}
    if TASKS[config.task.name].reads_text:
        task["sampling"] = config.sampling
    elif DATASETS[config.data.name].by_rule:
        task["data"] = config.data.name
    first = network | {"init": config.init, "forget_bias": config.forget_bias is not None}
    if config.forget_bias == CHRONO:
        first["forget_bias"] = CHRONO
    network["dropout"] = config.dropout > 0
    network |= {name: True for name in ("dropout_in", "dropout_out") if getattr(config, name) > 0}
    if config.dropout_mask != "step":
        network["dropout_mask"] = config.dropout_mask
    parts = {"network": network, "initial": first, "update": optimizer, "task": task, "measures": {}}
    return {part: f"{part} {json.dumps(values, sort_keys=True)}" for part, values in parts.items()}


def _of_update(config: Resolved) -> dict[str, Any]:
    """What the probe of a config's update depends on. What is off by default is probed as it is, on or off."""
    found, schedule = OPTIMIZERS[config.optimizer.name], SCHEDULES[config.schedule.name]
    options, paces = found.options(config.optimizer), schedule.options(config.schedule)
    out: dict[str, Any] = {"name": found.name, "clip": config.clip is not None, "decay": False}
    if config.clip_by != "norm":
        out["clip_by"] = config.clip_by
    for knob in found.knobs:
        if knob.name == "weight_decay":
            out["decay"] = options[knob.name] > 0
        elif knob.name not in PROBED:
            out.setdefault("own", {})[knob.name] = options[knob.name]
        elif knob.default == 0:
            out[knob.name] = options[knob.name] > 0
    return out | ({"schedule": {"name": schedule.name} | paces} if config.schedule != ScheduleConfig() else {})


def _usual(name: str) -> Any:
    """The value of a model's knob that the textbook's cell has."""
    if name in USUAL:
        return USUAL[name]
    own = own_knobs("model")
    return own[name][0].off if name in own else next(f for f in fields(ModelConfig) if f.name == name).default


@cache
def golden() -> dict[str, Series]:
    """The numbers of the code that computed the records which have none of their own, by the name of the probe."""
    table: dict[str, Series] = json.loads(GOLDEN_PATH.read_text(encoding="utf-8"))
    return table
