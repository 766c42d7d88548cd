"""Whether an optimizer, or a schedule, is one that replicas can be trained with. Axes: R replicas, P numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from ablate.config.registry import OPTIMIZERS, SCHEDULES, Knob
from ablate.config.schema import Config, OptimizerConfig, ScheduleConfig
from ablate.engines.updates import Update
from ablate.optimizers.optimizer import Optimizer
from ablate.optimizers.schedule import Schedule

P, ZEROS, UPDATES = 64, 8, 12
"""Numbers of a replica, those at its end that belong to nothing and are zero, and updates."""

SAME = 1e-9
"""Sums over more or fewer numbers differ by less, relatively, by their rounding."""


@dataclass
class Trial:
    """Replicas that go down a quadratic each, ½ Σ a · parameters² with a from 0.1 to 1."""

    optimizer: Optimizer
    rates: Sequence[float]
    options: Sequence[Mapping[str, Any]]
    starts: Sequence[int]
    zeros: int = ZEROS
    """At the end of a row."""
    update: Update = field(init=False)

    def __post_init__(self) -> None:
        configs = []
        for lr, options in zip(self.rates, self.options, strict=True):
            optimizer = OptimizerConfig.of({"name": self.optimizer.name, "lr": lr, **options}, given=True)
            configs.append(Config(optimizer=optimizer, lr=lr, clip=None))
        rows = [torch.randn(P, generator=Generator().manual_seed(k), dtype=torch.float64) for k in self.starts]
        there = P - ZEROS
        parameters = torch.zeros(len(rows), there + self.zeros, dtype=torch.float64)
        parameters[:, :there] = torch.stack(rows)[:, :there]
        self.update = Update(configs, parameters)
        self.slopes = torch.linspace(0.1, 1, P, dtype=torch.float64)[: there + self.zeros]

    def step(self, spoilt: int | None = None) -> Tensor:
        """The losses (R,) before an update; the gradient of the replica `spoilt` is not a number."""
        parameters = self.update.parameters
        losses: Tensor = (self.slopes * parameters.square()).sum(1) / 2
        gradients = self.slopes * parameters
        if spoilt is not None:
            gradients[spoilt] = math.nan
        self.update(gradients)
        return losses

    def run(self, updates: int = UPDATES, spoilt: int | None = None) -> list[Tensor]:
        return [self.step(spoilt) for _ in range(updates)]


def _usual(optimizer: Optimizer) -> dict[str, Any]:
    return {knob.name: knob.default for knob in optimizer.knobs}


def check_optimizer(optimizer: Optimizer | str | Callable[..., None]) -> None:
    """Check a registered optimizer, which is given as itself, by its name or by its function.

    It is checked in float64, on quadratic functions. The loss has to fall at the default learning rate, which must not
    be changed; parameters and states stay finite; a replica computes the same alone as beside others, whatever learning
    rate and per-replica knobs they have, and even if one of them is not a number; resumed from its saved states, it
    gives the same bits; numbers that belong to no parameter stay zero and change nothing. Raises an AssertionError that
    says what differs.
    """
    found = _registered(OPTIMIZERS, optimizer, "rule")
    name, usual = found.name, _usual(found)

    lone = Trial(found, [found.lr], [usual], [0])
    before = lone.update.parameters.clone()
    losses = lone.step()
    not_finite = f"{name} makes numbers that are not finite, at its own lr={found.lr:g}"
    assert bool(lone.update.finite()), not_finite
    assert not bool(lone.update.parameters[:, P - ZEROS :].any()), (
        f"{name} moves numbers that are zero and whose gradients are zero"
    )
    losses = torch.cat([losses, *lone.run(300)])
    assert bool(lone.update.finite()), not_finite
    moved = lone.update.parameters
    assert not torch.equal(before, moved), f"{name} moves nothing: a rule changes parameters in place, as by sub_"
    assert lone.update.lr.tolist() == [[found.lr]], f"{name} changes its learning rate: lr is only to be read"
    assert losses[-1] < losses[0], (
        f"{name} does not go down a quadratic at its own lr={found.lr:g}: from {losses[0]:.4g} to {losses[-1]:.4g}"
    )

    rates = [found.lr * scale for scale in (1.0, 0.3, 0.1)]
    options = [usual | {knob.name: _other(knob, k) for knob in found.knobs if knob.per_replica} for k in range(3)]
    company = Trial(found, rates, options, range(3))
    company.run()
    for k in range(3):
        alone = Trial(found, rates[k : k + 1], options[k : k + 1], [k])
        alone.run()
        assert torch.equal(alone.update.parameters[0], company.update.parameters[k]), (
            f"{name} moves a replica otherwise in company than alone, by up to "
            f"{_apart(alone.update.parameters[0], company.update.parameters[k]):.2g}: "
            "compute each row by itself, along axis 1, and keep nothing outside the moments"
        )
    shorter = Trial(found, rates, options, range(3), zeros=0)
    shorter.run()
    numbers = company.update.parameters[:, : P - ZEROS]
    assert torch.allclose(shorter.update.parameters, numbers, rtol=SAME, atol=SAME), (
        f"{name} moves parameters otherwise where zeros that belong to nothing stand behind them, by up to "
        f"{_apart(shorter.update.parameters, numbers):.2g}: a mean over a row, or its length, counts those; take a sum"
    )
    spoilt = Trial(found, rates, options, range(3))
    spoilt.run(spoilt=1)
    for k in (0, 2):
        assert torch.equal(spoilt.update.parameters[k], company.update.parameters[k]), (
            f"{name} lets a replica whose gradient is not a number disturb another one"
        )

    first = Trial(found, rates, options, range(3))
    first.run(UPDATES // 2)
    second = Trial(found, rates, options, range(3))
    second.update.parameters.copy_(first.update.parameters)
    for moment, tensor in second.update.moments.items():
        tensor.copy_(first.update.moments[moment])
    second.update.done = first.update.done
    second.run(UPDATES - UPDATES // 2)
    assert torch.equal(second.update.parameters, company.update.parameters), (
        f"{name} does not go on from its saved moments {list(first.update.moments)}, by up to "
        f"{_apart(second.update.parameters, company.update.parameters):.2g}: "
        "what an update needs of the ones before is a moment, a positional parameter of the rule"
    )


def check_schedule(schedule: Schedule | str | Callable[..., float], total: int = 1000) -> None:
    """Check a registered schedule, which is given as itself, by its name or by its function.

    For runs of one update, of a few and of `total`, every factor has to be a finite number from 0 up, not 0 throughout,
    and the same when it is computed again. Raises an AssertionError or ConfigError that says what differs.
    """
    found = _registered(SCHEDULES, schedule, "function")
    options = found.options(ScheduleConfig.of({"name": found.name}, given=True))
    for length in (1, 7, total):
        factors = [found.factor(step, length, **options) for step in range(length)]
        assert any(factors), f"{found.name} is 0 throughout a run of {length} updates"
        again = [found.factor(step, length, **options) for step in reversed(range(length))][::-1]
        assert factors == again, f"{found.name} gives another factor when it is asked again: it may only depend on step"


def _registered(registry: Any, thing: Any, function: str) -> Any:
    if isinstance(thing, str):
        return registry[thing]
    found = next((one for one in registry if thing is one or thing is getattr(one, function)), None)
    assert found is not None, f"{thing!r} is no {registry.kind} that is registered"
    return found


def _other(knob: Knob, k: int) -> Any:
    """A value of a knob for replica k: its default, or near to it."""
    return knob.default if k == 0 else 0.01 * k if knob.default == 0 else knob.default / (1 + k)


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
