"""One run of an experiment: its function, called with the run's knobs and seed."""

from __future__ import annotations

import hashlib
import inspect
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Generator

from ablate.config.errors import ConfigError, place
from ablate.config.registry import NO_DATA
from ablate.config.schema import DataConfig
from ablate.data.corpora import NO_TOKENS, Corpus
from ablate.data.vocabulary import Vocabulary
from ablate.experiments.declaring import VALUE, Experiment
from ablate.tasks.measured import numbers
from ablate.tasks.task import Minibatch, Task

Report = Callable[[int, Mapping[str, float]], None]
"""Called after an epoch with all that was measured then; may raise, which ends the run."""


def nothing(data: DataConfig, tokens: int | None = None) -> Corpus:
    """What an experiment reads is its own business: there is no corpus, of a checksum that says so."""
    sha256 = hashlib.sha256(NO_DATA.encode()).hexdigest()
    return Corpus(data.name, sha256, characters=0, unit=NO_DATA, ids=NO_TOKENS, vocabulary=Vocabulary(()))


class Call(Task):
    """A function in the place of a network: it has no minibatches, and is called once a run."""

    sizes = 1
    held_out = None

    @property
    def tokens_per_epoch(self) -> int:
        return 0

    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        return iter(())

    def updates_per_epoch(self) -> float:
        return 0

    def call(self, on_epoch: Report) -> tuple[dict[str, float], dict[str, list[float | None]]]:
        """What the function returned, or last reported, of each metric; and its curve, column → values by epoch.

        Raises whatever the function raises, and ConfigError for numbers that nobody declared or that are missing.
        """
        facts = self.config.task.thing
        assert isinstance(facts, Experiment)
        assert facts.function is not None
        names = (*facts.metrics, *facts.final_metrics)
        rows: list[tuple[int, dict[str, float]]] = []

        def report(epoch: int, /, **metrics: float) -> None:
            """To be called after an epoch, with what was measured then."""
            if rows and epoch <= rows[-1][0]:
                raise ConfigError(f"{facts.name} reports epoch {epoch} after epoch {rows[-1][0]}; count upwards")
            measured = _numbers(facts, metrics)
            rows.append((int(epoch), measured))
            on_epoch(int(epoch), measured)

        accepts = inspect.signature(facts.function).parameters
        of_run = {"seed": self.config.seed, "report": report}
        own = {knob.name: self.config.task.own[knob.name] for knob in facts.knobs}
        with seeded(self.config.seed):
            value = facts.function(**own, **{name: one for name, one in of_run.items() if name in accepts})
        if value is not None and not isinstance(value, Mapping):
            value = {names[0] if len(names) == 1 else VALUE: value}
        final = {name: one for _, measured in rows for name, one in measured.items()}
        final |= _numbers(facts, value or {})
        if lacking := [name for name in names if name not in final]:
            raise ConfigError(
                f"the experiment {facts.name} ({place(facts.function)}) gave no {' and no '.join(lacking)}; return it, "
                "or report it after an epoch"
            )
        columns = [name for name in names if any(name in measured for _, measured in rows)]
        curve: dict[str, list[float | None]] = {"epoch": [float(epoch) for epoch, _ in rows]}
        curve |= {name: [_finite(measured.get(name)) for _, measured in rows] for name in columns}
        return final, curve


def _numbers(facts: Experiment, given: Mapping[str, Any]) -> dict[str, float]:
    """Metric → number. Raises ConfigError for what is not declared, or read from the function's source."""
    return numbers(
        f"the experiment {facts.name} ({place(facts.function)})",
        given,
        (*facts.metrics, *facts.final_metrics),
        lambda name: f'declare it: @ablate.experiment(metrics={{…, "{name}": "lower" or "higher"}})',
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The generators of Python, numpy and torch that a function may use without a word, seeded; afterwards as before.

    A function without a parameter `seed` is another run for each seed in this way.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    arguments = sys.argv
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
