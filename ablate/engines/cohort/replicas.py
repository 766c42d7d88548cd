"""Replicas of one network, stacked and trained as one program; a diverged one freezes and disturbs nobody.

Axes: R replicas, T steps, B sequences, H hidden units, V vocabulary, P numbers per replica.
"""

import math
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved
from ablate.engines.cohort.alike import check_alike
from ablate.engines.cohort.bptt import Program
from ablate.engines.cohort.loops import Loop
from ablate.engines.cohort.padding import fill, padded, pads, part_of
from ablate.engines.cohort.portions import AT_ONCE_BYTES, Portion, Stacked
from ablate.engines.cohort.weights import Layout
from ablate.engines.divergence import ENDED, FINITE, GRADIENT, LOSS, UPDATE, named, norms
from ablate.engines.precision import widest
from ablate.engines.updates import Update
from ablate.networks.dropout import Masks, not_dropped, shares, steps_of
from ablate.networks.parameters import Sizes, Vocabulary, shapes
from ablate.networks.targets import loss_of


class Cohort:
    """R replicas that differ in per-replica fields only, trained minibatch by minibatch from given weights.

    `parameters` holds each replica's named tensors (`ablate.networks.parameters`), which are copied; their dtype is
    that of the computation. `generators` draw each replica's dropout masks, in the same order as the other
    engines do. `updates` are those of a whole run, which schedules are measured by. One cohort is one program for one
    thread; `chunks` says how many replicas to give it.

    Replica k computes the same numbers whatever its neighbours compute, bit for bit; and as in any other number of
    replicas, where the batch size is a multiple of 32 (otherwise to rounding: where torch's vectors end, its
    scalar functions round differently, and where they end depends on R). Under plain descent with a clip that holds
    beside replicas that decay their weights, or do not, as it does: sweeps put no others together.

    On a GPU it is `silent`: whole portions of minibatches are trained on without a question to the device, each by
    the replay of a CUDA graph where `cuda_graphs` (None: as the config says). With `cuda_graphs` on a CPU the same is
    done there, by calls in the place of replays: the same numbers, bit for bit, and slower.

    Replicas may have different numbers of hidden units where `pads` says so: the program is as wide as the widest, and
    what a narrower one computes is the same to rounding.

    Raises ValueError for configs that cannot be one program, or parameters that are not theirs.
    """

    takes_any_width = True
    portion_bytes = AT_ONCE_BYTES
    """How much of minibatches `train` wants to be stacked at once."""

    def __init__(
        self,
        configs: Sequence[Resolved],
        vocabulary_size: Vocabulary | Sizes,
        parameters: Sequence[Mapping[str, Tensor]],
        *,
        device: str | torch.device = "cpu",
        generators: Sequence[Generator] | None = None,
        updates: int | None = None,
        cuda_graphs: bool | None = None,
    ) -> None:
        wide = len({config.num_hiddens for config in configs}) > 1
        check_alike(configs, any_width=wide and self.takes_any_width and all(map(pads, configs)))
        if len(parameters) != len(configs):
            raise ValueError(f"{len(configs)} configs, but parameters for {len(parameters)}")
        self.configs = configs
        self.config = max(configs, key=lambda config: config.num_hiddens)
        each = [shares(config, self._stacks()) for config in configs]
        places = sorted({place for own in each for place in own})
        self.shares = {place: [own.get(place, 0.0) for own in each] for place in places}
        """Place (`ablate.networks.dropout`) → the share that each replica drops there."""
        if places and (generators is None or len(generators) != len(configs)):
            raise ValueError("dropout needs a generator for each replica")
        self.V: Any = vocabulary_size
        self.device = torch.device(device)
        on_gpu = self.device.type != "cpu"
        self.cuda_graphs = (on_gpu and self.config.cuda_graphs) if cuda_graphs is None else cuda_graphs
        self.silent = on_gpu or self.cuda_graphs
        self.takes_portions = self.silent
        """Whether there is `train`, for many minibatches at once."""
        self.generators = generators if places else None
        self.layout = self._laid_out(vocabulary_size)
        with torch.inference_mode():
            self.parameters = self.layout.stack(parameters, self.device, configs)
            self.grads = torch.zeros_like(self.parameters)
            self.update = Update(configs, self.parameters, updates)
            R = len(configs)
            self.alive = torch.ones(R, dtype=torch.bool, device=self.device)
            self.causes = torch.zeros(R, dtype=torch.uint8, device=self.device)  # of divergence, see `CAUSES`
            self.last_losses = torch.zeros(R, dtype=self.parameters.dtype, device=self.device)
            self.remaining = {
                place: self.last_losses.new_tensor([1 - share for share in own]) for place, own in self.shares.items()
            }
        self._all_alive = True
        self._programs: dict[tuple[int, int, bool], Program] = {}
        self._loops: dict[tuple[tuple[int, int], Hashable, bool], Loop] = {}  # (T, B), of which, whether it carries
        self._states: list[list[Tensor]] = []
        self._states_of: dict[int, list[list[Tensor]]] = {}  # number of sequences → the states of so many, in place

    def _laid_out(self, vocabulary_size: Vocabulary | Sizes) -> Layout:
        assert not isinstance(vocabulary_size, Sizes), "a plain stack reads one sequence"
        return Layout(self.config, vocabulary_size)

    def _stacks(self) -> int:
        """How many stacks of layers the network has."""
        return 1

    def __len__(self) -> int:
        return len(self.parameters)

    def divergences(self) -> list[str]:
        """What is not finite in each replica that has diverged, else an empty string."""
        return named(self.causes)

    def tell(self, replica: int, held_out: Sequence[float]) -> None:
        """The held-out perplexities of a replica after each epoch so far, for a schedule that follows them."""
        self.update.tell(replica, held_out)

    @torch.inference_mode()
    def end(self, replicas: Sequence[int]) -> None:
        """These are trained to their end: frozen from now on, as those that diverge."""
        causes = torch.zeros_like(self.causes)
        causes[list(replicas)] = ENDED
        self._freeze(causes)

    @torch.inference_mode()
    def step(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> Tensor:
        """One minibatch: tokens, or numbers (R, T, B, features), and targets (R, T, B) → losses (R,) before the update.

        The loss is the mean cross-entropy in nats per scored token: a target of `UNSCORED` does not count.
        `carry` continues from the states in which the minibatch before ended (of the same B), else from zeros. A
        replica that has diverged (`ablate.engines.divergence`) is not updated any more, and its loss is reported again
        at every later step.
        """
        if self.silent:
            return self.train(Stacked(tokens.unsqueeze(0), targets.unsqueeze(0)), carry=carry)[0]
        T, B = targets.shape[-2:]
        self._start(B, carry)
        losses = self._backpropagate(tokens, targets, self._masks(T, B))
        self.update.advance()
        if self._all_alive:
            lengths = norms(self.grads)
            if bool((losses + lengths.squeeze(1)).isfinite().all()):
                self.update.move(self.grads, lengths, self.update.done)
                self.last_losses.copy_(losses)
                finite = self.update.finite()
                if not bool(finite.all()):
                    self._freeze(torch.where(finite, FINITE, UPDATE))
                return losses.clone()
        self._settle(losses, self.update.done)
        self._all_alive = bool(self.alive.all())
        return self.last_losses.clone()

    @torch.inference_mode()
    def train(
        self, portion: Portion, *, carry: bool, carries: bool = True, between: Callable[[], None] = lambda: None
    ) -> Tensor:
        """As so many `step`s: minibatches (J, R, T, B) → losses (J, R), and no question to the device.

        `carry` is that of the first minibatch, `carries` of those after it. `between` is called now and then, and may
        raise. Only of a cohort that `takes_portions`.
        """
        assert self.silent
        T, B = portion.size
        count = len(portion.parts[0])
        numbers = len(self) * sum(map(math.prod, self._mask_shapes(T, B, self.config)))
        each = numbers + sum(part[0].numel() * part.element_size() for part in portion.parts)
        most = max(1, AT_ONCE_BYTES // each)
        losses = []
        for start in range(0, count, most):
            some = portion.some(start, min(count, start + most))
            self._start(B, carry if start == 0 else carries)
            J = len(some.parts[0])
            tables = [*some.parts, *self._masks_to_come(J, T, B), *self.update.coming(J)]
            losses.append(self._loop(some, tables, carries or count == 1).run(tables, between))
        return torch.cat(losses)

    def _loop(self, portion: Portion, tables: Sequence[Tensor], carries: bool) -> Loop:
        """What trains on minibatches like these: made once, and again for more at once than there were."""
        key = portion.size, portion.kind, carries
        loop = self._loops.get(key)
        if loop is None or loop.capacity < len(tables[0]):
            states, own = self._states, weakref.proxy(self)  # no circle: what is on the device goes with the last user
            read, count = portion.read(), len(portion.parts)

            def minibatch(rows: Sequence[Tensor]) -> Tensor:
                *masks, rate, number = rows[count:]
                tokens, targets = read(rows[:count])
                losses: Tensor = own._minibatch(tokens, targets, masks, rate, number, states, carries)
                return losses

            losses = self.last_losses.expand(len(tables[0]), -1)
            loop = self._loops[key] = Loop(minibatch, tables, losses, self.device, self.cuda_graphs and not self._asks)
        return loop

    def _minibatch(
        self,
        tokens: Tensor,
        targets: Tensor,
        kept: Sequence[Tensor],
        rate: Tensor,
        number: Tensor,
        states: list[list[Tensor]],
        carries: bool,
    ) -> Tensor:
        """A step in tensors that stay in their places; `kept` are the dropout masks as truth values."""
        if not carries:
            for state in states:
                for part in state:
                    part.zero_()
        losses = self._backpropagate(tokens, targets, self._masks_of(kept))
        self.update.lr.copy_(rate)
        self._settle(losses, number)
        return self.last_losses

    @property
    def _asks(self) -> bool:
        """Whether a minibatch has to ask the device: a loss of the task's own is computed of what is scored alone."""
        return loss_of(self.config) is not None

    @property
    def graphs(self) -> str:
        """How the minibatches of a silent cohort were computed, for the record."""
        if not self.cuda_graphs:
            return "off"
        if self._asks:
            return "off: the task has a loss of its own"
        failures = [loop.replay.failure for loop in self._loops.values() if loop.replay.failure]
        return f"failed: {failures[0]}" if failures else "on"

    def _settle(self, losses: Tensor, number: int | Tensor) -> None:
        """Update those alive by the gradients there are, and end those of which something is not finite: in place."""
        lengths = norms(self.grads)
        self.last_losses.copy_(torch.where(self.alive, losses, self.last_losses))
        causes = torch.where(lengths.squeeze(1).isfinite(), FINITE, GRADIENT)
        self._freeze(torch.where(losses.isfinite(), causes, LOSS))
        before = self.parameters.clone()
        self.update.move(self.grads, lengths, number)
        self.parameters.copy_(torch.where(self.alive.unsqueeze(1), self.parameters, before))
        self._freeze(torch.where(self.update.finite(), FINITE, UPDATE))

    def _freeze(self, causes: Tensor) -> None:
        """End those replicas still alive for which there is a cause (R,)."""
        self.causes.copy_(torch.where(self.alive, causes.to(self.causes.dtype), self.causes))
        torch.eq(self.causes, FINITE, out=self.alive)
        self._all_alive = False  # or so: who may ask finds out

    @torch.inference_mode()
    def gradients(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> list[dict[str, Tensor]]:
        """As `step`, states included, but without the update: each replica's unclipped gradients, by name."""
        T, B = targets.shape[-2:]
        self._start(B, carry)
        self._backpropagate(tokens, targets, self._masks(T, B))
        return [_plain(self._named(self.grads, k)) for k in range(len(self))]

    def _named(self, buffer: Tensor, k: int) -> dict[str, Tensor]:
        """The tensors of one replica in their own shapes, views where it is as wide as the program."""
        views = self.layout.named_views(buffer, k)
        config, H = self.configs[k], self.config.num_hiddens
        if config.num_hiddens == H:
            return views
        own = shapes(config, self.V)
        return {name: part_of(view, own[name], H).reshape(own[name]) for name, view in views.items()}

    def _backpropagate(self, tokens: Tensor, targets: Tensor, masks: Masks) -> Tensor:
        """Losses (R,), from the states, which move on in place; the gradients are in `grads`."""
        _, T, B = targets.shape
        program = self._program(T, B, training=True)
        losses = program.losses(tokens, targets, self._states, masks)
        program.backward()
        return losses

    def _start(self, B: int, carry: bool) -> None:
        """The states, in place: those of the minibatch before, or zeros."""
        sequences = self._states[0][0].shape[1] if self._states else None
        if carry and sequences not in (None, B):
            raise ValueError(f"carried states have {sequences} sequences, tokens {B}")
        if sequences != B:
            if B not in self._states_of:
                self._states_of[B] = self._zero_states(B)
            self._states = self._states_of[B]
        if not carry:
            for state in self._states:
                for part in state:
                    part.zero_()

    def _program(self, T: int, B: int, training: bool) -> Program:
        key = (T, B, training)
        if key not in self._programs:
            stale = [k for k in self._programs if k[2] == training]
            for k in stale[:-1]:  # the size before may come again: the last piece of a text
                del self._programs[k]
                if training:  # a graph that was recorded would write to where its buffers were
                    self._loops = {of: loop for of, loop in self._loops.items() if of[0] != k[:2]}
            grads = self.grads if training else None
            self._programs[key] = Program(self.layout, self.parameters, grads, T, B, self.V)
        return self._programs[key]

    def _zero_states(self, B: int) -> list[list[Tensor]]:
        parts, H = len(self.layout.derived.states), self.config.num_hiddens
        return [[self.parameters.new_zeros(len(self), B, H) for _ in range(parts)] for _ in range(self.config.layers)]

    def _mask_shapes(self, T: int, B: int, config: Resolved) -> list[tuple[int, ...]]:
        """Of a replica's dropout masks, for each place of `shares`."""
        return [(steps_of(config, T), B, config.num_hiddens)] * len(self.shares)

    def _drawn(self, T: int, B: int, k: int) -> list[Tensor]:
        """What a replica does not drop in one minibatch, for each place of `shares`."""
        assert self.generators is not None
        shapes = self._mask_shapes(T, B, self.configs[k])
        return [
            not_dropped(shape, share[k], self.generators[k])
            for shape, share in zip(shapes, self.shares.values(), strict=True)
        ]

    def _masks_to_come(self, count: int, T: int, B: int) -> list[Tensor]:
        """What is kept in the masks of so many minibatches, (count, R, T, B, H) each (of T = 1 where one is for all
        steps), from each replica's generator."""
        if self.generators is None:
            return []
        widest = [shape[-1] for shape in self._mask_shapes(T, B, self.config)]
        each = [[self._drawn(T, B, k) for _ in range(count)] for k in range(len(self))]
        return [
            torch.stack([torch.stack([padded(own[j][layer], widest[layer]) for own in each]) for j in range(count)])
            for layer in range(len(widest))
        ]

    def _masks(self, T: int, B: int) -> Masks:
        """Dropout masks (R, T, B, H) by their places."""
        return self._masks_of([table[0].to(self.device) for table in self._masks_to_come(1, T, B)])

    def _masks_of(self, kept: Sequence[Tensor]) -> Masks:
        """Zeros for what is dropped, of the rest what makes up for it."""
        return {
            place: own.to(remaining.dtype) / remaining.view(-1, *[1] * (own.ndim - 1))
            for (place, remaining), own in zip(self.remaining.items(), kept, strict=True)
        }

    @torch.inference_mode()
    def evaluate(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy (R,) in nats per scored token, in `widest`, from a zero state, without dropout or update.

        Tokens, or numbers (T, B, features), and targets: (T, B) for all replicas, or (R, T, B). A long text is read in
        pieces of the size of a training minibatch, the state carried from piece to piece.
        """
        if targets.ndim == 2:
            tokens, targets = (x.expand(len(self), *x.shape) for x in (tokens, targets))
        _, T, B = targets.shape
        piece = max(1, self.config.num_steps * self.config.batch_size // B)
        states = self._zero_states(B)
        total = torch.zeros(len(self), dtype=widest(self.device), device=self.device)
        for start in range(0, T, piece):
            x, y = tokens[:, start : start + piece], targets[:, start : start + piece]
            total += self._held_out(x, y, states).to(total.dtype) * _scored(y)
        return total / _scored(targets).clamp(min=1)

    def _held_out(self, tokens: Tensor, targets: Tensor, states: list[list[Tensor]]) -> Tensor:
        """Losses (R,) of (R, T, B), from states that are moved on in place."""
        _, T, B = targets.shape
        return self._program(T, B, training=False).losses(tokens, targets, states)

    def named_tensors(self, replica: int) -> dict[str, Tensor]:
        """Copies of one replica's parameters under the names of `ablate.networks.parameters`."""
        return _plain(self._named(self.parameters, replica))

    def _narrow(self, buffer: Tensor, k: int) -> Tensor:
        """A replica's row of (R, P) as it would be in a program of its own width: (P,)."""
        if self.configs[k].num_hiddens == self.config.num_hiddens:
            return buffer[k]
        layout = Layout(self.configs[k], self.V)
        row = buffer.new_zeros(1, layout.size)
        own = self._named(buffer, k)
        for name, view in layout.named_views(row, 0).items():
            view.copy_(own[name])
        return row[0]

    def _widen(self, buffer: Tensor, k: int, row: Tensor) -> None:
        """Put what `_narrow` gave back."""
        if self.configs[k].num_hiddens == self.config.num_hiddens:
            buffer[k].copy_(row)
            return
        own = Layout(self.configs[k], self.V).named_views(row.unsqueeze(0), 0)
        for name, view in self.layout.named_views(buffer, k).items():
            fill(view, own[name].to(buffer.device), self.config.num_hiddens)

    def replica_states(self) -> list[dict[str, Any]]:
        """For each replica, copies of everything that the rest of its trajectory depends on, on the CPU."""
        return [
            {
                "parameters": _saved(self._narrow(self.parameters, k)),
                "moments": {name: _saved(self._narrow(moment, k)) for name, moment in self.update.moments.items()},
                "updates": self.update.done,
                "states": [
                    [_saved(part[k, ..., : self.configs[k].num_hiddens]) for part in state] for state in self._states
                ],
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
        kinds = [(s["parameters"].numel(), tuple(s["moments"]), s["updates"]) for s in saved]
        sizes = [self._narrow(self.parameters, k).numel() for k in range(len(self))]
        if kinds != [(size, tuple(self.update.moments), saved[0]["updates"]) for size in sizes]:
            raise ValueError("the checkpoint is that of other replicas: their number, sizes, optimizer or updates")
        for k, s in enumerate(saved):
            self._widen(self.parameters, k, s["parameters"])
            for name, moment in self.update.moments.items():
                self._widen(moment, k, s["moments"][name])
        self.update.go_on_from(saved[0]["updates"])
        layers = zip(*(s["states"] for s in saved), strict=True)
        H = self.config.num_hiddens
        self._states = [
            [torch.stack([padded(own, H) for own in part]).to(self.device) for part in zip(*layer, strict=True)]
            for layer in layers
        ]
        self._states_of = {self._states[0][0].shape[1]: self._states} if self._states else {}
        self._loops = {}
        causes = [s.get("cause", FINITE if s["alive"] else LOSS) for s in saved]  # older ones knew of losses only
        self.causes.copy_(self.causes.new_tensor(causes))
        torch.eq(self.causes, FINITE, out=self.alive)
        self.last_losses.copy_(self.last_losses.new_tensor([s["last_loss"] for s in saved]))
        self._all_alive = not any(causes)
        for generator, s in zip(self.generators or (), saved, strict=False):
            generator.set_state(s["generator"])


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
