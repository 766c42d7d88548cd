"""What moves the parameters of a few replicas: the rule of their optimizer, at the rates of their schedules.

Axes: R replicas, P numbers per replica. Learning rate, clip and weight decay are (R, 1): each replica has its own.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ablate.config.registry import OPTIMIZERS, SCHEDULES
from ablate.config.schema import Config, ScheduleConfig
from ablate.engines.divergence import asks, clip_factors, finite_rows
from ablate.optimizers.optimizer import Optimizer


class Update:
    """The optimizer of `configs`, which differ in per-replica knobs only, with its moments as buffers (R, P).

    `updates` is their number in a whole run, by which schedules are measured; a constant rate needs none. The rate of
    the update to come is `lr`, a tensor of the parameters' device that stays in its place, and as numbers `rates`.
    Raises ValueError for a schedule without `updates`.
    """

    def __init__(self, configs: Sequence[Config], parameters: Tensor, updates: int | None = None) -> None:
        def each(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=parameters.dtype, device=parameters.device).unsqueeze(1)

        if updates is None and any(config.schedule != ScheduleConfig() for config in configs):
            raise ValueError(f"schedule={configs[0].schedule.name} needs the number of updates in a run")
        self.optimizer: Optimizer = OPTIMIZERS[configs[0].optimizer.name]
        self.parameters = parameters
        self.updates = updates or 0
        self.done = 0
        self.schedules, self.of_replica = _distinct([config.schedule for config in configs])
        self.held_out: list[list[float]] = [[] for _ in self.schedules]
        """The held-out perplexities that each schedule follows, if it follows them."""
        self.factors = [1.0] * len(self.schedules)
        self.base_rates = [config.lr for config in configs]
        self.rates = list(self.base_rates)
        self.lr = each(self.rates)
        self.clip, self.bound = (
            each(clips) if min(clips) < math.inf else None
            for clips in ([clip_of(config, by) for config in configs] for by in ("norm", "value"))
        )
        """The largest norm of a gradient, and of a number of it; infinite in replicas that do not clip so."""
        chosen = [self.optimizer.options(config.optimizer) for config in configs]
        self.options = dict(chosen[0])
        for knob in self.optimizer.knobs:
            if knob.per_replica:
                values = [float(options[knob.name]) for options in chosen]
                self.options[knob.name] = each(values) if any(values) else 0.0
        self.descends = all(self.optimizer.descends(options) for options in chosen)
        """Whether an update is parameters −= lr · gradients and no more."""
        like = parameters.shape  # without storage, as in `memory_bytes`, zeros_like would load torch's compiler
        self.moments = {name: parameters.new_zeros(like) for name in self.optimizer.buffers(self.options)}

    def go_on_from(self, done: int) -> None:
        """After so many updates. Raises TypeError or ValueError for what a stored file cannot mean by that."""
        if operator.index(done) < 0:
            raise ValueError(f"{done} updates")
        self.done = done

    def tell(self, replica: int, held_out: Sequence[float]) -> None:
        """The held-out perplexities of a replica after each epoch so far, for a schedule that follows them."""
        self.held_out[self.of_replica[replica]] = list(held_out)

    def _factors(self, done: int) -> list[float]:
        """Of each schedule, when so many updates are done."""
        return [
            schedule.factor(done, self.updates, held_out, **options)
            for (schedule, options), held_out in zip(self.schedules, self.held_out, strict=True)
        ]

    def advance(self) -> None:
        """Count an update, and set the rates at which it is made."""
        factors = self._factors(self.done)
        self.done += 1
        if factors != self.factors:
            self.factors = factors
            self.rates = [lr * factors[k] for lr, k in zip(self.base_rates, self.of_replica, strict=True)]
            self.lr.copy_(self.lr.new_tensor(self.rates).unsqueeze(1))

    def coming(self, count: int) -> list[Tensor]:
        """What the next updates are made at, on the CPU: rates (count, R, 1), and their numbers (count,).

        They count as done.
        """
        factors = [self._factors(self.done + k) for k in range(count)]
        base = torch.tensor(self.base_rates, dtype=torch.float64)
        rates = base * torch.tensor(factors, dtype=torch.float64)[:, self.of_replica]
        numbers = torch.arange(self.done + 1, self.done + count + 1, dtype=torch.float64)
        self.done += count
        self.factors, self.rates = factors[-1], rates[-1].tolist()
        return [rates.to(self.lr.dtype).unsqueeze(2), numbers]

    def __call__(self, grads: Tensor, norms: Tensor | None = None) -> None:
        """Move the parameters by the gradients (R, P), clipped, in place, where their norms (R, 1) are given."""
        self.advance()
        self.move(grads, norms, self.done)

    def move(self, grads: Tensor, norms: Tensor | None, number: int | Tensor) -> None:
        """The same at the rates in `lr`; `number` of the update, from 1, or () of the parameters' device."""
        if self.bound is not None:
            torch.clamp(grads, -self.bound, self.bound, out=grads)
        if self.clip is not None and norms is not None:
            first, scale = clip_factors(norms, self.clip)
            if not asks(norms) or bool((first < 1).any()):
                grads.mul_(first)
            if self.descends:
                self.parameters.addcmul_(grads, self.lr * scale, value=-1)  # both factors in one pass
                return
            grads.mul_(scale)
        self.optimizer(self.parameters, grads, self.moments, self.lr, number, **self.options)

    def finite(self) -> Tensor:
        """Whether each replica's parameters and moments are: (R,)."""
        return torch.stack([finite_rows(rows) for rows in (self.parameters, *self.moments.values())]).all(0)


def clip_of(config: Config, by: str) -> float:
    """What the gradient of a config is clipped at in this way, its `norm` or each `value`; infinity: not at all."""
    return math.inf if config.clip is None or config.clip_by != by else config.clip


def _distinct(chosen: Sequence[ScheduleConfig]) -> tuple[list[tuple[Any, dict[str, Any]]], list[int]]:
    """The different schedules with their options, and which of them each replica has; one that follows the held-out
    perplexity is each replica's own."""
    different: list[tuple[ScheduleConfig, int | None]] = []
    of_replica = []
    for replica, one in enumerate(chosen):
        key = one, replica if SCHEDULES[one.name].reads_held_out else None
        if key not in different:
            different.append(key)
        of_replica.append(different.index(key))
    found = [(SCHEDULES[one.name], one) for one, _ in different]
    return [(schedule, schedule.options(one)) for schedule, one in found], of_replica
