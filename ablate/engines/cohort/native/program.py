"""A cohort whose minibatches the native kernel computes, one replica after the other.

Axes: R replicas, T steps, B sequences, H hidden units, V vocabulary, P numbers per replica.

Parameters, gradients, states, optimizers and checkpoints are those of `Cohort`, which also remains the reference:
what the kernel does not cover, `not_covered` says, and torch computes.
"""

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.cells.derivative import derivative_of
from ablate.cells.lowering import Underivable
from ablate.cells.structure import parameter
from ablate.config.resolved import Resolved
from ablate.engines.cohort.cuda import choose
from ablate.engines.cohort.native.build import Sizes, native
from ablate.engines.cohort.native.workspace import workspace
from ablate.engines.cohort.replicas import Cohort
from ablate.engines.cohort.weights import Layout
from ablate.engines.divergence import FINITE, LOSS
from ablate.networks.dropout import Masks
from ablate.networks.products import products_of

LAYER_LIMIT = 16
"""`LAYERS_LIMIT` of the kernel."""


def not_covered(config: Resolved, vocabulary_size: int, dtype: torch.dtype, device: str | torch.device = "cpu") -> str:
    """Why the kernel cannot compute this; empty where it can, on a machine that has it."""
    reasons = [
        (torch.device(device).type != "cpu", "not on the CPU"),
        (dtype != torch.float32, "not float32"),
        (config.layers > LAYER_LIMIT, f"more than {LAYER_LIMIT} layers"),
    ]
    if reason := next((reason for applies, reason in reasons if applies), ""):
        return reason
    try:
        return native(derivative_of(config), config.precision).reason
    except Underivable as error:
        return str(error)


def computed_by(config: Resolved, vocabulary_size: int, dtype: torch.dtype, device: str | torch.device = "cpu") -> str:
    """What computes a cohort of this config, for the record."""
    device = torch.device(device)
    if device.type == "cuda":
        sizes = 1, config.batch_size, config.num_hiddens
        return choose(derivative_of(config), *sizes, dtype, device, products_of(config.precision, device)).name
    reason = not_covered(config, vocabulary_size, dtype, device)
    native = "native" if config.precision == "ieee" else f"native, {config.precision} products"
    return f"torch (no native kernel: {reason})" if reason else native


class NativeCohort(Cohort):
    """As `Cohort`. Raises ValueError where `not_covered` gives a reason.

    Replica k computes the same numbers, bit for bit, in any company: each is computed by itself. SGD without weight
    decay, clipped by the norm, is part of the kernel; with other updates the kernel computes the gradients.
    """

    takes_any_width = False

    def __init__(
        self,
        configs: Sequence[Resolved],
        vocabulary_size: int,
        parameters: Sequence[Mapping[str, Tensor]],
        *,
        device: str | torch.device = "cpu",
        generators: Sequence[Generator] | None = None,
        updates: int | None = None,
    ) -> None:
        super().__init__(configs, vocabulary_size, parameters, device=device, generators=generators, updates=updates)
        if reason := not_covered(self.config, vocabulary_size, self.parameters.dtype, device):
            raise ValueError(f"the native kernel cannot compute this: {reason}")
        self.kernel = Kernel(self.layout, vocabulary_size)
        self.clips = [math.inf] * len(self) if self.update.clip is None else self.update.clip.flatten().tolist()
        with torch.inference_mode():
            self.rows = list(zip(self.parameters.unbind(), self.grads.unbind(), strict=True))

    @torch.inference_mode()
    def step(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> Tensor:
        """As `Cohort.step`; a frozen replica is no longer computed."""
        if not self.update.descends or self.update.bound is not None:
            return super().step(tokens, targets, carry=carry)
        self._start(tokens.shape[2], carry)
        self.update.advance()
        rates = self.update.rates
        losses, causes = self.last_losses.tolist(), self.causes.tolist()
        masks = self._each_mask(self._masks(*tokens.shape[1:]), tokens.shape[1])
        batches = zip(tokens.contiguous(), targets.contiguous(), _each(self._states), self.rows, masks, strict=True)
        for k, (x, y, states, (parameters, grads), own_masks) in enumerate(batches):
            if causes[k] != FINITE:
                continue
            losses[k] = self.kernel.minibatch(x, y, states, parameters, grads, own_masks)
            if not math.isfinite(losses[k]):
                causes[k] = LOSS
            else:  # while the gradients are still in the cache
                causes[k] = self.kernel.clipped_descent(parameters, grads, rates[k], self.clips[k])
        self.last_losses = self.last_losses.new_tensor(losses)
        if any(causes):
            self._freeze(torch.tensor(causes))
        return self.last_losses.clone()

    def _backpropagate(self, tokens: Tensor, targets: Tensor, masks: Masks) -> Tensor:
        each = self._each_mask(masks, tokens.shape[1])
        return self._losses(tokens, targets, self._states, training=True, masks=each)

    def _each_mask(self, masks: Masks, T: int) -> list[Sequence[Tensor]]:
        """Each replica's dropout masks (T, B, H), from the lowest place up."""
        whole = [mask.expand(-1, T, -1, -1).contiguous() for mask in masks.values()]
        return list(zip(*(mask.unbind() for mask in whole), strict=True)) if whole else [()] * len(self)

    def _losses(
        self,
        tokens: Tensor,
        targets: Tensor,
        states: list[list[Tensor]],
        training: bool,
        masks: Sequence[Sequence[Tensor]] | None = None,
    ) -> Tensor:
        """Losses (R,) of (R, T, B); states are moved on in place, and with `training` the gradients filled."""
        own_masks = masks or [()] * len(self)
        batches = zip(tokens.contiguous(), targets.contiguous(), _each(states), self.rows, own_masks, strict=True)
        values = [
            self.kernel.minibatch(x, y, state, parameters, own if training else None, mask)
            for x, y, state, (parameters, own), mask in batches
        ]
        return self.last_losses.new_tensor(values)

    def _held_out(self, tokens: Tensor, targets: Tensor, states: list[list[Tensor]]) -> Tensor:
        return self._losses(tokens, targets, states, training=False)


class Kernel:
    """The library's functions for networks of one layout, with a workspace of its own: one for each thread."""

    def __init__(self, layout: Layout, vocabulary_size: int) -> None:
        library = native(layout.derived, layout.config.precision).library
        assert library is not None
        config = layout.config
        self.library = library
        self.V = vocabulary_size
        self.layers, self.H = config.layers, config.num_hiddens
        self.places = places(layout)
        self.sizes: dict[tuple[int, int, bool, bool], Sizes] = {}
        self.workspace = torch.empty(0, dtype=torch.uint8)

    def minibatch(
        self,
        tokens: Tensor,
        targets: Tensor,
        states: Sequence[Tensor],
        parameters: Tensor,
        grads: Tensor | None,
        masks: Sequence[Tensor] = (),
    ) -> float:
        """Tokens, targets (T, B), one replica's parameters (P,) → its mean cross-entropy in nats per scored token.

        `states` (B, H), of each layer and part, are moved on in place; `grads` (P,) is filled. `masks` (T, B, H)
        multiply what the layers but the last put out. Raises IndexError for a token outside the vocabulary, or a
        target that is neither in it nor `UNSCORED`.
        """
        T, B = tokens.shape
        sizes = self._sizes(T, B, grads is not None, len(masks) > 0)
        loss: float = self.library.minibatch(
            sizes,
            self.places,
            parameters.data_ptr(),
            None if grads is None else grads.data_ptr(),
            tokens.data_ptr(),
            targets.data_ptr(),
            addresses(states),
            addresses(masks),
            self.workspace.data_ptr(),
        )
        if loss == -1.0:
            raise IndexError(f"a token outside the vocabulary of {self.V}")
        return loss

    def clipped_descent(self, parameters: Tensor, grads: Tensor, lr: float, clip: float) -> int:
        """SGD (P,), the gradients scaled by clip/norm if their norm exceeds `clip`; what is not finite, if anything."""
        cause: int = self.library.clipped_descent(parameters.data_ptr(), grads.data_ptr(), len(grads), lr, clip)
        return cause

    def _sizes(self, T: int, B: int, training: bool, dropout: bool) -> Sizes:
        key = (T, B, training, dropout)
        if key not in self.sizes:
            self.sizes[key] = sizes = Sizes(T, B, self.H, self.V, self.layers, training, dropout)
            needed = self.library.workspace_bytes(sizes, False)
            if needed > len(self.workspace):
                self.workspace = workspace(needed)
        return self.sizes[key]


def addresses(tensors: Sequence[Tensor]) -> Any:
    """Those of contiguous tensors, as an array."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def places(layout: Layout) -> Any:
    """Where each tensor of a row begins, and how far its rows are apart: `Network::weights` of the kernel."""
    d, numbers = layout.derived, list[int]()

    def place(name: str) -> tuple[int, int]:
        if name not in layout.named:
            return -1, 0
        of, where = layout.named[name]
        return of.start + where.start, of.width

    for layer in range(layout.config.layers):
        for name in d.inputs:
            start = f"{layer}.{name}"
            numbers += place(f"{start}.W_x")
            numbers += [place(f"{start}.b_x")[0], place(f"{start}.b_h")[0] if name in d.folded else -1]
        for group in d.groups:
            for key in group.weights:
                numbers += place(f"{layer}.{parameter(*key)}")
        numbers += [place(f"{layer}.{parameter(*key)}")[0] for key in d.vectors]
    numbers += [layout.output["output.W"].start, layout.output["output.b"].start]
    return (ctypes.c_int64 * len(numbers))(*numbers)


def memory_bytes(config: Resolved, R: int, vocabulary_size: int) -> int:
    """Bytes that a native cohort of R replicas keeps: parameters, gradients and one workspace."""
    kernel = Kernel(Layout(config, vocabulary_size), vocabulary_size)
    sizes = Sizes(config.num_steps, config.batch_size, kernel.H, kernel.V, kernel.layers, True, config.dropout > 0)
    needed: int = kernel.library.workspace_bytes(sizes, False)
    return 2 * 4 * R * Layout(config, vocabulary_size).size + needed


def _each(states: Sequence[Sequence[Tensor]]) -> list[tuple[Tensor, ...]]:
    """(layer, part: (R, B, H)) → each replica's states (B, H), in the kernel's order."""
    return list(zip(*(part.unbind() for layer in states for part in layer), strict=True))
