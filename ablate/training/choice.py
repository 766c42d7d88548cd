"""Which engine computes a config, and how fast: `engine=auto` takes the fastest that can.

Speed depends on the machine, so it is measured: a few minibatches of each engine, once per shape and process.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.config.errors import CombinationError, ConfigError
from ablate.config.resolved import Resolved
from ablate.config.validation import engines_for
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort import Cohort, chunk_size, native, stacked
from ablate.engines.cohort.capacity import is_derived
from ablate.engines.cohort.graphs import WARM_UPS
from ablate.engines.cohort.native import NativeCohort, computed_by, not_covered
from ablate.engines.cohort.stacked import StackedCohort
from ablate.engines.precision import computing, out_of_reach
from ablate.engines.program import Program
from ablate.networks.parameters import Features, Sizes, Vocabulary, initial
from ablate.networks.targets import loss_of
from ablate.training.behaviour import compared, disagreement

TIMED_ROUNDS = 3
TIMED_UPDATES = 1000
"""Of a whole run, as a schedule is told where only speed counts."""
TIMED_TOGETHER = 4
"""Replicas of a cohort that is timed, at most: more would say no more, and take longer."""


def build(
    engine: str,
    configs: Sequence[Resolved],
    vocabulary_size: Vocabulary | Sizes,
    parameters: Sequence[Mapping[str, Tensor]],
    generators: Sequence[Generator],
    device: torch.device,
    updates: int,
) -> Program:
    """The program that trains these replicas: several only with engine=cohort. `updates`: of a whole run.

    Raises CombinationError where this machine has not the products of `precision`.
    """
    check_precision(configs[0], device)
    if engine == "cohort" and not is_derived(configs[0], device):
        return StackedCohort(
            configs, vocabulary_size, parameters, device=device, generators=generators, updates=updates
        )
    if engine == "cohort":
        assert not isinstance(vocabulary_size, Sizes)
        uncovered = not_covered(configs[0], parameters[0]["output.W"].dtype, device)
        of_one_width = len({config.num_hiddens for config in configs}) == 1
        kind = NativeCohort if of_one_width and not uncovered else Cohort
        return kind(configs, vocabulary_size, parameters, device=device, generators=generators, updates=updates)
    (config,), (own,), (generator,) = configs, parameters, generators
    return AutogradProgram(engine, config, vocabulary_size, own, generator, device, updates)


def check_precision(config: Resolved, device: torch.device) -> None:
    """Raise CombinationError where the products asked for cannot be had: others are never taken in silence."""
    reason = out_of_reach(config.precision, device)
    if config.precision == "bf16" and not reason:
        if not is_derived(config, device):
            reason = "only networks of plainly stacked layers have them"
        elif device.type == "cpu":
            reason = not_covered(config, torch.float32, device)
    if reason:
        raise no_such_products(config.precision, reason)


def no_such_products(precision: str, reason: str) -> CombinationError:
    """What is said where the products asked for cannot be had."""
    return CombinationError(f"precision={precision} cannot be computed here: {reason}; leave it out")


def kernel(engine: str, config: Resolved, device: torch.device) -> str:
    """What computes inside the engine: `native`, or `torch` and why not native."""
    if engine != "cohort":
        return "torch"
    if not is_derived(config, device):
        return stacked.computed_by(config, torch.float32, device)
    return computed_by(config, torch.float32, device)


@dataclass(frozen=True)
class Choice:
    """The engine that trains a run, and the milliseconds per minibatch and run that decided it."""

    engine: str
    milliseconds: dict[str, float]


def make_kernels(configs: Iterable[Resolved]) -> None:
    """Compile what the engine cohort needs for these configs, and to be compared with others, where that is not there.

    One by one, when each is needed, a first sweep over many cells would wait for the compiler, which takes seconds
    for a cell, while other cores have nothing to do.
    """
    wanted: list[Resolved] = []
    for config in configs:
        with suppress(ConfigError):  # which `choose` raises
            wanted += [config, *compared(config)] if "cohort" in engines_for(config) else []
    native.make(wanted)


def agreeing(config: Resolved) -> tuple[str, ...]:
    """The engines that can compute a config, but for those that compute something else than the readable network does.

    That is so where an equation was edited in one place of two, or where what a user brought makes runs influence each
    other. With engine=auto the readable network itself is then what remains. Raises CombinationError where the engine
    asked for cannot, or computes something else.
    """
    wrong = disagreeing(config)
    if config.engine in wrong:
        raise CombinationError(
            f"engine={config.engine} computes something else than the readable network of ablate/networks: "
            f"{wrong[config.engine]} differs; {_remedy(config)}, or give engine=eager"
        )
    return tuple(engine for engine in engines_for(config) if engine not in wrong) or ("eager",)


def disagreeing(config: Resolved) -> dict[str, str]:
    """Engine → what it computes otherwise than the readable network, in words, for each that is to be left out."""
    return {engine: what for engine in engines_for(config) if (what := disagreement(engine, config))}


def _remedy(config: Resolved) -> str:
    if any(part.source is not None for part in (config.model, config.optimizer, config.schedule)):
        return "see what check_cell or check_optimizer of ablate.testing says of it"
    return "change both alike"


def left_out(configs: Iterable[Resolved]) -> list[str]:
    """A line for each engine that engine=auto leaves out because it computes something else.

    Not of a setting whose cell, optimizer or schedule fails, with an error of whatever kind, which `choose` raises.
    """
    lines: dict[str, None] = {}
    for config in configs:
        with suppress(Exception):
            for engine, what in disagreeing(config).items() if config.engine == "auto" else ():
                lines[
                    f"engine=auto leaves out engine={engine}, which computes something else than the readable network "
                    f"of ablate/networks: {what} differs; for its speed {_remedy(config)}"
                ] = None
    return list(lines)


_choices: dict[tuple[Any, ...], Choice] = {}


def choose(config: Resolved, vocabulary_size: Vocabulary | Sizes, device: torch.device, replicas: int) -> Choice:
    """The engine of `config`: the only one that can, the one asked for, or the fastest; deterministic: the first.

    `replicas` is how many runs of this shape there are to train together. Raises CombinationError where the
    engine asked for cannot, or not in the precision asked for.
    """
    candidates = agreeing(config)
    check_precision(config, device)
    if len(candidates) == 1 or config.deterministic:
        return Choice(candidates[0], {})
    if loss_of(config) is not None:  # what a task's own loss takes no random numbers may be
        return Choice(candidates[0], {})
    together = min(replicas, chunk_size(config, device) or replicas, TIMED_TOGETHER)
    sizes = (config.num_hiddens, config.layers, config.num_steps, config.batch_size)
    drops = [share > 0 for share in (config.dropout, config.dropout_in, config.dropout_out)]
    shape = (str(config.model), str(config.task), *sizes, config.bias_vectors, *drops, config.dropout_mask)
    parts = (config.model, config.optimizer, config.task)
    sources = tuple(part.source for part in parts)  # in a notebook a cell may be defined again
    means = (
        config.optimizer.name,
        config.clip_by,
        config.precision,
        vocabulary_size,
        str(device),
        together,
        candidates,
    )
    key = (*shape, *sources, *means)
    if key not in _choices:
        with computing(config.precision):
            _choices[key] = _fastest(candidates, config, vocabulary_size, device, together)
    return _choices[key]


def _fastest(
    candidates: Sequence[str], config: Resolved, V: Vocabulary | Sizes, device: torch.device, together: int
) -> Choice:
    """Time a few training minibatches of each engine, in turns, on random weights and tokens."""
    generator = Generator().manual_seed(0)
    programs = {}
    for engine in candidates:
        R = together if engine == "cohort" else 1
        parameters = [initial(config, V, generator) for _ in range(R)]
        size = (R, config.num_steps, config.batch_size)
        X, Y = (part.to(device) for part in any_minibatch(V, size, generator))
        programs[engine] = build(engine, [config] * R, V, parameters, [generator] * R, device, TIMED_UPDATES), X, Y
    fastest = dict.fromkeys(candidates, float("inf"))
    warm_ups = 1 if device.type == "cpu" else WARM_UPS + 1  # the minimum leaves them out
    for _ in range(warm_ups + TIMED_ROUNDS):
        for engine, (program, X, Y) in programs.items():
            began = time.perf_counter()
            program.step(X, Y, carry=False).tolist()
            milliseconds = 1000 * (time.perf_counter() - began) / len(X)
            fastest[engine] = min(fastest[engine], round(milliseconds, 4))
    return Choice(min(fastest, key=lambda engine: fastest[engine]), fastest)


def any_minibatch(
    sizes: Vocabulary | Sizes, shape: tuple[int, int, int], generator: Generator
) -> tuple[Tensor, Tensor]:
    """A random minibatch of shape (R, T, B): inputs and targets as the network of these sizes reads them."""
    if isinstance(sizes, Features):
        inputs = torch.randn(*shape, sizes.inputs, generator=generator)
        return inputs, torch.randint(sizes.outputs, shape, generator=generator)
    if isinstance(sizes, int):
        tokens = torch.randint(sizes, shape, generator=generator)
        return tokens, tokens
    source, target = (torch.randint(size, shape, generator=generator) for size in sizes)
    return torch.stack([source, target], dim=1), target
