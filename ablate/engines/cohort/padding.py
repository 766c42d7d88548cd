"""Narrower networks in a wider program: their further hidden units are zero, and stay it.

A unit all of whose weights are zero does nothing and is not changed by training, where its cell makes zeros of zeros:
its state stays exactly 0, so that all gradients of weights from it are products with 0, and what reaches it is a
product with its weights, 0. Optimizers leave such numbers as they are (`ablate.optimizers.optimizer`).

Axes: H hidden units of the program, h ≤ H those of a replica.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.cells.derivative import Derived, derivative_of, why_underivable
from ablate.config.resolved import Resolved
from ablate.networks.scan import evaluated


def pads(config: Resolved) -> bool:
    """Whether units of no weights stay at zero in every layer of this network."""
    return config.model.stacks_plainly and not why_underivable(config) and _keeps_zeros(derivative_of(config))


@cache
def _keeps_zeros(d: Derived) -> bool:
    """Whether a step makes zeros of zeros, and sends nothing but numbers back."""
    zero = torch.zeros(1, dtype=torch.float64)
    known = {
        index: zero for index, node in enumerate(d.graph.nodes) if node.op in ("state", "input", "product", "vector")
    }
    forward = [*d.new_states, d.output]
    known |= dict.fromkeys((d.d_output, *d.d_states), zero)
    known |= {leaf: zero for leaves in d.backs.values() for leaf in leaves}
    back = [*d.d_inputs.values(), *d.d_products.values(), *d.d_vectors.values(), *d.carried]
    return all(bool(torch.as_tensor(evaluated(d.graph, end, known)) == 0) for end in (*forward, *back))


def part_of(wide: Tensor, shape: torch.Size | tuple[int, ...], H: int) -> Tensor:
    """A view of a replica's own numbers in a tensor of the program: of an axis of n·H, the first h of each H."""
    for axis in reversed(range(wide.ndim)):
        if wide.shape[axis] != shape[axis]:
            blocks = wide.shape[axis] // H
            wide = wide.view(*wide.shape[:axis], blocks, H, *wide.shape[axis + 1 :])
            wide = wide.narrow(axis + 1, 0, shape[axis] // blocks)
    return wide


def fill(wide: Tensor, narrow: Tensor, H: int) -> None:
    """Put a replica's tensor where it belongs in one of the program."""
    own = part_of(wide, narrow.shape, H)
    own.copy_(narrow.reshape(own.shape))


def padded(units: Tensor, H: int) -> Tensor:
    """(…, h) → (…, H), zeros behind."""
    return units if units.shape[-1] == H else F.pad(units, (0, H - units.shape[-1]))
