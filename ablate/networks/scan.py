"""A linear recurrence, s_t = a_t ⊙ s_{t−1} + b_t with a and b of the input alone, over all its steps at once.

Pairs (a, b) of neighbouring steps are put together, then pairs of pairs …: ⌈log₂ T⌉ operations on all steps instead of
T small ones (Blelloch 1990; Martin and Cundy 2018). Everything here is differentiated by autograd.
Axes: R replicas, T steps, B sequences, H hidden units.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ablate.cells.derivative import Derived
from ablate.cells.functions import apply
from ablate.cells.lowering import ARITHMETIC, End
from ablate.cells.trace import Graph, Value


def scans(d: Derived, steps: int, device: torch.device) -> bool:
    """Whether these steps of a cell are scanned rather than taken one after the other: those of a linear recurrence on
    a GPU, where the launch of an operation counts. On a CPU the loop is 3 to 6 times as fast, since it reads and writes
    each number once.
    """
    return d.scan is not None and steps > 1 and device.type == "cuda"


def linear_recurrence(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """a, b (R, T, B, H) and the state before the first step (R, B, H) → the states after each step (R, T, B, H)."""
    b = torch.cat([a[:, :1] * start.unsqueeze(1) + b[:, :1], b[:, 1:]], 1)
    reach = 1
    while reach < b.shape[1]:
        # (a, b) of step t now stands for the steps t − reach + 1 … t; together with those before, for twice as many.
        b = torch.cat([b[:, :reach], a[:, reach:] * b[:, :-reach] + b[:, reach:]], 1)
        a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], 1)
        reach *= 2
    return b


def scanned(
    d: Derived, shares: Tensor, states: Sequence[Tensor], matrices: Sequence[Tensor], vectors: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As `ablate.networks.recurrence.recurrence`, of a cell with a `scan`."""
    assert d.scan is not None
    H = states[0].shape[-1]
    known = dict(zip(d.inputs.values(), torch.split(shares, H, -1), strict=True))
    known |= {index: vector.unsqueeze(1) for index, vector in zip(d.vectors.values(), vectors, strict=True)}
    like = shares[..., :H]
    after: list[Tensor | None] = [None] * len(states)
    later = []
    for number, (a, b) in enumerate(d.scan):
        if not isinstance(a, Value) and a == 0.0:  # nothing reads this state: it is made of the others
            later.append(number)
            continue
        own = _whole(evaluated(d.graph, b, known), like)
        after[number] = s = linear_recurrence(_whole(evaluated(d.graph, a, known), like), own, states[number])
        known[d.states[number]] = torch.cat([states[number].unsqueeze(1), s[:, :-1]], 1)
    for end, made in zip(d.new_states, after, strict=True):
        if isinstance(end, Value) and made is not None:
            known[end.index] = made
    for number in later:
        after[number] = _whole(evaluated(d.graph, d.new_states[number], known), like)
    outputs = _whole(evaluated(d.graph, d.output, known), like)
    return outputs, tuple(made[:, -1] for made in after if made is not None)


def evaluated(graph: Graph, end: End, known: dict[int, Tensor]) -> Tensor | float:
    """The value of a node, from those that are known, to which all that is found on the way is added."""
    if not isinstance(end, Value):
        return end
    for value in graph.reached([end]):
        node = value.node
        if value.index not in known:
            of = [known[one.index] if isinstance(one, Value) else one for one in node.of]
            operator: Callable[..., Any] = ARITHMETIC.get(node.op) or partial(apply, node.op)
            known[value.index] = operator(*of)
    return known[end.index]


def _whole(value: Tensor | float, like: Tensor) -> Tensor:
    """With the axes of a value at each step."""
    return value.expand_as(like) if isinstance(value, Tensor) else torch.full_like(like, value)
