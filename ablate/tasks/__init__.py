"""What a network is trained to do: its minibatches, what of them counts, and how well it is done.

facts           what a task says of itself, without its code; shipped: those of the tasks below
task            what training asks of every task
language_model  the next token of a text; fill_in: masked tokens of a text
memory          sequences with a known answer, made by rule
translation     sentence pairs
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ablate.config.registry import TASKS
from ablate.config.schema import Config, resolve

if TYPE_CHECKING:
    import torch

    from ablate.data.corpora import Corpus
    from ablate.tasks.task import Task

__all__ = ["final_metrics", "measured_metrics", "task_of"]

TRAJECTORY = ("perplexity", "tail_perplexity", "best_perplexity", "val_perplexity", "best_val_perplexity")
"""What every task measures: the course of its loss."""


def task_of(config: Config, corpus: Corpus, device: torch.device | None = None) -> Task:
    """The task of `config.task.name`, bound to its data. Raises CombinationError where there is too little of it."""
    import torch

    return _kind(config.task.name)(resolve(config), corpus, device or torch.device("cpu"))


def measured_metrics(name: str) -> tuple[str, ...]:
    """The names, in `ablate.config.metrics`, of what a run of this task measures."""
    kind = _kind(name)
    return (*TRAJECTORY, *kind.scored, *kind.scored_finally)


def final_metrics(name: str) -> tuple[str, ...]:
    """Those of them that no epoch has: they are measured of the trained network alone."""
    return _kind(name).scored_finally


@cache
def _kind(name: str) -> type[Task]:
    """Imported when needed: translation reads libraries that nothing else does."""
    kind: type[Task] = TASKS[name].code
    return kind
