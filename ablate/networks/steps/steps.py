"""The steps of a layer as others call them: bound to weights, filled with shares of the input, run both ways.

Axes: R replicas, T steps, B sequences, H hidden units, K blocks of H columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ablate.cells.derivative import Derived
from ablate.networks.products import Product
from ablate.networks.steps.backward import Backward
from ablate.networks.steps.buffers import Shape, replicas_first


class LayerSteps(Protocol):
    """What `Steps` is to others; what computes the same otherwise, as kernels for a GPU do, is that, too."""

    recurs: bool
    columns: int
    from_input: slice
    output: Tensor
    d_output: Tensor
    D: Tensor

    def bind(self, matrices: Sequence[Tensor], vectors: Sequence[Tensor]) -> None: ...
    def prefill(self, rows: Tensor) -> None: ...
    def split(self, rows: Tensor) -> list[tuple[Tensor, Tensor]]: ...
    def load(self, states: Sequence[Tensor]) -> None: ...
    def store(self, states: Sequence[Tensor]) -> None: ...
    def state(self, number: int) -> Tensor: ...
    def forward(self) -> None: ...
    def backward(self, final: Sequence[Tensor] | None = None, initial: bool = False) -> None: ...
    def initial_gradients(self) -> list[Tensor]: ...
    def matrix_gradients(self, out: Sequence[Tensor]) -> None: ...
    def vector_gradients(self) -> list[Tensor]: ...


MAKERS: dict[str, Callable[[Derived, Shape, bool], LayerSteps]] = {}
"""Type of a device → what makes the steps of a layer there, in the place of `Steps`."""


def steps_for(d: Derived, shape: Shape, training: bool) -> LayerSteps:
    """The steps of a layer as they are taken on the device of the shape."""
    return MAKERS.get(shape.device.type, Steps)(d, shape, training)


def take(steps: LayerSteps, shares: Tensor) -> None:
    """Lay the input's shares (R, T, B, K·H), with the biases in them, where the steps read them."""
    R, T, B, _ = shares.shape
    rows = shares.new_zeros(R, T * B, steps.columns)
    steps.prefill(rows)
    rows[..., steps.from_input] += shares.flatten(1, 2)
    for part, of_it in steps.split(rows.view(R, T, B, -1)):
        replicas_first(part).copy_(of_it)


class Steps(Backward):
    """A layer's buffers, and its way forward and back."""

    def bind(self, matrices: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
        """Take the weights of this minibatch: matrices (R, n·H, k·H) of the groups, vectors (R, 1, H)."""
        for own, given in zip(self.vectors, vectors, strict=True):
            own.copy_(given)
        self._compute_constants()
        made: dict[tuple[int, int, int, bool], Product] = {}
        self.bound: list[Callable[..., None]] = []
        for number, columns, transposed, added in self.made_products:
            key = (number, columns.start, columns.stop, transposed)
            if key not in made:
                W = matrices[number][..., columns]
                made[key] = Product(
                    W.transpose(1, 2) if transposed else W, self.shape.H, self.shape.B, self.shape.products
                )
            self.bound.append(made[key].add_to if added else made[key].write_to)

    def prefill(self, rows: Tensor) -> None:
        """Add to rows (R, n, K·H) the vectors that are simply added to a block."""
        H = self.shape.H
        for block, name in self.prefills:
            rows[..., block * H : (block + 1) * H] += self.batch[name][:, 0]

    def load(self, states: Sequence[Tensor]) -> None:
        """Start from these states, (R, B, H) each."""
        for number, state in enumerate(states):
            self.state(number)[:, 0].copy_(state)

    def store(self, states: Sequence[Tensor]) -> None:
        """Copy the states after the last step out, for the next minibatch."""
        if self.recurs:
            for number, state in enumerate(states):
                state.copy_(self.state(number)[:, -1])

    def split(self, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Columns (…, K·H) → the parts of the pre-activations that they belong in, (T, R, B, k·H), with those."""
        return [(part, rows[..., at]) for part, at in self.parts]

    def forward(self) -> None:
        """From what is in the parts and the states loaded to `output` (R, T, B, H) and the new states."""
        self._run_forward(self.bound, True)

    def backward(self, final: Sequence[Tensor] | None = None, initial: bool = False) -> None:
        """From the gradients at the output, in `d_output`, and at the last states (zero if there are none) to `D`.

        With `initial` on to the states before the first step: `initial_gradients`.
        """
        for number in range(len(self.d.states)):
            last = self._of_cluster([slots[-1] for slots in self.G], number)
            if number == self.prefilled:
                if final is not None:
                    last.add_(final[number])
                continue
            if self._cluster_is_prefilled(number):
                for slot in self.G[self._place(number)[0]]:
                    self._of_cluster([slot] * len(self.G), number).zero_()
            last.zero_() if final is None else last.copy_(final[number])
        if initial and self.prefilled >= 0:
            self._of_cluster([slots[0] for slots in self.G], self.prefilled).zero_()
        self._jacobian()
        self._run_backward(self.bound, initial)

    def initial_gradients(self) -> list[Tensor]:
        """The gradients at the states before the first step, (R, B, H) each."""
        return [self._of_cluster([slots[0] for slots in self.G], number) for number in range(len(self.d.states))]

    def matrix_gradients(self, out: Sequence[Tensor]) -> None:
        """Those of the groups' matrices (R, n·H, k·H)."""
        for number, (operand, into) in enumerate(zip(self.operands, out, strict=True)):
            for columns, _, D in self._runs_back(number):
                own = operand.flatten(1, 2).transpose(1, 2)
                self.shape.products.write(into[..., columns], own, D.flatten(1, 2))

    def vector_gradients(self) -> list[Tensor]:
        """Those of the vectors, (R, 1, H) each."""
        self._sum_vectors()
        return [
            torch.zeros_like(own) if name is None else self.batch[name].sum((1, 2)).unsqueeze(1)
            for name, own in zip(self.vector_gradient, self.vectors, strict=True)
        ]
