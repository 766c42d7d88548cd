"""A cohort whose minibatches the native kernel computes, one replica after the other.

Axes: R replicas, T steps, B sequences, H hidden units, V vocabulary, P numbers per replica.

Parameters, gradients, states, optimizers and checkpoints are those of `Cohort`, which also remains the reference:
what the kernel does not cover, `not_covered` says, and torch computes.
"""

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.cells.derivative import derivative_of
from ablate.cells.lowering import Underivable
from ablate.cells.structure import parameter
from ablate.config.resolved import Resolved
from ablate.engines.cohort.cuda import choose
from ablate.engines.cohort.native.build import Minibatches, Sizes, native
from ablate.engines.cohort.native.workspace import workspace
from ablate.engines.cohort.portions import Portion, Stacked
from ablate.engines.cohort.replicas import Cohort
from ablate.engines.cohort.weights import Layout
from ablate.networks.dropout import Masks
from ablate.networks.parameters import Features, Vocabulary, ends
from ablate.networks.products import products_of

LAYER_LIMIT = 16
"""`LAYERS_LIMIT` of the kernel."""
MULTIPLICATIONS_AT_ONCE = 2**30
"""Of one call, about: 20 ms of a core, within which no request to stop is heard."""


def not_covered(config: Resolved, dtype: torch.dtype, device: str | torch.device = "cpu") -> str:
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


def computed_by(config: Resolved, dtype: torch.dtype, device: str | torch.device = "cpu") -> str:
    """What computes a cohort of this config, for the record."""
    device = torch.device(device)
    if device.type == "cuda":
        sizes = 1, config.batch_size, config.num_hiddens
        return choose(derivative_of(config), *sizes, dtype, device, products_of(config.precision, device)).name
    reason = not_covered(config, dtype, device)
    native = "native" if config.precision == "ieee" else f"native, {config.precision} products"
    return f"torch (no native kernel: {reason})" if reason else native


class NativeCohort(Cohort):
    """As `Cohort`. Raises ValueError where `not_covered` gives a reason.

    Replica k computes the same numbers, bit for bit, in any company: each is computed by itself. SGD without weight
    decay, clipped by the norm, is part of the kernel, which then trains on many minibatches in one call, so that
    threads seldom wait for the interpreter; with other updates the kernel computes the gradients.
    """

    takes_any_width = False
    portion_bytes = 2**20

    def __init__(
        self,
        configs: Sequence[Resolved],
        vocabulary_size: Vocabulary,
        parameters: Sequence[Mapping[str, Tensor]],
        *,
        device: str | torch.device = "cpu",
        generators: Sequence[Generator] | None = None,
        updates: int | None = None,
    ) -> None:
        super().__init__(configs, vocabulary_size, parameters, device=device, generators=generators, updates=updates)
        if reason := not_covered(self.config, self.parameters.dtype, device):
            raise ValueError(f"the native kernel cannot compute this: {reason}")
        self.kernel = Kernel(self.layout, vocabulary_size)
        self.takes_portions = self.update.descends and self.update.bound is None
        with torch.inference_mode():
            infinite = torch.full_like(self.update.lr, math.inf)
            self.clips = infinite if self.update.clip is None else self.update.clip

    @torch.inference_mode()
    def step(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> Tensor:
        """As `Cohort.step`; a frozen replica is no longer computed."""
        if not self.takes_portions:
            return super().step(tokens, targets, carry=carry)
        return self.train(Stacked(tokens.unsqueeze(0), targets.unsqueeze(0)), carry=carry)[0]

    @torch.inference_mode()
    def train(
        self, portion: Portion, *, carry: bool, carries: bool = True, between: Callable[[], None] = lambda: None
    ) -> Tensor:
        """As `Cohort.train`; `between` is called at least every `MULTIPLICATIONS_AT_ONCE`, or minibatch."""
        T, B = portion.size
        count = len(portion.parts[0])
        each = 3 * len(self) * T * B * self.layout.size  # forward, back, and of the weights' gradients
        most = 1 if self.shares else max(1, MULTIPLICATIONS_AT_ONCE // each)
        losses = []
        for start in range(0, count, most):
            between()
            some = portion.some(start, min(count, start + most))
            tokens, targets = some.read()(some.parts)
            self._start(B, carry if start == 0 else carries)
            rates = self._rates_to_come(len(tokens))
            masks = self._whole_masks(self._masks(T, B), T)
            losses.append(self._minibatches(tokens, targets, self._states, masks, rates=rates, carries=carries))
            if bool(self.causes.any()):
                self._freeze(self.causes)
        return torch.cat(losses)

    def _rates_to_come(self, count: int) -> Tensor:
        """Of so many updates, which count as done: (count, R, 1)."""
        if count > 1:
            rates, _ = self.update.coming(count)
            self.update.lr.copy_(rates[-1])
            return rates
        self.update.advance()
        return self.update.lr.unsqueeze(0)

    def _backpropagate(self, tokens: Tensor, targets: Tensor, masks: Masks) -> Tensor:
        whole = self._whole_masks(masks, targets.shape[1])
        return self._minibatches(tokens.unsqueeze(0), targets.unsqueeze(0), self._states, whole)[0]

    def _held_out(self, tokens: Tensor, targets: Tensor, states: list[list[Tensor]]) -> Tensor:
        return self._minibatches(tokens.unsqueeze(0), targets.unsqueeze(0), states, training=False)[0]

    @staticmethod
    def _whole_masks(masks: Masks, T: int) -> list[Tensor]:
        """Dropout masks (R, T, B, H), from the lowest place up."""
        return [mask.expand(-1, T, -1, -1).contiguous() for mask in masks.values()]

    def _minibatches(
        self,
        tokens: Tensor,
        targets: Tensor,
        states: Sequence[Sequence[Tensor]],
        masks: Sequence[Tensor] = (),
        *,
        training: bool = True,
        rates: Tensor | None = None,
        carries: bool = True,
    ) -> Tensor:
        """Losses (J, R) of minibatches (J, R, T, B), numbers (J, R, T, B, features); states are moved on in place, with
        `training` gradients filled.

        With `rates` (J, R, 1) the parameters are moved, too, and what is not finite is in `causes`. `masks`
        (R, T, B, H) are those of a single minibatch.
        """
        losses = self.last_losses.new_empty(targets.shape[:2])
        of = Minibatches(*targets.shape[:2], self.layout.size, carries)
        inputs = ("numbers", tokens.to(losses.dtype)) if self.kernel.features else ("tokens", _words(tokens))
        expected = (*targets.shape, self.kernel.features) if self.kernel.features else targets.shape
        if tokens.shape != expected:
            raise ValueError(f"inputs are {tuple(tokens.shape)}, but {tuple(expected)} with these targets")
        tensors = {name: tensor.contiguous() for name, tensor in (inputs, ("targets", _words(targets)))}
        tensors |= {"parameters": self.parameters, "losses": losses, "last": losses}
        if training:
            tensors["grads"] = self.grads
        if rates is not None:
            tensors |= {"rates": rates.contiguous(), "clips": self.clips}
            tensors |= {"causes": self.causes, "last": self.last_losses}
        for name, tensor in tensors.items():
            setattr(of, name, tensor.data_ptr())
        self.kernel.minibatches(of, targets.shape, [part for layer in states for part in layer], masks)
        return losses


def _words(numbers: Tensor) -> Tensor:
    """As the kernel reads them. Raises ValueError for what are no whole numbers."""
    if numbers.is_floating_point():
        raise ValueError(f"tokens and classes are whole numbers, not {numbers.dtype}")
    return numbers.long()


class Kernel:
    """The library's functions for networks of one layout, with a workspace of its own: one for each thread."""

    def __init__(self, layout: Layout, vocabulary_size: Vocabulary) -> None:
        library = native(layout.derived, layout.config.precision).library
        assert library is not None
        config = layout.config
        self.library = library
        self.V = ends(vocabulary_size)[1]
        self.features = vocabulary_size.inputs if isinstance(vocabulary_size, Features) else 0
        self.layers, self.H = config.layers, config.num_hiddens
        self.places = places(layout)
        self.sizes: dict[tuple[int, int, bool, bool], Sizes] = {}
        self.workspace = torch.empty(0, dtype=torch.uint8)

    def minibatches(
        self, of: Minibatches, shape: Sequence[int], states: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> None:
        """The minibatches (J, R, T, B) of `of`, with the states of each layer and part, and the masks, if any.

        Raises IndexError for a token outside the vocabulary, or a target that is neither in it nor `UNSCORED`.
        """
        _, _, T, B = shape
        sizes = self._sizes(T, B, training=bool(of.grads), dropout=len(masks) > 0)
        lists = addresses(states), addresses(masks)
        of.states, of.masks = map(ctypes.addressof, lists)
        if self.library.minibatches(sizes, self.places, of, self.workspace.data_ptr()):
            what = (
                "a target outside the outputs, of which there are"
                if self.features
                else "a token outside the vocabulary of"
            )
            raise IndexError(f"{what} {self.V}")

    def sizes_of(self, T: int, B: int, training: bool, dropout: bool) -> Sizes:
        return Sizes(T, B, self.H, self.V, self.layers, training, dropout, self.features)

    def _sizes(self, T: int, B: int, training: bool, dropout: bool) -> Sizes:
        key = (T, B, training, dropout)
        if key not in self.sizes:
            self.sizes[key] = sizes = self.sizes_of(T, B, training, dropout)
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


def memory_bytes(config: Resolved, R: int, vocabulary_size: Vocabulary) -> int:
    """Bytes that a native cohort of R replicas keeps: parameters, gradients and one workspace."""
    kernel = Kernel(Layout(config, vocabulary_size), vocabulary_size)
    sizes = kernel.sizes_of(config.num_steps, config.batch_size, True, config.dropout > 0)
    needed: int = kernel.library.workspace_bytes(sizes, False)
    return 2 * 4 * R * Layout(config, vocabulary_size).size + needed
