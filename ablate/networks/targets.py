"""Targets: which of them count, and the loss of those that do.

Axes: R replicas (optional, first), T steps, B sequences, V outputs.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from ablate.config.errors import UserError, place
from ablate.config.metrics import UNSCORED
from ablate.config.registry import TASKS
from ablate.config.schema import Config

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, V), targets (N,) → the loss of each target (N,)."""


def counted(targets: Tensor) -> Tensor:
    """Which targets are scored: all but `UNSCORED`, and of real numbers all but NaN."""
    return ~targets.isnan() if targets.is_floating_point() else targets != UNSCORED


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """In nats, of each target; 0 where it is not scored."""
    return F.cross_entropy(logits, targets, ignore_index=UNSCORED, reduction="none")


def loss_of(config: Config) -> Loss | None:
    """The task's own loss; None for the cross-entropy."""
    own: Loss | None = TASKS[config.task.name].loss
    return own


def losses(logits: Tensor, targets: Tensor, own: Loss | None = None) -> Tensor:
    """Logits (…, V), targets (…) → the loss of each target (N,), 0 where it is not scored."""
    logits, targets = logits.reshape(-1, logits.shape[-1]), targets.flatten()
    if own is None:
        return cross_entropy(logits, targets)
    # What is not scored is not computed either: the derivative of a number that isn't there would be none.
    scored = counted(targets)
    out = logits.new_zeros(len(targets))
    if not bool(scored.any()):
        return out
    each = own(logits[scored], targets[scored])
    shape = tuple(getattr(each, "shape", ()))
    if shape != targets[scored].shape:  # a mean would be one over the targets of all replicas
        raise UserError(
            f"the loss of the task ({place(own)}) gives {shape} for {int(scored.sum())} targets; it must give the loss "
            "of each, (N,), and no mean or sum of them (of torch's functions, reduction='none')"
        )
    return out.index_put((scored,), each.to(out.dtype))
