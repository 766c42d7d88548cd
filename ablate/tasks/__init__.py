"""What a network is trained to do: its minibatches, what of them counts, and how well it is done.

facts           what a task says of itself, without its code; shipped: those of the tasks below
task            what training asks of every task, and what a task of one's own is made from
measured        what its code measures, held against what it declares
text            the next token of a text; masked tokens of a text
memory          generated sequences with a known answer
translation     sentence pairs; bleu: how well they are translated
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.config.registry import TASKS

if TYPE_CHECKING:
    import torch

    from ablate.config.resolved import Resolved
    from ablate.data.corpora import Corpus
    from ablate.tasks.task import Task

__all__ = ["task_of"]


def task_of(config: Resolved, corpus: Corpus, device: torch.device | None = None) -> Task:
    """The task of `config.task.name`, bound to its data. Raises CombinationError where there is too little of it."""
    import torch

    made: Task = TASKS[config.task.name].code(config, corpus, device or torch.device("cpu"))
    return made
