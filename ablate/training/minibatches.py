"""Minibatches as engines take them: those of all replicas as one, whole numbers as int64, of shapes that fit the task.

Axes: R replicas, T steps, B sequences.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ablate.config.errors import UserError
from ablate.networks.parameters import Features, Sizes
from ablate.networks.targets import counted, loss_of
from ablate.tasks.task import Minibatch, Task, as_int64


def stacked(replicas: Sequence[Minibatch]) -> Minibatch:
    """The minibatches of all replicas as one: inputs (R, T, B), or with other axes beside these, and targets."""
    return as_int64(torch.stack(parts) for parts in zip(*replicas, strict=True))


def measured_on(task: Task, data: Minibatch | None, called: str) -> Minibatch | None:
    """Data on which networks are measured. Raises UserError where no network of the task could be."""
    if data is None:
        return None
    check_minibatch(task, *data, called)
    if not bool(counted(data[1]).any()):
        raise UserError(f"{called}: no target is scored, so that nothing could be measured")
    return as_int64(data)


def check_minibatch(task: Task, X: Tensor, Y: Tensor, called: str = "minibatches") -> None:
    """Raise UserError for inputs and targets (T, B) of one replica that no network of the task could read."""
    sizes, inputs, targets = task.sizes, tuple(X.shape), tuple(Y.shape)
    expected: tuple[int, ...] = targets
    if isinstance(sizes, Features):
        expected = (*targets, sizes.inputs)
    elif isinstance(sizes, Sizes):
        expected = (2, *targets)
    if len(targets) != 2:
        raise UserError(f"{called}: targets are {targets}; they must be (steps, sequences)")
    if inputs != expected:
        raise UserError(f"{called}: inputs are {inputs}, targets {targets}; with these, inputs must be {expected}")
    if X.is_floating_point() and not isinstance(sizes, Features):
        raise UserError(
            f"{called}: inputs are {X.dtype}, but tokens are whole numbers; real inputs need real_inputs=True and "
            "sizes = ablate.Features(inputs, outputs)"
        )
    if Y.is_floating_point() and loss_of(task.config) is None:
        raise UserError(
            f"{called}: targets are {Y.dtype}, but classes are whole numbers; give the task a loss for others"
        )
