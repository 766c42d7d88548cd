"""The minibatches of an epoch in portions, for programs of which nothing is asked before its end.

Axes: J minibatches, R replicas, T steps, B sequences.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Generator, Tensor

from ablate.engines.cohort.portions import AT_ONCE_BYTES, Portion, Stacked, Windows
from ablate.tasks.task import Task
from ablate.training.minibatches import stacked


def portions(
    task: Task, orders: Sequence[Generator], updates: int | None = None, at_once: int = AT_ONCE_BYTES
) -> Iterator[Portion]:
    """An epoch of each replica, or its first `updates` minibatches: by where they begin, or `Stacked` in portions of
    one size, of not much more than `at_once` bytes."""
    starts = [task.starts(order) for order in orders]
    if all(own is not None for own in starts):
        together = torch.stack([own for own in starts if own is not None], 1)[:updates]
        if len(together):
            yield Windows(task.text, together, task.config.num_steps)
        return
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    taken = 0
    for replicas in zip(*(islice(task.minibatches(order), updates) for order in orders), strict=True):
        X, Y = stacked(replicas)
        if inputs and (X.shape != inputs[0].shape or Y.shape != targets[0].shape or taken >= at_once):
            yield Stacked(torch.stack(inputs), torch.stack(targets))
            inputs, targets, taken = [], [], 0
        inputs.append(X)
        targets.append(Y)
        taken += sum(part.numel() * part.element_size() for part in (X, Y))
    if inputs:
        yield Stacked(torch.stack(inputs), torch.stack(targets))
