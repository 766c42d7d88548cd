"""The probes behind `ablate.training.behaviour`: a few minibatches of a tiny network, by the name that a config gets.

Everything is made by rule: weights, tokens, random numbers. A name (`part {values}`) says all that its numbers depend
on.
"""

import json
import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.config.metrics import UNSCORED
from ablate.config.registry import FIRST_TASK, OPTIMIZERS, TASKS, own_knobs, revision
from ablate.config.resolved import CHRONO, Resolved, resolve
from ablate.config.schema import Config, DataConfig, ModelConfig, OptimizerConfig, ScheduleConfig, TaskConfig
from ablate.data.corpora import Corpus, load, of_blocks
from ablate.data.labelled import labelled
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort
from ablate.engines.cohort.capacity import is_derived
from ablate.engines.cohort.native import NativeCohort, not_covered
from ablate.engines.cohort.stacked import StackedCohort
from ablate.engines.program import Program
from ablate.networks.dropout import shares
from ablate.networks.families import carries, family
from ablate.networks.parameters import Sizes, Vocabulary, initial, shapes
from ablate.tasks import task_of
from ablate.training.draws import FixedDraws
from ablate.training.trajectory import Trajectory, stream, train_epoch

Series = list[float | None]
"""None: not a finite number, which no JSON file can hold either."""

TOLERANCE = 1e-6
"""Relative difference of two numbers of the same code at most, in float64."""
NATIVE_TOLERANCE = 1e-4
"""The same where one of them was computed in float32."""
DIGITS = 10
"""Significant digits that are kept."""

T, B, H, V = 4, 3, 4, 6
"""The probe's steps, sequences, hidden units and vocabulary."""
MINIBATCHES = 3
CLIPS = (0.05, 50.0)
"""Far below the norm of the probe's gradients, and far above."""
TRANSITION = 5
"""Width of the linear layer behind a densely connected one."""
HELD_OUT = 10
"""Epochs without a lower held-out perplexity between two minibatches, for schedules that follow it."""
EMBEDDING = 3
"""Width of an embedding: another one than the output layer's input, so that one that is tied has a projection."""
PROBED = {"momentum": 0.6, "betas": [0.8, 0.95], "eps": 1e-3, "alpha": 0.7, "weight_decay": 0.1}
"""The values at which knobs of optimizers are probed; those of others are the config's."""
USUAL = {"activation": "tanh", "gates": {}, "readout": "state", "write_back": True, "name": None, "cell": None}


def probe(key: str) -> Series:
    """The numbers of the probe of this name, by the readable network or by what else is the reference."""
    return _probe(key, revision())


@cache
def _probe(key: str, _: tuple[int, ...]) -> Series:
    """The same, computed once for the things that there are: in a notebook a cell may be defined again."""
    part, values = _parsed(key)
    made = {
        "network": lambda: _network("eager", values),
        "initial": lambda: _initial(values),
        "update": lambda: _update("eager", values),
        "task": lambda: _task(values),
        "measures": _measures,
    }[part]()
    return list(map(_rounded, made))


@cache
def by_engine(engine: str, key: str, _: tuple[int, ...]) -> list[tuple[Series, float]]:
    """The numbers of a probe by each form of an engine, with the tolerance that its precision needs."""
    part, values = _parsed(key)
    run = {"network": _network, "update": _update}[part]
    out = [(list(map(_rounded, run(engine, values))), TOLERANCE)]
    if engine == "cohort" and _has_native(part, values):
        out.append((list(map(_rounded, run("native", values))), NATIVE_TOLERANCE))
    return out


def _has_native(part: str, values: Mapping[str, Any]) -> bool:
    config = _tiny(part, values)
    return is_derived(config) and not not_covered(config, torch.float32)


def _tiny(part: str, values: Mapping[str, Any]) -> Resolved:
    return _config(values) if part == "network" else _with_optimizer(_config({"cell": "rnn"}), values, CLIPS[0])


@cache
def tiny_by_name(key: str, _: tuple[int, ...]) -> Resolved:
    return _tiny(*_parsed(key))


def _parsed(key: str) -> tuple[str, dict[str, Any]]:
    part, _, values = key.partition(" ")
    return part, json.loads(values)


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _config(values: Mapping[str, Any]) -> Resolved:
    """The tiny config that a key describes."""
    known = {f.name for f in fields(ModelConfig)} | set(own_knobs("model"))
    model: dict[str, Any] = {"name": "probe", **{name: value for name, value in USUAL.items() if value is not None}}
    model |= {name: value for name, value in values.items() if name in known}
    given = {"name": values.get("task", FIRST_TASK), "embed": 3, "symbols": 4, "sequences": 6, "pairs": 12}
    given |= {name: values[name] for name in ("context", "attention") if name in values}
    tiny = _defaults().but(
        model=ModelConfig.of(model),
        task=TaskConfig.of(given),
        layers=values.get("layers", 1),
        dropout=0.25 if values.get("dropout") else 0.0,
        dropout_in=0.2 if values.get("dropout_in") else 0.0,
        dropout_out=0.3 if values.get("dropout_out") else 0.0,
        dropout_mask=values.get("dropout_mask", "step"),
        bias_vectors=values.get("bias_vectors", 1),
        reset=values.get("reset"),
        init=values.get("init", "torch"),
        forget_bias=CHRONO if values.get("forget_bias") == CHRONO else 1.5 if values.get("forget_bias") else None,
    )
    return resolve(tiny)


OPTIONS = {"lr": 0.5, "weight_decay": 0.0, "momentum": 0.0, "betas": [0.8, 0.95], "eps": 1e-3, "alpha": 0.7}
"""Of optimizers: other values than those by default."""


def _defaults() -> Config:
    """What no key says."""
    return Config(
        optimizer=OptimizerConfig.of({"name": "sgd", **OPTIONS}),
        data=DataConfig(name="text_file", tokens="char", cleaning="keep"),
        num_hiddens=H,
        num_steps=T,
        batch_size=B,
        formulation="textbook",
        sampling="random",
        max_tokens=None,
        val_tokens=0,
        lr=0.5,
        clip=None,
        epochs=2,
        seed=0,
        seeds=1,
        engine="eager",
        device="cpu",
    )


def _weights(config: Resolved, sizes: Vocabulary | Sizes) -> dict[str, Tensor]:
    """Parameters by rule, large enough that gates leave the linear range; biases too."""
    out = {}
    for number, (name, shape) in enumerate(shapes(config, sizes).items()):
        out[name] = torch.empty(shape, dtype=torch.float64).uniform_(
            -0.9, 0.9, generator=Generator().manual_seed(number + 1)
        )
    return out


def _minibatch(config: Resolved, number: int) -> tuple[Tensor, Tensor]:
    """Tokens of one replica: inputs (1, T, B), of a translator (1, 2, T, B), and targets (1, T, B), one not scored."""
    steps, sequences = torch.arange(T).view(-1, 1), torch.arange(B)
    tokens = (3 * steps + 2 * sequences + steps * sequences + number) % V
    targets = ((tokens + steps + 1) % V).clone()
    targets[number % T, 0] = UNSCORED
    if not family(config).steps:
        tokens = torch.stack([tokens, (tokens + sequences) % V])
    return tokens.unsqueeze(0), targets.unsqueeze(0)


def _program(engine: str, config: Resolved, sizes: int | Sizes, parameters: dict[str, Tensor]) -> Program:
    """One replica; of a cohort that computes what a user brought another one beside it, which must not count."""
    if engine in ("eager", "torch_nn"):
        return AutogradProgram(engine, config, sizes, parameters, Generator().manual_seed(1000), updates=MINIBATCHES)
    if engine == "native":
        single = {name: value.float() for name, value in parameters.items()}
        return NativeCohort([config], V, [single], generators=[Generator().manual_seed(1000)], updates=MINIBATCHES)
    kind = Cohort if is_derived(config) else StackedCohort
    each = [parameters]
    if _is_users(config):
        each.append({name: -value / 2 for name, value in parameters.items()})
    generators = [Generator().manual_seed(1000 + k) for k in range(len(each))]
    return kind([config] * len(each), sizes, each, generators=generators, updates=MINIBATCHES)


def _trained(engine: str, config: Resolved) -> list[float]:
    """The loss of each minibatch, of the first one again held out, and the sum of all weights."""
    sizes = V if family(config).steps else Sizes(V, V)
    draws = FixedDraws(from_generators=True)
    with draws:
        parameters = _weights(config, sizes)
    with draws if _may_draw(config) else nullcontext():  # which every call of torch passes through
        return _losses(engine, config, sizes, parameters)


def _may_draw(config: Resolved) -> bool:
    """Whether training may draw random numbers: for dropout, and in what a user brought."""
    return bool(shares(config)) or _is_users(config)


def _is_users(config: Resolved) -> bool:
    """Whether something of a user's computes it."""
    parts = (config.model, config.optimizer, config.schedule, config.task)
    return any(part.source is not None for part in parts)


def _losses(engine: str, config: Resolved, sizes: int | Sizes, parameters: dict[str, Tensor]) -> list[float]:
    """Those of the first replica; every other one reads the same."""
    carried = carries(config)
    program = _program(engine, config, sizes, parameters)
    R = len(program) if isinstance(program, Cohort) else 1
    losses = []
    for number in range(MINIBATCHES):
        for replica in range(R):
            program.tell(replica, [2.0] * (HELD_OUT * number))
        minibatch = (part.expand(R, *part.shape[1:]) for part in _minibatch(config, number))
        losses.append(float(program.step(*minibatch, carry=carried and number > 0)[0]))
    tokens, targets = _minibatch(config, 0)
    weights = sum(float(value.double().sum()) for value in program.named_tensors(0).values())
    return [*losses, float(program.evaluate(tokens[0], targets[0])[0]), weights]


def _network(engine: str, values: Mapping[str, Any]) -> list[float]:
    return _trained(engine, _config(values))


def _update(engine: str, values: Mapping[str, Any]) -> list[float]:
    clips = CLIPS if values["clip"] else (None,)
    return [n for clip in clips for n in _trained(engine, _with_optimizer(_config({"cell": "rnn"}), values, clip))]


def _with_optimizer(config: Resolved, values: Mapping[str, Any], clip: float | None) -> Resolved:
    found = OPTIMIZERS[values["name"]]
    own = dict(values.get("own", {}))
    for knob in found.knobs:
        if knob.name in PROBED:
            is_on = values.get("decay" if knob.name == "weight_decay" else knob.name, True)
            own[knob.name] = PROBED[knob.name] if is_on else 0.0
    pace = dict(values.get("schedule", {"name": ScheduleConfig().name}))
    schedule = ScheduleConfig.of(pace, given=True)
    return config.but(
        optimizer=OptimizerConfig.of({"name": found.name, **own}, given=True),
        schedule=schedule,
        clip=clip,
        clip_by=values.get("clip_by", "norm"),
        lr=0.05,
    )


@FixedDraws.during
def _initial(values: Mapping[str, Any]) -> list[float]:
    config = _config(values)
    sizes = V if family(config).steps else Sizes(V, V)
    drawn = initial(config, sizes, stream(config.seed, "weights"), torch.float64)
    numbers = torch.cat([value.flatten() for value in drawn.values()])
    return [float(numbers.square().sum()), _weighted(numbers)]


def _weighted(numbers: Tensor) -> float:
    """A sum that depends on the order: with cos n as the weight of number n."""
    return float((numbers.double().flatten() * torch.arange(numbers.numel(), dtype=torch.float64).cos()).sum())


class _Reader:
    """In the place of a program: notes what it is given to read."""

    def __init__(self) -> None:
        self.read: list[float] = []

    def step(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> Tensor:
        self.read.append(_weighted(torch.cat([tokens.flatten(), targets.flatten()])) + carry)
        return torch.zeros(1)


@FixedDraws.during
def _task(values: Mapping[str, Any]) -> list[float]:
    facts = TASKS[values["task"]]
    if not facts.code.__module__.startswith("ablate."):  # of a file of the user's, whose hash stands in the identity
        return []
    config = _config({"cell": "rnn", **values})
    named = None if facts.reads_text else values.get("data", "number_pairs")
    data = replace(config.data, name=named or "text_file", tokens="char" if named is None else "word")
    if named is None:
        config = config.but(sampling=values["sampling"], val_tokens=40)
    config = config.but(data=data, num_steps=8)
    text = "".join("abcdef"[(n * n + n // 3) % 6] for n in range(200))
    if facts.real_inputs:
        corpus = _labelled(config.num_steps)
    else:
        corpus = load(data) if named else of_blocks([text], replace(data, path="probe.txt"))
    task = task_of(config, corpus)
    order = stream(config.seed, "data")
    out: list[float] = []
    for _ in range(2):
        reader = _Reader()
        train_epoch(task, reader, [order])  # type: ignore[arg-type]
        out += [len(reader.read), _weighted(torch.tensor(reader.read, dtype=torch.float64))]
    held_out = task.held_out
    out += [] if held_out is None else [_weighted(part) for part in held_out]
    weights = _weights(config, task.sizes)
    return [*out, *task.scores(weights).values(), *task.final_scores(weights, 5.0).values()]


def _labelled(steps: int) -> Corpus:
    """Ten sequences of two classes to train on, and four to test."""
    x = torch.arange(14.0).view(-1, 1) * torch.arange(1.0, steps + 1)
    y = torch.arange(14) % 2
    return labelled("probe", {"x": x[:10].sin(), "y": y[:10], "x_test": x[10:].sin(), "y_test": y[10:]})


def _measures() -> list[float]:
    trajectory = Trajectory()
    for epoch in range(40):
        trajectory.add([3 / (1 + epoch), 2.5 / (1 + epoch)], 1 + math.sin(epoch) if epoch % 4 == 3 else None, [3, 5])
    return [float(value) for _, value in sorted(trajectory.metrics.items()) if value is not None]
