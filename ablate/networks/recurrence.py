"""All steps of a layer as one function that autograd knows.

Axes: R replicas, T steps, B sequences, H hidden units, K shares of the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock, local
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.cells.derivative import Derived
from ablate.networks import scan
from ablate.networks.products import shortened
from ablate.networks.steps import LayerSteps, Shape, steps_for, take


def recurrence(
    d: Derived,
    shares: Tensor,
    states: Sequence[Tensor],
    matrices: Sequence[Tensor],
    vectors: Sequence[Tensor],
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs (R, T, B, H) and the states after the last step, (R, B, H) each.

    `shares` (R, T, B, K·H) in the order of `d.inputs`, biases in them; `states` (R, B, H) each; `matrices`
    (R, k·H, n·H), one for each of `d.groups`; `vectors` (R, 1, H), one for each of `d.vectors`. `reverse` goes from the
    last step to the first; outputs stay in the order of the shares. Gradients can be taken once for each call.
    """
    if reverse:
        outputs, new = recurrence(d, shares.flip(1), states, matrices, vectors)
        return outputs.flip(1), new
    if scan.scans(d, shares.shape[1], shares.device):
        return scan.scanned(d, shares, states, matrices, vectors)
    outputs, *after = _Recurrence.apply(d, shares, *states, *matrices, *vectors)  # type: ignore[no-untyped-call]
    return outputs, tuple(after)


SPARE = 4
"""Buffers of one form that are kept for the next call."""
FORMS = 16
"""Forms of which buffers are shared, those that were used last: a sweep over sizes would fill the memory."""
Spare = dict[Any, list[LayerSteps]]
_shared: Spare = {}
_lock = Lock()


class _Place(local):
    spare = _shared


_place = _Place()


def _stream_of(device: torch.device) -> int:
    """What takes the work of this thread: on a GPU another one may still compute with buffers that were given back."""
    return int(torch.cuda.current_stream(device).cuda_stream) if device.type == "cuda" else 0


@contextmanager
def buffers_in(spare: Spare) -> Iterator[None]:
    """In this thread, buffers come from there: those of a recorded CUDA graph must not serve anybody else."""
    before, _place.spare = _place.spare, spare
    try:
        yield
    finally:
        _place.spare = before


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, d: Derived, shares: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        R, T, B, width = shares.shape
        ends = [len(d.states), len(d.states) + len(d.groups)]
        states, matrices, vectors = given[: ends[0]], given[ends[0] : ends[1]], given[ends[1] :]
        shape = (R, T, B, width // len(d.inputs), shares.dtype, shares.device)
        place = _place.spare
        stream = _stream_of(shares.device) if place is _shared else 0  # a graph is recorded on a stream of its own
        key = d, shape, any(ctx.needs_input_grad), shortened(), stream
        steps = _taken(place, key)
        if steps is None:
            with torch.inference_mode(False):  # so that it can be used again in any mode
                steps = steps_for(d, Shape(*shape), training=any(ctx.needs_input_grad))
        steps.bind(matrices, vectors)
        take(steps, shares)
        steps.load(states)
        steps.forward()
        last = -1 if steps.recurs else 0
        new = [steps.state(number)[:, last].clone() for number in range(len(states))]
        outputs = steps.output.clone()
        if any(ctx.needs_input_grad):
            ctx.steps, ctx.key, ctx.place, ctx.matrices = steps, key, place, matrices
        else:
            _give_back(place, key, steps)
        return outputs, *new

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_new: Tensor) -> tuple[Tensor | None, ...]:
        steps, ctx.steps = ctx.steps, None
        if steps is None:
            raise RuntimeError("the gradients of a recurrence can be taken once")
        steps.d_output.copy_(d_outputs)
        steps.backward(d_new, initial=True)
        d_matrices = [torch.zeros_like(matrix) for matrix in ctx.matrices]
        steps.matrix_gradients(d_matrices)
        d_shares = steps.D[..., : steps.columns][..., steps.from_input].clone()
        d_vectors = [gradient.clone() for gradient in steps.vector_gradients()]
        d_states = [gradient.clone() for gradient in steps.initial_gradients()]
        _give_back(ctx.place, ctx.key, steps)
        return None, d_shares, *d_states, *d_matrices, *d_vectors


def _taken(place: Spare, key: Any) -> LayerSteps | None:
    with _lock:
        there = place.pop(key, [])
        steps = there.pop() if there else None
        place[key] = there  # now the latest
        for other in list(place)[:-FORMS] if place is _shared else ():  # a recorded graph has all of its own
            del place[other]
    return steps


def _give_back(place: Spare, key: Any, steps: LayerSteps) -> None:
    with _lock:
        there = place.setdefault(key, [])
        if len(there) < SPARE:
            there.append(steps)
