"""Replicas of one network, stacked and trained as one program; a diverged one freezes and disturbs nobody.

Axes: R replicas, T steps, B sequences, H hidden units, V vocabulary, P numbers per replica.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Generator, Tensor

from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved
from ablate.config.schema import Part
from ablate.engines.cohort.bptt import Program
from ablate.engines.cohort.graphs import Replay
from ablate.engines.cohort.weights import Layout
from ablate.engines.divergence import CAUSES, FINITE, GRADIENT, LOSS, UPDATE, norms
from ablate.engines.precision import widest
from ablate.engines.updates import Update
from ablate.networks.language_model import dropout_mask
from ablate.networks.parameters import Sizes, Vocabulary

READ = (
    "model",
    "num_hiddens",
    "layers",
    "dropout",
    "reset",
    "bias_vectors",
    "optimizer",
    "lr",
    "schedule",
    "clip",
    "precision",
    "seed",
)
"""The fields that a cohort computes from; of these, replicas may differ in those marked `per_replica`."""


class Cohort:
    """R replicas that differ in per-replica fields only, trained minibatch by minibatch from given weights.

    `parameters` holds each replica's named tensors (`ablate.networks.parameters`), which are copied; their dtype is
    that of the computation. `generators` draw each replica's dropout masks, in the same order as the other
    engines do. `updates` are those of a whole run, which schedules are measured by. One cohort is one program for one
    thread; `chunks` says how many replicas to give it.

    Replica k computes the same numbers whatever its neighbours compute, bit for bit; and as in any other number of
    replicas, where the batch size is a multiple of 32 (otherwise to rounding: where torch's vectors end, its
    scalar functions round differently, and where they end depends on R).

    Raises ValueError for configs that cannot be one program, or parameters that are not theirs.
    """

    def __init__(
        self,
        configs: Sequence[Resolved],
        vocabulary_size: Vocabulary | Sizes,
        parameters: Sequence[Mapping[str, Tensor]],
        *,
        device: str | torch.device = "cpu",
        generators: Sequence[Generator] | None = None,
        updates: int | None = None,
        cuda_graphs: bool = False,
    ) -> None:
        check_alike(configs)
        if len(parameters) != len(configs):
            raise ValueError(f"{len(configs)} configs, but parameters for {len(parameters)}")
        self.config = configs[0]
        if self.config.dropout > 0 and (generators is None or len(generators) != len(configs)):
            raise ValueError("dropout needs a generator for each replica")
        self.V: Any = vocabulary_size
        self.device = torch.device(device)
        if cuda_graphs and self.device.type != "cuda":
            raise ValueError(f"cuda_graphs needs a CUDA device, not {self.device}")
        self.cuda_graphs = cuda_graphs
        self.generators = generators if self.config.dropout > 0 else None
        self.layout = self._laid_out(vocabulary_size)
        with torch.inference_mode():
            self.parameters = self.layout.stack(parameters, self.device)
            self.grads = torch.zeros_like(self.parameters)
            self.update = Update(configs, self.parameters, updates)
            R = len(configs)
            self.alive = torch.ones(R, dtype=torch.bool, device=self.device)
            self.causes = torch.zeros(R, dtype=torch.uint8, device=self.device)  # of divergence, see `CAUSES`
            self.last_losses = torch.zeros(R, dtype=self.parameters.dtype, device=self.device)
        self._all_alive = True
        self._programs: dict[tuple[int, int, bool], Program] = {}
        self._replays: dict[Program, Replay] = {}
        self._states: list[list[Tensor]] = []

    def _laid_out(self, vocabulary_size: Vocabulary | Sizes) -> Layout:
        assert isinstance(vocabulary_size, int), "a plain stack reads and writes one vocabulary"
        return Layout(self.config, vocabulary_size)

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def frozen(self) -> list[bool]:
        """Which replicas have diverged."""
        return [not alive for alive in self.alive.tolist()]

    def divergences(self) -> list[str]:
        """What is not finite in each replica that has diverged, else an empty string."""
        return [CAUSES[cause] for cause in self.causes.tolist()]

    @torch.inference_mode()
    def step(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> Tensor:
        """One minibatch: tokens and targets (R, T, B) → each replica's loss (R,) before its update.

        The loss is the mean cross-entropy in nats per scored token: a target of `UNSCORED` does not count.
        `carry` continues from the states in which the minibatch before ended (of the same B), else from zeros. A
        replica that has diverged (`ablate.engines.divergence`) is not updated any more, and its loss is reported again
        at every later step.
        """
        losses = self._backpropagate(tokens, targets, carry)
        lengths = norms(self.grads)
        if self._all_alive and self.device.type == "cpu" and bool((losses + lengths.squeeze(1)).isfinite().all()):
            self.update(self.grads, lengths)
            finite = self.update.finite()
            if not bool(finite.all()):
                self.last_losses = losses
                self._freeze(torch.where(finite, FINITE, UPDATE))
            return losses.clone()
        self.last_losses = torch.where(self.alive, losses, self.last_losses)
        causes = torch.where(lengths.squeeze(1).isfinite(), FINITE, GRADIENT)
        self._freeze(torch.where(losses.isfinite(), causes, LOSS))
        before = self.parameters.clone()
        self.update(self.grads, lengths)
        self.parameters.copy_(torch.where(self.alive.unsqueeze(1), self.parameters, before))
        self._freeze(torch.where(self.update.finite(), FINITE, UPDATE))
        return self.last_losses.clone()

    def _freeze(self, causes: Tensor) -> None:
        """End those replicas still alive for which there is a cause (R,)."""
        self.causes = torch.where(self.alive, causes.to(self.causes.dtype), self.causes)
        self.alive = self.causes == FINITE
        # Where asking costs a synchronisation, never ask.
        self._all_alive = self.device.type != "cpu" or bool(self.alive.all())

    @torch.inference_mode()
    def gradients(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> list[dict[str, Tensor]]:
        """As `step`, states included, but without the update: each replica's unclipped gradients, by name."""
        self._backpropagate(tokens, targets, carry)
        return [_plain(self.layout.named_views(self.grads, k)) for k in range(len(self))]

    def _backpropagate(self, tokens: Tensor, targets: Tensor, carry: bool) -> Tensor:
        _, T, B = tokens.shape
        self._start(B, carry)
        program, masks = self._program(T, B, training=True), self._masks(T, B)
        if self.cuda_graphs:
            if program not in self._replays:
                self._replays = {program: Replay(program, tokens, targets, self._states, masks)}
            return self._replays[program](tokens, targets, masks)
        losses = program.losses(tokens, targets, self._states, masks)
        program.backward()
        return losses

    def _start(self, B: int, carry: bool) -> None:
        """The states, in place where there are any: those of the minibatch before, or zeros."""
        sequences = self._states[0][0].shape[1] if self._states else None
        if carry and sequences not in (None, B):
            raise ValueError(f"carried states have {sequences} sequences, tokens {B}")
        if sequences != B:
            self._states = self._zero_states(B)
            self._replays = {}
        elif not carry:
            for state in self._states:
                for part in state:
                    part.zero_()

    def _program(self, T: int, B: int, training: bool) -> Program:
        key = (T, B, training)
        if key not in self._programs:
            stale = [k for k in self._programs if k[2] == training]
            for k in stale[:-1]:  # the size before may come again: the last piece of a text
                del self._programs[k]
            grads = self.grads if training else None
            self._programs[key] = Program(self.layout, self.parameters, grads, T, B, self.V)
        return self._programs[key]

    def _zero_states(self, B: int) -> list[list[Tensor]]:
        parts, H = len(self.layout.derived.states), self.config.num_hiddens
        return [[self.parameters.new_zeros(len(self), B, H) for _ in range(parts)] for _ in range(self.config.layers)]

    def _masks(self, T: int, B: int) -> list[Tensor]:
        """Dropout masks (R, T, B, H) below each layer but the first, from each replica's own generator."""
        share, H = self.config.dropout, self.config.num_hiddens
        if share == 0 or self.generators is None:
            return []
        dtype = self.parameters.dtype
        drawn = [
            [dropout_mask((T, B, H), share, generator, dtype) for _ in range(self.config.layers - 1)]
            for generator in self.generators
        ]
        return [torch.stack(masks).to(self.device) for masks in zip(*drawn, strict=True)]

    @torch.inference_mode()
    def evaluate(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy (R,) in nats per scored token, in `widest`, from a zero state, without dropout or update.

        Tokens and targets: (T, B) for all replicas, or (R, T, B). A long text is read in pieces of the size of
        a training minibatch, the state carried from piece to piece.
        """
        if tokens.ndim == 2:
            tokens, targets = (x.expand(len(self), *x.shape) for x in (tokens, targets))
        _, T, B = tokens.shape
        piece = max(1, self.config.num_steps * self.config.batch_size // B)
        states = self._zero_states(B)
        total = torch.zeros(len(self), dtype=widest(self.device), device=self.device)
        for start in range(0, T, piece):
            x, y = tokens[:, start : start + piece], targets[:, start : start + piece]
            total += self._held_out(x, y, states).to(total.dtype) * _scored(y)
        return total / _scored(targets).clamp(min=1)

    def _held_out(self, tokens: Tensor, targets: Tensor, states: list[list[Tensor]]) -> Tensor:
        """Losses (R,) of (R, T, B), from states that are moved on in place."""
        _, T, B = tokens.shape
        return self._program(T, B, training=False).losses(tokens, targets, states)

    def named_tensors(self, replica: int) -> dict[str, Tensor]:
        """Copies of one replica's parameters under the names of `ablate.networks.parameters`."""
        return _plain(self.layout.named_views(self.parameters, replica))

    def replica_states(self) -> list[dict[str, Any]]:
        """For each replica, copies of everything that the rest of its trajectory depends on, on the CPU."""
        return [
            {
                "parameters": _saved(self.parameters[k]),
                "moments": {name: _saved(moment[k]) for name, moment in self.update.moments.items()},
                "updates": self.update.done,
                "states": [[_saved(part[k]) for part in state] for state in self._states],
                "alive": bool(self.alive[k]),
                "cause": int(self.causes[k]),
                "last_loss": float(self.last_losses[k]),
                "generator": self.generators[k].get_state() if self.generators else None,
            }
            for k in range(len(self))
        ]

    @torch.inference_mode()
    def load_replica_states(self, saved: Sequence[Mapping[str, Any]]) -> None:
        """Go on from what `replica_states` returned, of these replicas in any cohort.

        Raises ValueError for those of other networks or optimizers, or saved after unequal numbers of updates.
        """
        kinds = {(s["parameters"].shape, tuple(s["moments"]), s["updates"]) for s in saved}
        own = {(self.parameters[0].shape, tuple(self.update.moments), s["updates"]) for s in saved[:1]}
        if len(saved) != len(self) or kinds != own:
            raise ValueError("the checkpoint is that of other replicas: their number, sizes, optimizer or updates")
        self.parameters.copy_(torch.stack([s["parameters"] for s in saved]))
        for name, moment in self.update.moments.items():
            moment.copy_(torch.stack([s["moments"][name] for s in saved]))
        self.update.done = saved[0]["updates"]
        layers = zip(*(s["states"] for s in saved), strict=True)
        self._states = [[torch.stack(part).to(self.device) for part in zip(*layer, strict=True)] for layer in layers]
        causes = [s.get("cause", FINITE if s["alive"] else LOSS) for s in saved]  # older ones knew of losses only
        self.causes = self.causes.new_tensor(causes)
        self.alive = self.causes == FINITE
        self.last_losses = self.last_losses.new_tensor([s["last_loss"] for s in saved])
        self._replays = {}
        self._all_alive = self.device.type != "cpu" or bool(self.alive.all())
        for generator, s in zip(self.generators or (), saved, strict=False):
            generator.set_state(s["generator"])


def check_alike(configs: Sequence[Resolved]) -> None:
    """Raise ValueError unless the configs differ, of what a cohort reads, in per-replica fields only."""
    if not configs:
        raise ValueError("a cohort needs a replica")
    first, *others = configs
    for f in fields(first):
        if f.name not in READ or f.metadata.get("per_replica"):
            continue
        for other in others:
            ours, theirs = getattr(first, f.name), getattr(other, f.name)
            if isinstance(ours, Part):
                ours, theirs = _shared(ours), _shared(theirs)
            if ours != theirs:
                raise ValueError(f"replicas of one cohort must agree in {f.name}: {ours} and {theirs}")


def _shared(part: Part) -> dict[str, Any]:
    """The knobs of a part that one program has once: neither those of each replica nor such as decide nothing."""
    each = {knob.name for knob in part.own_knobs if knob.per_replica or not knob.decides}
    each |= {f.name for f in fields(cast(Any, part)) if not f.metadata.get("identity", True)}
    return {name: value for name, value in part.values().items() if name not in each}


def prepare_thread() -> None:
    """Call first in each thread that trains cohorts: one thread for torch's own loops, denormals are zero."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@contextmanager
def training_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads prepared to train in; afterwards torch has for threads to come the number of cores that it had before."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=prepare_thread) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def _scored(targets: Tensor) -> Tensor:
    """How many of each replica's targets (R, T, B) count: (R,)."""
    return (targets != UNSCORED).sum((1, 2))


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that autograd may use, which a tensor made under inference_mode is not."""
    with torch.inference_mode(False):
        return {name: tensor.clone() for name, tensor in tensors.items()}


def _saved(tensor: Tensor) -> Tensor:
    with torch.inference_mode(False):
        return tensor.detach().cpu().clone()
