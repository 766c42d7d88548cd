"""A schedule: what the learning rate of each update is multiplied by.

    @ablate.schedule(source="Vaswani et al. 2017")
    def inverse_root(step, total, *, warmup=0.1):
        rise = max(1, warmup * total)
        return min((step + 1) / rise, (rise / (step + 1)) ** 0.5)

`step` counts the updates already done, from 0; `total` is the number of updates of the whole run. Keyword parameters
are the schedule's own knobs. A schedule with a third parameter, `held_out`, gets the run's held-out perplexities, one
for each epoch that has ended: it has to follow from these alone, so that a run that resumes has the same rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

from ablate.config.errors import ConfigError, check_function
from ablate.config.registry import SCHEDULES, Knob
from ablate.optimizers.signature import knobs_of, line_of, positional, summary_of, where

Factor = Callable[..., float]


@dataclass(frozen=True)
class Schedule:
    """A function of the update, and what is to be known of it."""

    name: str
    function: Factor
    knobs: tuple[Knob, ...] = ()
    summary: str = ""
    source: str = ""
    reads_held_out: bool = False
    """Whether it follows the held-out perplexity, which is then measured after every epoch."""

    def options(self, chosen: Any) -> dict[str, Any]:
        """The values of its knobs in a config's `schedule`."""
        return {knob.name: getattr(chosen, knob.name, knob.default) for knob in self.knobs}

    def factor(self, step: int, total: int, held_out: Sequence[float] = (), **options: Any) -> float:
        """What the learning rate is multiplied by when `step` of `total` updates are done; `held_out` are the held-out
        perplexities after each epoch so far.

        Raises ConfigError where that is no finite number from 0 up, or the schedule of a user fails.
        """
        try:
            found = self.function(step, total, *([held_out] if self.reads_held_out else []), **options)
            factor = float(found) if hasattr(found, "__float__") else math.nan  # numbers of numpy's and torch's, too
        except OverflowError:
            found = factor = math.inf
        except Exception as error:
            if self.name not in SCHEDULES.origin:
                raise
            raise ConfigError(
                f"schedule={self.name} fails at step {step} of {total}: {line_of(error, self.function)}: {error}"
            ) from error
        if not 0 <= factor < math.inf:
            raise ConfigError(
                f"schedule={self.name} gives {found!r} at step {step} of {total}; a factor is finite and not below 0"
            )
        return factor


@overload
def schedule(function: Factor, /) -> Factor: ...


@overload
def schedule(*, source: str = ..., name: str = ..., knobs: Sequence[Knob] = ...) -> Callable[[Factor], Factor]: ...


def schedule(function: Factor | None = None, /, *, source: str = "", name: str = "", knobs: Sequence[Knob] = ()) -> Any:
    """Register the function (step, total, *, knobs) → factor that follows as `schedule=NAME`.

    A function with a third parameter, held_out, gets the held-out perplexities so far. `knobs` declare bounds, choices
    and help of its keyword parameters. Raises ConfigError for a function that cannot be a schedule.
    """

    def register(function: Factor) -> Factor:
        check_function(function, "schedule")
        given = positional(function)
        if len(given) != 2 and given[2:] != ("held_out",):
            raise ConfigError(
                f"{where(function)} takes {given}; a schedule takes (step, total), or (step, total, held_out)"
            )
        own = knobs_of(function, knobs)
        made = Schedule(name or function.__name__, function, own, summary_of(function), source, len(given) == 3)
        SCHEDULES.add(made)
        return function

    return register if function is None else register(function)
