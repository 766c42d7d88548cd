"""How many runs an effect takes, and which effect a number of runs can detect: by the t approximation, so about."""

import math
from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

MOST_SEEDS = 10_000
"""An effect that takes more seeds than these counts as nil."""

RANK_COST = 1.05
"""Runs that a rank test needs for one that the t test needs, on normal values: π/3 (Hodges & Lehmann 1956)."""


def least_runs(level: float) -> int:
    """The runs of each of two settings from which the exact rank-sum test can reject at all: 4 at 95 %.

    Welch's t can reject from 2, but nothing then checks it.
    """
    return next(n for n in range(2, 100) if 1 / math.comb(2 * n, n) <= (1 - level) / 2)


def detectable_ratio(sd_log: float, n: int, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true ratio above 1 of two settings that n runs of each detect with this power; NaN for fewer than 2.

    `sd_log`: standard deviation of the logarithm over the runs of a setting. For Welch's t test, by the t
    approximation: exp((t[level] + t[power]) · sd · √(2/n)).
    """
    return math.exp(detectable_log(math.sqrt(2) * sd_log, n, level, power, cost=1.0, samples=2)) if n > 1 else math.nan


def seeds_for(effect_log: float, sd_log: float, level: float = 0.95, power: float = 0.8) -> int | None:
    """The runs of each of two settings that detect a log ratio: the smallest n whose `detectable_ratio` is no larger.

    None where the effect is nil or takes more than 10,000.
    """
    spread = math.sqrt(2) * sd_log
    return fewest(abs(effect_log), lambda n: detectable_log(spread, n, level, power, cost=1.0, samples=2), 2)


def detectable_log(
    sd_log: float, n: int, level: float, power: float, cost: float = RANK_COST, samples: float = 1
) -> float:
    """The contrast that n pairs detect (of some samples: n runs of each), where its estimate varies by sd_log/√n.

    `samples`: how many independent samples of equal spread are worth as many degrees of freedom.
    """
    return float(detectable_each(sd_log, n, level, power, cost, samples))


def detectable_each(
    sd_log: ArrayLike, n: ArrayLike, level: float, power: float, cost: float, samples: ArrayLike
) -> np.ndarray:
    """`detectable_log` of several contrasts (tests,)."""
    n = np.asarray(n)
    df = samples * (n - 1)
    t = special.stdtrit(df, 0.5 + level / 2) + special.stdtrit(df, power)
    detected: np.ndarray = t * sd_log * np.sqrt(cost / n)
    return detected


def standardised_interval(t: float, df: float, level: float) -> tuple[float, float]:
    """The noncentralities of a t statistic with which what is seen, or more of it on one side, is no rarer than
    (1 − level)/2: an effect in standard errors, with what is not known of the spread."""
    tail = (1 - level) / 2
    low, high = special.nctdtrinc(df, 1 - tail, t), special.nctdtrinc(df, tail, t)
    if t < 0:  # by reflection, where scipy's search for the noncentrality is at home
        low, high = -special.nctdtrinc(df, tail, -t), -special.nctdtrinc(df, 1 - tail, -t)
    return float(low), float(high)


def fewest(effect: float, detectable: Callable[[int], float], least: int) -> int | None:
    """The smallest n, from `least` on, whose detectable effect is no larger than this one; None: over 10,000."""
    if not effect > 0 or math.isnan(detectable(least)):
        return None
    n = bisect_left(range(MOST_SEEDS + 1), -effect, lo=least, key=lambda n: -detectable(n))
    return n if n <= MOST_SEEDS else None


def fewest_each(effect: np.ndarray, detectable: Callable[[np.ndarray], np.ndarray], least: int) -> np.ndarray:
    """`fewest` of each effect (tests,), all bisected at once; NaN in the place of None."""
    low, high = np.full(len(effect), least), np.full(len(effect), MOST_SEEDS + 1)
    while (open_ := low < high).any():
        middle = (low + high) // 2
        enough = detectable(middle) <= effect
        low, high = np.where(open_ & ~enough, middle + 1, low), np.where(open_ & enough, middle, high)
    told = (effect > 0) & ~np.isnan(detectable(np.full(len(effect), least))) & (low <= MOST_SEEDS)
    return np.where(told, low, np.nan)
