"""What a network is trained to do: its minibatches, what of them counts, and how well it is done.

task            what training asks of every task
language_model  the next token of a text; fill_in: masked tokens of a text
memory          sequences with a known answer, made by rule
translation     sentence pairs
"""

from functools import cache

import torch

from ablate.config.schema import Config, resolve
from ablate.data.corpora import Corpus
from ablate.tasks.task import Task

__all__ = ["Task", "final_metrics", "measured_metrics", "task_of"]

CPU = torch.device("cpu")
TRAJECTORY = ("perplexity", "tail_perplexity", "best_perplexity", "val_perplexity", "best_val_perplexity")
"""What every task measures: the course of its loss."""


def task_of(config: Config, corpus: Corpus, device: torch.device = CPU) -> Task:
    """The task of `config.task.name`, bound to its data. Raises CombinationError where there is too little of it."""
    return _kind(config.task.name)(resolve(config), corpus, device)


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
    if name == "translation":
        from ablate.tasks.translation import Translation

        return Translation
    if name == "memory":
        from ablate.tasks.memory import Memory

        return Memory
    from ablate.tasks.text import FillIn, LanguageModelling

    return {"language_model": LanguageModelling, "fill_in": FillIn}[name]
