"""The schedules that come with the package. Each is told the updates that are done and their number in all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablate.config.registry import Knob
from ablate.optimizers.schedule import schedule

WARMUP = Knob("warmup", float, 0.0, "share of the run over which the rate first rises from 0", minimum=0, below=1)
FINAL = Knob("final", float, 0.0, "the factor at the end of the run", minimum=0)


def _parts(step: int, total: int, warmup: float) -> tuple[float, float]:
    """How far the rise has come (1 behind it, the first update is not at 0), and the share done of what follows it."""
    rise = round(warmup * total)
    if step < rise:
        return (step + 1) / (rise + 1), 0.0
    return 1.0, min(1.0, (step - rise) / max(1, total - rise))


@schedule()
def constant(step: int, total: int) -> float:
    """The same rate throughout."""
    return 1.0


@schedule(knobs=[Knob("warmup", float, 0.05, WARMUP.help, minimum=0, below=1)])
def warmup(step: int, total: int, *, warmup: float) -> float:
    """The rate rises linearly over the first share of the run, and stays."""
    return _parts(step, total, warmup)[0]


@schedule(knobs=[WARMUP, FINAL])
def linear(step: int, total: int, *, warmup: float, final: float) -> float:
    """The rate falls linearly to its final factor."""
    risen, done = _parts(step, total, warmup)
    return risen * (1 + (final - 1) * done)


@schedule(source="Loshchilov and Hutter 2017, without restarts", knobs=[WARMUP, FINAL])
def cosine(step: int, total: int, *, warmup: float, final: float) -> float:
    """The rate falls along half a cosine to its final factor."""
    risen, done = _parts(step, total, warmup)
    return risen * (final + (1 - final) * (1 + math.cos(math.pi * done)) / 2)


@schedule(
    knobs=[
        WARMUP,
        Knob(
            "hold",
            float,
            0.0,
            "share of the run, without the rise, over which the rate stays constant",
            minimum=0,
            below=1,
        ),
        Knob("final", float, 0.01, FINAL.help, above=0),
    ]
)
def exponential(step: int, total: int, *, warmup: float, hold: float, final: float) -> float:
    """The rate falls by the same factor with every update, to its final factor."""
    risen, done = _parts(step, total, warmup)
    return risen * float(final ** (max(0.0, done - hold) / (1 - hold)))


@schedule(
    knobs=[
        Knob("wait", int, 5, "epochs without a lower held-out perplexity after which the rate drops", minimum=1),
        Knob("gamma", float, 0.5, "factor of each drop", above=0, below=1),
        Knob("floor", float, 0.001, "the smallest factor to which the drops lead", minimum=0, below=1),
    ]
)
def plateau(step: int, total: int, held_out: Sequence[float], *, wait: int, gamma: float, floor: float) -> float:
    """The rate drops by a factor whenever the held-out perplexity has not fallen for some epochs."""
    least, since, factor = math.inf, 0, 1.0
    for perplexity in held_out:
        since = 0 if perplexity < least else since + 1
        least = min(least, perplexity)
        if since == wait:
            factor, since = max(floor, gamma * factor), 0
    return factor


@schedule(
    knobs=[
        Knob("every", float, 0.25, "share of the run between two drops of the rate", above=0),
        Knob("gamma", float, 0.1, "factor of each drop", above=0),
    ]
)
def step(step: int, total: int, *, every: float, gamma: float) -> float:
    """The rate drops by a factor at equal intervals."""
    return float(gamma ** (step // max(1, round(every * total))))
