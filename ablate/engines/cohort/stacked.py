"""A cohort of any network: the readable network on stacked parameters, differentiated by autograd.

Axes: R replicas, T steps, B sequences, P numbers per replica. For all that `bptt` does not compute, the
replicas are still one batched program: every operation of the network carries the axis R. All steps of a layer are one
operation, forward and back by the derivative of the cell: that of its native kernel, where it has one.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ablate.cells.derivative import derivative_of, why_underivable
from ablate.config.resolved import Resolved
from ablate.engines.cohort.cuda import choose
from ablate.engines.cohort.native.build import native
from ablate.engines.cohort.native.recurrence import native_recurrence
from ablate.engines.cohort.replicas import Cohort
from ablate.engines.precision import widest
from ablate.networks import scan
from ablate.networks.dropout import Masks
from ablate.networks.families import carries, family, network_of
from ablate.networks.layer import Recurrence
from ablate.networks.network import Network
from ablate.networks.parameters import Sizes, Vocabulary, ends, shapes
from ablate.networks.recurrence import Spare, buffers_in, recurrence
from ablate.networks.targets import Loss, counted, loss_of, losses
from ablate.networks.translator import Translator


class FlatLayout:
    """The named tensors of a replica one after the other in a row (P,) of a buffer (R, P)."""

    def __init__(self, config: Resolved, vocabulary_size: Vocabulary | Sizes) -> None:
        self.config = config
        self.shapes = shapes(config, vocabulary_size)
        self.lengths = [math.prod(shape) for shape in self.shapes.values()]
        self.size = sum(self.lengths)

    def tensors(self, buffer: Tensor) -> dict[str, Tensor]:
        """(R, P) → weights (R, in, out), vectors (R, 1, n), by name: what `Network` takes."""
        parts = torch.split(buffer, self.lengths, dim=1)
        return {
            name: part.view(-1, *((1, *shape) if len(shape) == 1 else shape))
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def named_views(self, buffer: Tensor, replica: int) -> dict[str, Tensor]:
        """The tensors of one replica in their own shapes."""
        parts = torch.split(buffer[replica], self.lengths)
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def stack(
        self, parameters: Sequence[Mapping[str, Tensor]], device: torch.device, configs: Sequence[Resolved] = ()
    ) -> Tensor:
        """The named tensors of each replica → one buffer (R, P). Raises ValueError for those of another network."""
        for replica, tensors in enumerate(parameters):
            if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != self.shapes:
                raise ValueError(f"the parameters of replica {replica} are not those of its config")
        rows = [torch.cat([tensors[name].flatten() for name in self.shapes]) for tensors in parameters]
        return torch.stack(rows).to(device)


class StackedCohort(Cohort):
    """As `Cohort`, for every config.

    Replica k computes the same numbers in any company, bit for bit, where the native kernels take all steps; where
    torch does, if the batch size is a multiple of 32, as in `Cohort`.
    """

    layout: FlatLayout  # type: ignore[assignment]
    takes_any_width = False

    def _laid_out(self, vocabulary_size: Any) -> Any:
        return FlatLayout(self.config, vocabulary_size)

    def _stacks(self) -> int:
        return family(self.config).stacks

    def _network(self, parameters: Tensor) -> Network | Translator:
        tensors = self.layout.tensors(parameters)
        return network_of(self.config)(self.config, self.V, tensors, project=True, recurrence=self._recurrence)

    @cached_property
    def _buffers(self) -> Spare:
        return {}

    @cached_property
    def _recurrence(self) -> Recurrence:
        """What takes the steps of a layer."""
        return recurrence if no_native_layers(self.config, self.parameters.dtype, self.device) else native_recurrence

    def _zero_states(self, B: int) -> list[list[Tensor]]:
        states = self._network(self.parameters).initial_state(len(self), B)
        return [[part.clone() for part in state] for state in states]

    def _backpropagate(self, tokens: Tensor, targets: Tensor, masks: Masks) -> Tensor:
        buffers = buffers_in(self._buffers) if self.silent else nullcontext()
        with torch.inference_mode(False), torch.enable_grad(), buffers:
            leaf = self.parameters.clone().requires_grad_()  # a tensor made under inference_mode cannot be one
            network = self._network(leaf)
            states = [tuple(_plain(part) for part in state) for state in self._states]
            own = {place: _plain(mask) for place, mask in masks.items()}
            logits, after = network(_plain(tokens), states, own)
            targets = _plain(targets)
            means = masked_means(logits, targets, loss_of(self.config))
            (gradients,) = torch.autograd.grad(means.sum(), leaf)  # replicas share nothing: each has its own
        for state, new in zip(self._states, after, strict=True):
            for part, value in zip(state, new, strict=True):
                part.copy_(value.detach())
        self.grads.copy_(gradients)
        return means.detach()

    def _mask_shapes(self, T: int, B: int, config: Resolved) -> list[tuple[int, ...]]:
        if not self.shares:
            return []
        shapes = self._network(self.parameters).mask_shapes(T, B)
        return [shapes[place] for place in self.shares]

    @torch.inference_mode()
    def evaluate(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """As `Cohort.evaluate`; what reads a sequence from both ends, or all of it first, gets it whole."""
        own, real = loss_of(self.config), tokens.is_floating_point()
        if targets.ndim == 2:
            tokens, targets = (x.expand(len(self), *x.shape) for x in (tokens, targets))
        network = self._network(self.parameters)
        whole = not carries(self.config)
        T, B = targets.shape[-2:]
        total = torch.zeros(len(self), dtype=widest(self.device), device=self.device)
        states = network.initial_state(len(self), B)
        read = self.config.num_steps * self.config.batch_size
        length, piece = (B, max(1, read // T)) if whole else (T, max(1, read // B))
        for start in range(0, length, piece):
            at = slice(start, start + piece)
            y = targets[..., at] if whole else targets[..., at, :]
            x = tokens.narrow(-1 - real - (not whole), start, y.shape[-1 if whole else -2])
            if whole:
                states = network.initial_state(len(self), y.shape[-1])
            logits, states = network(x, states)
            total += masked_means(logits, y, own).to(total.dtype) * scored(y)
        return total / scored(targets).clamp(min=1)


def _plain(tensor: Tensor) -> Tensor:
    """One that autograd may keep, which a tensor made under inference_mode is not."""
    return tensor.clone() if tensor.is_inference() else tensor


def no_native_layers(config: Resolved, dtype: torch.dtype, device: torch.device) -> str:
    """Why torch computes the layers; empty where the kernel of the cell does."""
    if device.type != "cpu":
        return "not on the CPU"
    if dtype != torch.float32:
        return "not float32"
    return why_underivable(config) or native(derivative_of(config)).reason


def computed_by(config: Resolved, dtype: torch.dtype, device: torch.device) -> str:
    """What computes a cohort of this config, for the record."""
    if reason := why_underivable(config):
        return f"torch, autograd on stacked parameters (no derivative of the cell: {reason})"
    reason = no_native_layers(config, dtype, device)
    layers = f"torch layers (no native kernel: {reason})" if reason else "native layers"
    if device.type == "cuda":
        layers = f"{choose(derivative_of(config), 1, config.batch_size, config.num_hiddens, dtype, device).name} layers"
    if scan.scans(derivative_of(config), config.num_steps, device):
        layers = "torch layers, all steps scanned at once"
    return f"{layers}, autograd on stacked parameters"


def scored(targets: Tensor) -> Tensor:
    """The number of scored targets of each replica, (R, T, B) → (R,)."""
    return counted(targets).sum((1, 2))


def masked_means(logits: Tensor, targets: Tensor, own: Loss | None) -> Tensor:
    """Logits (R, T, B, V), targets (R, T, B) → mean loss (R,) per scored target, in nats; 0 without any.

    One of a task's own is asked of each replica by itself: it may look at all targets of a minibatch.
    """
    if own is None:
        sums = losses(logits, targets).view(len(targets), -1).sum(1)
    else:
        sums = torch.stack([losses(*each, own).sum() for each in zip(logits, targets, strict=True)])
    return sums / scored(targets).clamp(min=1)


def memory_bytes(config: Resolved, R: int, vocabulary_size: Vocabulary | Sizes) -> int:
    """About the bytes that a cohort of R replicas needs: parameters, gradients, moments, and what autograd keeps.

    Of every step autograd keeps, for each layer and direction, the gates before and after their activation and a few
    tensors of the state's size; of the output layer the logits and their softmax.
    """
    T, B, H = config.num_steps, config.batch_size, config.num_hiddens
    V = sum(vocabulary_size) if isinstance(vocabulary_size, Sizes) else ends(vocabulary_size)[1]
    directions = 2 if config.model.bidirectional else 1
    per_token = config.layers * directions * family(config).stacks * TENSORS_PER_STEP * H + 4 * V
    return 4 * R * (5 * FlatLayout(config, vocabulary_size).size + T * B * per_token)


TENSORS_PER_STEP = 20
"""Tensors (B, H) that autograd keeps of one step of a cell: measured between 8 (rnn) and 20 (lstm with peepholes)."""
