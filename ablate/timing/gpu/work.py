"""The settings of the benchmark, and programs that train them on made-up text of the course's shape.

Axes: R replicas, T steps, B sequences, H hidden units, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import torch
from torch import Generator

from ablate.config.composing import compose
from ablate.config.errors import CombinationError
from ablate.config.resolved import Resolved, resolve
from ablate.data.corpora import Corpus, as_used, of_blocks
from ablate.engines.cohort import Cohort, memory_bytes
from ablate.engines.cohort.memory import free_bytes
from ablate.engines.precision import computing
from ablate.engines.program import Program
from ablate.networks.parameters import initial
from ablate.networks.steps import MAKERS
from ablate.tasks import task_of
from ablate.tasks.task import Task
from ablate.timing.clock import seconds
from ablate.training.choice import build, check_precision, kernel
from ablate.training.trajectory import stream, train_epoch

LETTERS = " etaoinshrdlcumwfgypbvkjxqz"
MEMORY_SHARE = 0.8
"""Of the memory that is free on the card, what a program may need by its estimate."""


@dataclass(frozen=True)
class Sizes:
    """How much is computed."""

    models: tuple[str, ...]
    hiddens: tuple[int, ...]
    few: int
    """Replicas of a setting as it is usually repeated."""
    many: int
    """Replicas that fill a card with small networks."""
    shape: tuple[str, ...]
    """Words that set the sizes of minibatches."""
    characters: int
    epochs: int
    """Of whole commands; those of the goals, or a rehearsal's."""
    rehearsal: bool


FULL = Sizes(("gru", "lstm", "rnn"), (32, 128, 256, 512, 1024), 20, 120, (), 30_000, 500, False)
REHEARSAL = Sizes(
    ("gru", "lstm", "rnn"),
    (4, 8),
    2,
    3,
    ("num_steps=5", "batch_size=4", "max_tokens=200", "val_tokens=60"),
    400,
    2,
    True,
)


@dataclass(frozen=True)
class Way:
    """A way of training a setting: a column of the table."""

    name: str
    engine: str
    runs: int
    graphs: bool = False
    precision: str = "ieee"
    kernels: bool = True
    """Whether kernels written for the cell take the steps, where there are any for the device."""


def ways(sizes: Sizes, device: torch.device) -> tuple[Way, ...]:
    """torch.nn's modules one run at a time, and cohorts of the engine, each in float32 and in TF32.

    Where kernels for the device take the steps of a cohort, the same by torch's operators stands beside them.
    """
    few, many = sizes.few, sizes.many
    found = tuple(
        Way(f"{name}{' tf32' * (precision == 'tf32')}", engine, runs, graphs, precision)
        for precision in ("ieee", "tf32")
        for name, engine, runs, graphs in (
            ("torch.nn", "torch_nn", 1, False),
            (f"R {few}", "cohort", few, False),
            (f"R {few} graphs", "cohort", few, True),
            (f"R {many} graphs", "cohort", many, True),
        )
        if precision == "ieee" or name != f"R {few}"
    )
    if device.type not in MAKERS:
        return found
    by_torch = [replace(way, name=f"{way.name}, by torch", kernels=False) for way in found if way.graphs]
    return (*found, *by_torch)


@contextmanager
def by_torch() -> Iterator[None]:
    """While it lasts torch's operators take the steps of the programs that are made."""
    before = dict(MAKERS)
    MAKERS.clear()
    try:
        yield
    finally:
        MAKERS.update(before)


def text(characters: int) -> str:
    """Letters by chance, in words, the same every time: what is timed does not depend on their sense."""
    letters = Random(0).choices(LETTERS, [len(LETTERS) - place for place in range(len(LETTERS))], k=characters - 27)
    return "abcdefghijklmnopqrstuvwxyz " + "".join(letters)


MADE_UP = ("data=text_file", "data.path=made-up.txt")


def config_of(model: str, H: int, sizes: Sizes, *more: str, data: Sequence[str] = MADE_UP) -> Resolved:
    words = [f"model={model}", f"num_hiddens={H}", "optimizer=sgd", *data, *sizes.shape, *more]
    return resolve(compose(words))


@cache
def corpus_of(characters: int) -> Corpus:
    return of_blocks([text(characters)], compose([*MADE_UP]).data)


class Trained:
    """A program of some runs, and what trains it an epoch at a time, as the product does."""

    def __init__(self, config: Resolved, way: Way, corpus: Corpus, device: torch.device) -> None:
        """Raises CombinationError where this device has not its products, or not the memory."""
        config = as_used(config.but(precision=way.precision), corpus)
        self.runs, self.device = way.runs, device
        self.task: Task = task_of(config, corpus, device)
        check_precision(config, device)
        check_memory(config, way.runs, self.task.sizes, device)
        configs = [config.but(seed=k) for k in range(way.runs)]
        parameters = [initial(config, self.task.sizes, Generator().manual_seed(0))] * way.runs
        updates = 1000 * self.task.epoch_updates
        self.program: Program
        self.computed = kernel(way.engine, config, device) if way.kernels else "torch"
        if way.engine == "cohort" and device.type == "cuda":
            self.program = Cohort(
                configs, self.task.sizes, parameters, device=device, updates=updates, cuda_graphs=way.graphs
            )
        else:
            generators = [Generator().manual_seed(k) for k in range(way.runs)]
            self.program = build(way.engine, configs, self.task.sizes, parameters, generators, device, updates)
        self.orders = [stream(k, "data") for k in range(way.runs)]

    def epoch(self) -> list[list[float]]:
        """An epoch; the losses (R,) of each minibatch."""
        return train_epoch(self.task, self.program, self.orders)[0]

    @property
    def means(self) -> str:
        """What computed the steps, and whether graphs were replayed where they were asked for."""
        replayed = getattr(self.program, "graphs", "")
        return f"{self.computed}; graphs {replayed}" if replayed else self.computed

    def microseconds(self) -> float:
        """µs per minibatch and run, of an epoch as it is trained: minibatches drawn, losses read."""
        took = seconds(self.epoch, self.device)
        return 1e6 * took / self.task.epoch_updates / self.runs


def check_memory(config: Resolved, runs: int, sizes: Any, device: torch.device) -> None:
    if device.type != "cuda":
        return
    free, needed = free_bytes(device), memory_bytes(config, runs, sizes, device=device)
    if needed > MEMORY_SHARE * free:
        raise CombinationError(f"needs {needed / 2**30:.0f} GiB, of which {free / 2**30:.0f} are free")


@contextmanager
def trained(config: Resolved, way: Way, corpus: Corpus, device: torch.device) -> Iterator[Trained]:
    """A program in its precision; what it held on the card is free afterwards."""
    with computing(way.precision), nullcontext() if way.kernels else by_torch():
        made: Trained | None = None
        try:
            made = Trained(config, way, corpus, device)
            yield made
        finally:
            del made
            if device.type == "cuda":
                torch.cuda.empty_cache()


def reason_of(error: Exception) -> str:
    """The first line of what went wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
