"""An optimizer: its update rule, its knobs, the learning rate to begin with, and where it comes from.

Axes: R replicas, P numbers per replica. A rule is a function that moves the parameters of all replicas at once:

    @ablate.optimizer(lr=0.1, source="Polyak 1964")
    def heavy_ball(parameters, gradients, velocity, *, lr, momentum=0.9):
        velocity.mul_(momentum).add_(gradients)
        parameters.sub_(lr * velocity)

`parameters` and `gradients` are (R, P); what follows them are moments (R, P), zeros at first, which are saved with a
run; all may be changed in place. Behind the star stand `lr` (R, 1), each replica's own, after its schedule; `step` if
the rule asks for it, the number of this update from 1 (on a GPU as a tensor () of float64); and the rule's own knobs
with their defaults. A knob that is declared `per_replica` comes as (R, 1), or as 0.0 where it is 0 in all of them.

Numbers of a row beyond those of the network are zero, and so are their gradients: a rule leaves them zero. How many
there are is the engine's business: a rule takes sums and norms of a row, not means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.config.errors import ConfigError, check_function, counted
from ablate.config.registry import OPTIMIZERS, Knob
from ablate.optimizers.signature import knobs_of, line_of, positional, summary_of, where

if TYPE_CHECKING:
    from torch import Tensor

Rule = Callable[..., None]

GIVEN = ("lr", "step")
"""Keyword parameters of a rule that are no knobs of its own."""


@dataclass(frozen=True)
class Optimizer:
    """An update rule and what is to be known of it."""

    name: str
    rule: Rule
    lr: float
    """The learning rate where nobody chooses one."""
    moments: tuple[str, ...] = ()
    knobs: tuple[Knob, ...] = ()
    counts: bool = False
    """Whether the rule asks for the number of the update, `step`."""
    summary: str = ""
    source: str = ""
    """The paper, and which version of it."""
    needless: Callable[[dict[str, Any]], tuple[str, ...]] = lambda options: ()
    """The moments that the rule does not need under these options, and then is not given."""
    is_descent: bool = False
    """Whether the rule, with all its knobs at their defaults, is parameters −= lr · gradients and no more."""

    def options(self, chosen: Any) -> dict[str, Any]:
        """The values of its knobs in a config's `optimizer`; the default where a stored one is older than the knob."""
        return {knob.name: getattr(chosen, knob.name, knob.default) for knob in self.knobs}

    def check(self, chosen: Any) -> None:
        """Raise ConfigError for a user's rule that moves nothing: asked when it is chosen, before anything trains."""
        if self.name in OPTIMIZERS.origin and self.rule not in _MOVE:
            if not _moves(self):
                raise ConfigError(
                    f"optimizer={self.name} moves nothing: {where(self.rule)} leaves its parameters as they are, and "
                    "what it returns is not read; change them in place, as in parameters.sub_(lr * gradients)"
                )
            _MOVE.add(self.rule)

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]:
        """The names of the moments that the rule keeps under these options."""
        needless = self.needless(options)
        return tuple(name for name in self.moments if name not in needless)

    def descends(self, options: dict[str, Any]) -> bool:
        """Whether an update under these options is parameters −= lr · gradients and no more."""
        return self.is_descent and all(options[knob.name] == knob.default for knob in self.knobs)

    def __call__(
        self,
        parameters: Tensor,
        gradients: Tensor,
        moments: dict[str, Tensor],
        lr: Tensor,
        step: int | Tensor,
        **options: Any,
    ) -> None:
        """Move parameters (R, P) by gradients (R, P), both in place, at lr (R, 1).

        Raises ConfigError, with file and line, for an error in the rule of a user.
        """
        try:
            if self.counts:
                options["step"] = step
            self.rule(parameters, gradients, *map(moments.get, self.moments), lr=lr, **options)
        except Exception as error:
            if self.name not in OPTIMIZERS.origin:
                raise
            raise ConfigError(f"optimizer={self.name} fails: {line_of(error, self.rule)}: {error}") from error


_MOVE: set[Rule] = set()
"""The rules that have been seen to move something."""

UPDATES = 10
"""So many are tried: a rule may wait for a few."""


def _moves(optimizer: Optimizer) -> bool:
    """Whether any number of two small replicas is another after a few updates, at the defaults."""
    import torch

    start = torch.linspace(-1, 1, 16, dtype=torch.float64).view(2, 8)
    parameters, lr = start.clone(), torch.full((2, 1), optimizer.lr, dtype=torch.float64)
    options = {knob.name: knob.default for knob in optimizer.knobs}
    moments = {name: torch.zeros_like(start) for name in optimizer.buffers(options)}
    for knob in optimizer.knobs:
        if knob.per_replica:
            options[knob.name] = torch.full_like(lr, knob.default) if knob.default else 0.0
    with torch.no_grad():
        for step in range(1, UPDATES + 1):
            optimizer(parameters, torch.linspace(-0.5, 1, 16).to(start).view(2, 8), moments, lr, step, **options)
            if not torch.equal(parameters, start):
                return True
    return False


def on(value: Any) -> bool:
    """Whether a knob that replicas may differ in, (R, 1) or 0.0, is other than 0 in any of them."""
    return not isinstance(value, float) or value != 0


def optimizer(
    rule: None = None,
    /,
    *,
    lr: float | None = None,
    source: str = "",
    name: str = "",
    knobs: Sequence[Knob] = (),
    needless: Callable[[dict[str, Any]], tuple[str, ...]] = lambda options: (),
    is_descent: bool = False,
) -> Callable[[Rule], Rule]:
    """Register the update rule that follows, see `ablate.optimizers.optimizer`, as `optimizer=NAME`.

    `lr` is its default learning rate; `knobs` declare bounds, choices and help of its keyword parameters. Raises
    ConfigError for a function that cannot be an update rule.
    """

    if rule is not None or lr is None:
        raise ConfigError("an optimizer needs a learning rate; write @ablate.optimizer(lr=0.01)")

    def register(rule: Rule) -> Rule:
        check_function(rule, "optimizer")
        if not (isinstance(lr, int | float) and math.isfinite(lr) and lr > 0):
            raise ConfigError(f"{where(rule)} has lr={lr!r}; a learning rate is a number above 0")
        first = positional(rule)
        if len(first) < 2:
            raise ConfigError(
                f"{where(rule)} takes {counted(len(first), 'tensor')}; a rule takes (parameters, gradients, …)"
            )
        own = knobs_of(rule, knobs, GIVEN)
        parameters = rule.__code__.co_varnames[: rule.__code__.co_argcount + rule.__code__.co_kwonlyargcount]
        if "lr" not in parameters[len(first) :]:
            raise ConfigError(f"{where(rule)} does not ask for its learning rate; add lr behind the star: (…, *, lr)")
        OPTIMIZERS.add(
            Optimizer(
                name or rule.__name__,
                rule,
                float(lr),
                first[2:],
                own,
                "step" in parameters,
                summary_of(rule),
                source,
                needless,
                is_descent,
            )
        )
        return rule

    return register
