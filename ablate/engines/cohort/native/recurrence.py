"""One layer over all its steps, computed by the kernel of its cell: what networks of any form are made of.

Axes: R replicas, T steps, B sequences, H hidden units, K shares of the input; float32 on the CPU. As
`ablate.networks.recurrence.recurrence`, which it takes the place of where there is a kernel. Replica k computes the
same numbers, bit for bit, in any company: each is computed by itself.
"""

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.cells.derivative import Derived
from ablate.engines.cohort.native.build import Sizes, native
from ablate.engines.cohort.native.workspace import workspace


def native_recurrence(
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
    last step to the first; outputs stay in the order of the shares. Gradients are found once for each call. Raises
    RuntimeError where there is no kernel, with the reason.
    """
    outputs, *new = _Recurrence.apply(d, reverse, shares, *states, *matrices, *vectors)  # type: ignore[no-untyped-call]
    return outputs, tuple(new)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, d: Derived, reverse: bool, shares: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        library, reason = (made := native(d)).library, made.reason
        if library is None:
            raise RuntimeError(f"no native kernel: {reason}")
        R, T, B, width = shares.shape
        H, training = width // len(d.inputs), any(ctx.needs_input_grad)
        sizes = Sizes(T, B, H, 0, 1, training, False)
        count = library.workspace_bytes(sizes, True)
        # What a replica leaves there its gradients begin with; where none are wanted all can share it.
        spaces = _spaces.taken(count, R if training else 1)
        shares, *given = (tensor.contiguous() for tensor in (shares, *given))  # type: ignore[assignment]
        outputs = shares.new_empty(R, T, B, H)
        ends = [len(d.states), len(d.states) + len(d.groups)]
        states, matrices, vectors = given[: ends[0]], given[ends[0] : ends[1]], given[ends[1] :]
        new = [torch.empty_like(state) for state in states]
        for k in range(R):
            own = [_addresses(tensors, k) for tensors in (states, matrices, vectors)]
            library.layer_forward(
                sizes, reverse, shares[k].data_ptr(), *own, outputs[k].data_ptr(), _addresses(new, k), _start(spaces, k)
            )
        if training:
            ctx.library, ctx.sizes, ctx.reverse, ctx.spaces, ctx.ends = library, sizes, reverse, spaces, ends
            ctx.shapes = [tensor.shape for tensor in (shares, *given)]
        else:
            _spaces.give_back(spaces)
        return outputs, *new

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Tensor, *d_new: Tensor) -> tuple[Tensor | None, ...]:
        spaces, ctx.spaces = ctx.spaces, None
        if spaces is None:
            raise RuntimeError("the gradients of a native recurrence can be taken once")
        d_outputs, *d_new = (tensor.contiguous() for tensor in (d_outputs, *d_new))  # type: ignore[assignment]
        d_shares, *d_given = (d_outputs.new_empty(shape) for shape in ctx.shapes)
        states, matrices, vectors = (
            d_given[: ctx.ends[0]],
            d_given[ctx.ends[0] : ctx.ends[1]],
            d_given[ctx.ends[1] :],
        )
        for k in range(len(d_outputs)):
            own = [_addresses(tensors, k) for tensors in (states, matrices, vectors)]
            ctx.library.layer_backward(
                ctx.sizes,
                ctx.reverse,
                d_outputs[k].data_ptr(),
                _addresses(d_new, k),
                d_shares[k].data_ptr(),
                *own,
                _start(spaces, k),
            )
        _spaces.give_back(spaces)
        return None, None, d_shares, *d_given


class _Spaces(threading.local):
    """Workspaces that are free, by their size: new memory costs more than a step of a small network.

    A network asks for the same few sizes at every minibatch; those of others, of longer ago, are let go.
    """

    KINDS = 8

    def __init__(self) -> None:
        self.free: dict[int, list[Tensor]] = {}

    def taken(self, size: int, count: int) -> list[Tensor]:
        there = self.free.pop(size, [])
        self.free[size] = there[count:]  # now the latest
        for other in list(self.free)[: -self.KINDS]:
            del self.free[other]
        return there[:count] + [workspace(size) for _ in range(count - len(there))]

    def give_back(self, spaces: list[Tensor]) -> None:
        self.free.setdefault(len(spaces[0]), []).extend(spaces)


_spaces = _Spaces()


def _addresses(tensors: Sequence[Tensor], replica: int) -> Any:
    """Those of one replica's part of contiguous tensors."""
    at = [tensor.data_ptr() + replica * tensor.stride(0) * tensor.element_size() for tensor in tensors]
    return (ctypes.c_void_p * len(at))(*at)


def _start(spaces: Sequence[Tensor], replica: int) -> int:
    return spaces[replica % len(spaces)].data_ptr()
