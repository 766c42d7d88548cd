"""When training has diverged: one rule, which every engine applies at every minibatch.

A run has diverged with the first minibatch of which one of these is not finite, in the precision of the computation:

    loss        the mean cross-entropy before the update
    gradient    the L2 norm of all gradients together, whether they are clipped or not. It is computed without overflow:
                gradients of 1e20 have a norm and are clipped, though their squares exceed float32
    update      a weight, or a moment of the update rule, after the update. The square of a gradient of 1e20 is
                infinite in Adam's second moment, which would end all training without a word

From then on it is not updated. Axes: R replicas, P numbers per replica.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ablate.engines.precision import widest

CAUSES = ("", "loss", "gradient", "update", "")
"""What is not finite, by its number in `FINITE, LOSS, GRADIENT, UPDATE, ENDED`."""
FINITE, LOSS, GRADIENT, UPDATE, ENDED = range(len(CAUSES))
"""ENDED: nothing; a rule has ended the training (`ablate.config.stopping`), after which it goes on no more either."""


def named(causes: Tensor) -> list[str]:
    """What is not finite in each replica, from the numbers (R,); an empty string where all is."""
    return [CAUSES[cause] for cause in causes.tolist()]


class _Silence(threading.local):
    on = False


_silence = _Silence()


def asks(tensor: Tensor) -> bool:
    """Whether to ask for a number of this tensor costs next to nothing: on a GPU it would wait for all that was begun.

    Who may not ask computes what the answer would have been about: the same numbers, bit for bit.
    """
    return tensor.device.type == "cpu" and not _silence.on


@contextmanager
def silence() -> Iterator[None]:
    """In this thread, nothing is asked on the CPU either."""
    before, _silence.on = _silence.on, True
    try:
        yield
    finally:
        _silence.on = before


UNDERFLOW = 1e-15
"""Norms in float32 below this may have lost squares to underflow."""


def norms(gradients: Tensor) -> Tensor:
    """The L2 norm of each row of (R, P) as (R, 1): infinite only where it exceeds the dtype, not where its square does.

    On the CPU the squares are summed in float64 only for rows that need it; on a GPU, where asking costs a
    synchronisation, for all. A row's norm is the same, bit for bit, whatever its neighbours are.
    """
    fast: Tensor | None = None
    if gradients.device.type == "cpu":
        fast = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        usable = (fast > UNDERFLOW) & (fast < math.inf)
        if asks(gradients) and bool(usable.all()):
            return fast
    exact: Tensor = torch.linalg.vector_norm(gradients, dim=1, keepdim=True, dtype=widest(gradients.device))
    exact = exact.to(gradients.dtype)
    return exact if fast is None else torch.where(usable, fast, exact)


def norm_of(gradients: Sequence[Tensor]) -> Tensor:
    """The L2 norm () of all these tensors together, as `norms`."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if UNDERFLOW < float(norm) < math.inf:
        return norm
    each = [torch.linalg.vector_norm(g, dtype=widest(g.device)) for g in gradients]
    exact: Tensor = torch.linalg.vector_norm(torch.stack(each))
    return exact.to(norm.dtype)


LARGE, SMALLER = 1e30, 2.0**-64


def clip_factors(norm: Tensor, clip: Tensor | float) -> tuple[Tensor, Tensor]:
    """Two factors, together min(1, clip / norm): as one number it would be too small for float32 where norms are large.

    The first is a power of two, by which gradients are multiplied without rounding; 1 up to norms of `LARGE`.
    """
    clips = norm > clip
    first = torch.where(clips & (norm > LARGE), SMALLER, 1.0).to(norm.dtype)
    return first, torch.where(clips, clip / (norm * first), 1.0).to(norm.dtype)


def finite_rows(numbers: Tensor) -> Tensor:
    """Whether all numbers in each row of (R, P) are finite: (R,). On the CPU a finite sum proves it in one pass."""
    if asks(numbers):
        finite = numbers.sum(1).isfinite()
        if bool(finite.all()):
            return finite
    return numbers.isfinite().all(1)
