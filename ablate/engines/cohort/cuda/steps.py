"""The steps of a layer by kernels of its cell, in the place of `ablate.networks.steps.Steps`.

Axes: R replicas, T steps, B sequences, H hidden units, K shares of the input. Every buffer is made once, nothing waits
for the device and nothing is tuned while it runs, so that a CUDA graph can hold it once its kernels are compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ablate.cells.derivative import Derived
from ablate.engines.cohort.cuda.build import kernels
from ablate.engines.cohort.cuda.code import Kernel
from ablate.networks.products import shortened
from ablate.networks.steps import Shape

FORMS = ("held", "streamed", "stages")
LEAST = 16
"""Sequences and units of the smallest tile that is multiplied."""


@dataclass(frozen=True)
class Tile:
    """What a program computes at a time, and how it is launched."""

    BB: int
    HP: int
    BK: int
    warps: int
    stages: int


def tile_of(form: str, multiplies: bool, B: int, H: int, precision: str = "ieee", sequences: int = LEAST) -> Tile:
    """Tiles of whole steps have all units of a cell with products, and so many sequences."""
    units = max(LEAST, _power_above(H))
    if form == "stages" or not multiplies:
        HP = min(128, units)
        return Tile(max(1, min(_power_above(B), 1024 // HP)), HP, LEAST, 4, 1)
    BK = 32 if precision == "tf32" and units <= 128 else 16
    stages = 3 if form == "streamed" else 1  # so that the next rows of weights come while these are multiplied
    return Tile(sequences, units, BK, 8 if sequences * units >= 1024 else 4, stages)


def _power_above(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def precision_now() -> str:
    """How torch multiplies float32 now, and so the kernels: `ieee` or `tf32`."""
    return "tf32" if shortened() else "ieee"


class KernelSteps:
    """A layer's buffers, and its way forward and, with `training`, back, by kernels of a form: `held`, `streamed` or
    `stages` (`code`). What its methods do, `ablate.networks.steps.Steps` says. Raises Underivable.
    """

    def __init__(self, d: Derived, shape: Shape, training: bool, form: str, tile: Tile | None = None) -> None:
        self.d, self.shape, self.training, self.form = d, shape, training, form
        self.kernels = kernels(d, form, training)
        self.places = places = self.kernels.places
        self.recurs = places.recurs
        R, T, B, H = shape.R, shape.T, shape.B, shape.H
        K, n, zeros = len(d.inputs), len(d.states), shape.zeros
        self.tile = tile or tile_of(form, bool(d.groups), B, H, precision_now())
        self.launched: dict[str, Any] = {}
        """What Triton compiled, by the name of the kernel."""
        self.from_input = slice(places.input_slot * H, (places.input_slot + K) * H)
        self.columns = self.from_input.stop
        self.A = zeros(T, R, B, K * H)
        self.vectors = zeros(R, len(d.vectors), H)
        self.states = zeros(n, R, T + 1 if self.recurs else 1, B, H)
        self.kept = zeros(len(places.kept), R, T if training else 1, B, H)
        self.own_output = zeros(R, T if places.own_output else 0, B, H)
        self.output = self.own_output if places.own_output else self.states[0][:, 1:]
        self.buffers: dict[str, Any] = {
            "shares": self.A,
            "vectors": self.vectors,
            "states": self.states,
            "kept": self.kept,
            "output": self.own_output,
        }
        if training:
            self._for_the_way_back()
        if form == "stages":
            self._for_stages()
        self.matrices: list[Tensor] = []

    def _for_the_way_back(self) -> None:
        R, T, B, H, zeros = self.shape.R, self.shape.T, self.shape.B, self.shape.H, self.shape.zeros
        n = len(self.d.states)
        self.D = zeros(R, T, B, len(self.places.slots) * H)
        self.d_output = zeros(R, T, B, H)
        self.finals, self.initials = zeros(n, R, B, H), zeros(n, R, B, H)
        self.transposed = [zeros(R, len(g.products) * H, len(g.operand) * H) for g in self.d.groups]
        names = ("D", "d_output", "finals", "initials")
        self.buffers |= {name: getattr(self, name) for name in names}

    def _for_stages(self) -> None:
        R, B, H, zeros = self.shape.R, self.shape.B, self.shape.H, self.shape.zeros
        self.products = [zeros(R, B, len(group.products) * H) for group in self.d.groups]
        self.buffers |= {f"product{k}": buffer for k, buffer in enumerate(self.products)}
        if self.training:
            self.reached = [zeros(R, B, len(group.operand) * H) for group in self.d.groups]
            self.carried = zeros(2, len(self.d.states), R, B, H)
            self.buffers |= {f"reach{k}": buffer for k, buffer in enumerate(self.reached)}
            self.buffers |= {
                "carried": self.carried,
                "crossing": zeros(len(self.places.crossing), R, B, H),
            }

    # ---- what is given and taken

    def bind(self, matrices: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
        """Take the weights of this minibatch: matrices (R, n·H, k·H) of the groups, vectors (R, 1, H)."""
        self.matrices = [W if W.stride(-1) == 1 else W.contiguous() for W in matrices]
        for number, vector in enumerate(vectors):
            self.vectors[:, number : number + 1].copy_(vector)
        if self.training:
            for to, W in zip(self.transposed, self.matrices, strict=True):
                to.copy_(W.transpose(1, 2))

    def prefill(self, rows: Tensor) -> None:
        """Nothing: the kernels add the vectors."""

    def split(self, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Columns (…, K·H) → where they belong, (T, R, B, K·H), with those."""
        return [(self.A, rows[..., self.from_input])]

    def load(self, states: Sequence[Tensor]) -> None:
        """Start from these states, (R, B, H) each."""
        for number, state in enumerate(states):
            self.states[number][:, 0].copy_(state)

    def store(self, states: Sequence[Tensor]) -> None:
        """Copy the states after the last step out, for the next minibatch."""
        if self.recurs:
            for number, state in enumerate(states):
                state.copy_(self.states[number][:, -1])

    def state(self, number: int) -> Tensor:
        """A state before the first step and after each, (R, T + 1, B, H)."""
        return self.states[number]

    def initial_gradients(self) -> list[Tensor]:
        """The gradients at the states before the first step, (R, B, H) each."""
        return list(self.initials.unbind())

    def matrix_gradients(self, out: Sequence[Tensor]) -> None:
        """Those of the groups' matrices (R, n·H, k·H)."""
        H = self.shape.H
        for k, (group, into) in enumerate(zip(self.d.groups, out, strict=True)):
            D = self._columns(self.D, k).flatten(1, 2)
            for place, part in enumerate(group.operand):
                X = self._operand(part).flatten(1, 2)
                torch.bmm(X.transpose(1, 2), D, out=into[:, place * H : (place + 1) * H])

    def vector_gradients(self) -> list[Tensor]:
        """Those of the vectors, (R, 1, H) each."""
        H, vectors = self.shape.H, self.vectors
        return [
            torch.zeros_like(vectors[:, :1])
            if slot < 0
            else self.D[..., slot * H : (slot + 1) * H].sum((1, 2)).unsqueeze(1)
            for slot in self.places.vector_slots
        ]

    def _operand(self, part: int) -> Tensor:
        """What a group multiplies at each step, (R, T, B, H)."""
        place, T = self.places.operand(part), self.shape.T
        if place.buffer == "states" and not self.recurs:
            return self.states[place.slot].expand(-1, T, -1, -1)
        if place.buffer == "states":
            return self.states[place.slot][:, place.after : place.after + T]
        if place.buffer == "output":
            return self.output
        return self.kept[place.slot].expand(-1, T, -1, -1)

    def _columns(self, gradients: Tensor, k: int) -> Tensor:
        """Those of a group."""
        first, H = self.places.group_slot[k], self.shape.H
        return gradients[..., first * H : (first + len(self.d.groups[k].products)) * H]

    # ---- both ways

    def forward(self) -> None:
        """From what is in the shares and the states loaded to `output` (R, T, B, H) and the new states."""
        launches = [self._launch(kernel) for kernel in self.kernels.forward]
        if self.form != "stages":
            launches[0](self.matrices)
            return
        operands = [[self._operand(part) for part in group.operand] for group in self.d.groups]
        for t in range(self.shape.T):
            for stage, launch in zip(self.places.forward, launches, strict=True):
                for k in stage.groups:
                    self._multiply(k, [operand[:, t] for operand in operands[k]])
                launch((), t)

    def backward(self, final: Sequence[Tensor] | None = None, initial: bool = False) -> None:
        """From the gradients at the output, in `d_output`, and at the last states (zero if there are none) to `D`.

        With `initial` on to the states before the first step: `initial_gradients`.
        """
        if final is None:
            self.finals.zero_()
        else:
            for to, given in zip(self.finals, final, strict=True):
                to.copy_(given)
        launches = [self._launch(kernel) for kernel in self.kernels.backward]
        if self.form != "stages":
            launches[0](self.transposed)
            return
        recurrent = [k for k, group in enumerate(self.d.groups) if group.recurrent and self.recurs]
        T = self.shape.T
        self.carried[T % 2].copy_(self.finals)
        for k in recurrent:
            self.reached[k].zero_()
        for t in reversed(range(T)):
            for stage, launch in zip(self.places.backward, launches, strict=True):
                for k in stage.groups:
                    self._reach(k, t)
                launch((), t)
            if t or initial:
                for k in recurrent:
                    self._reach(k, t)
        if initial and self.recurs:
            self._to_first_states(recurrent)

    def _to_first_states(self, recurrent: Sequence[int]) -> None:
        H = self.shape.H
        self.initials.copy_(self.carried[0])
        for k in recurrent:
            for place, part in enumerate(self.d.groups[k].operand):
                self.initials[self.d.states.index(part)] += self.reached[k][..., place * H : (place + 1) * H]

    def _multiply(self, k: int, operands: Sequence[Tensor]) -> None:
        H, W, to = self.shape.H, self.matrices[k], self.products[k]
        for place, X in enumerate(operands):
            rows = W[:, place * H : (place + 1) * H]
            if place == 0:
                torch.bmm(X, rows, out=to)
            else:
                to.baddbmm_(X, rows)

    def _reach(self, k: int, t: int) -> None:
        """What a group's products at step t bring back to its operand."""
        torch.bmm(self._columns(self.D, k)[:, t], self.transposed[k], out=self.reached[k])

    def _here(self) -> AbstractContextManager[Any]:
        """Triton launches on the device that is the current one, wherever the tensors are."""
        device = self.shape.device
        return torch.cuda.device(device) if device.type == "cuda" else nullcontext()

    def _launch(self, kernel: Kernel) -> Callable[..., None]:
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        tile, function = self.tile, self.kernels.functions[kernel.name]
        grid = (R, math.ceil(B / tile.BB), math.ceil(H / tile.HP))
        constants = (H, tile.HP, tile.BB, tile.BK, precision_now(), _triton_type(self.shape.dtype))
        launch = function[grid]
        # A product and a sum are rounded once, as in torch's kernels; what Triton does where nothing is said changes.
        options = {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True}

        def run(matrices: Sequence[Tensor], t: int = 0) -> None:
            values = self.buffers | {"t": t}
            for k, W in enumerate(matrices):
                values |= {f"W{k}": W, f"W{k}_replica": W.stride(0), f"W{k}_row": W.stride(1)}
            arguments = [values[name] for name in kernel.arguments]
            with self._here():
                made = launch(*arguments, T, B, *constants, **options)
            self.launched[kernel.name] = made

        return run


def _triton_type(dtype: torch.dtype) -> Any:
    import triton.language as tl

    return {torch.float32: tl.float32, torch.float64: tl.float64}[dtype]
