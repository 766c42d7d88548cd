"""The signed-rank test of Wilcoxon (1945): exact with ties and infinite differences, and turned into an interval.

Hollander, Wolfe & Chicken, Nonparametric Statistical Methods (2014), sections 3.1 to 3.3, has the test, the estimate
of Hodges and Lehmann (1963) and the interval of Tukey. A zero difference is dropped, as Wilcoxon does; equal
magnitudes share their mean rank, and the null distribution is that of the ranks so shared; an infinite difference
(one of the two runs diverged) has the largest rank.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import special

EXACT_UP_TO = 50
"""Differences up to which the null distribution is enumerated; beyond, it is normal within a thousandth."""

DECIMALS = 12
"""Differences of logarithms are rounded to so many decimals, so that what is equal on paper is equal here."""


def least_pairs(level: float) -> int:
    """The smallest number of pairs with which the exact two-sided test can reject at all: 6 at 95 %."""
    return math.ceil(math.log2(2 / (1 - level)))


def tails(differences: np.ndarray) -> tuple[float, float]:
    """P(W ≤ w) and P(W ≥ w) of w, the sum of the ranks of the positive differences (n,), where 0 is their median."""
    differences = np.round(differences, DECIMALS)
    differences = differences[differences != 0]
    doubled = doubled_ranks(np.abs(differences))
    w, total = int(doubled[differences > 0].sum()), int(doubled.sum())
    if len(differences) <= EXACT_UP_TO:
        at_least = upper_tail(np.sort(doubled).tobytes())
        return float(at_least[total - w]), float(at_least[w])  # the distribution is symmetric
    # A whole rank is 2 here, so the correction for continuity is 1.
    distance, sd = w - total / 2, math.sqrt(float(np.square(doubled).sum()) / 4)
    return float(special.ndtr((distance + 1) / sd)), float(special.ndtr((1 - distance) / sd))


def doubled_ranks(magnitudes: np.ndarray) -> np.ndarray:
    """Twice the rank of each value (n,), counted from 1; equal values share the mean, so that twice it is whole."""
    ordered = np.sort(magnitudes)
    return np.searchsorted(ordered, magnitudes, "left") + np.searchsorted(ordered, magnitudes, "right") + 1


@lru_cache(maxsize=4096)
def upper_tail(doubled: bytes) -> np.ndarray:
    """P(W ≥ w) for w = 0, 1 … the sum of the doubled ranks (int64 as bytes), each of them counted or not by a coin."""
    ranks = np.frombuffer(doubled, dtype=np.int64)
    p = np.zeros(int(ranks.sum()) + 1)
    p[0] = 1.0
    for rank in ranks:
        without = p / 2
        p = without.copy()
        p[rank:] += without[: len(p) - rank]
    return np.cumsum(p[::-1])[::-1]


def walsh_averages(differences: np.ndarray) -> np.ndarray:
    """The means of all pairs of differences, each with itself too, sorted; +∞ with −∞ has none and is left out."""
    i, j = np.triu_indices(len(differences))
    with np.errstate(invalid="ignore"):
        averages = (differences[i] + differences[j]) / 2
    return np.sort(averages[~np.isnan(averages)])


def median(values: np.ndarray) -> float:
    """The median; NaN where there is none, as between −∞ and +∞."""
    if not len(values):
        return math.nan
    with np.errstate(invalid="ignore"):
        return float(np.median(values))


def invert(
    breakpoints: np.ndarray, p_below: Callable[[float], float], p_above: Callable[[float], float], level: float
) -> tuple[float, float]:
    """The values that neither one-sided test rejects at (1 − level)/2.

    `p_below(θ)` falls and `p_above(θ)` rises with θ, both in steps at the `breakpoints` only.
    """
    steps = np.unique(np.round(breakpoints[np.isfinite(breakpoints)], DECIMALS))
    between = [steps[0] - 1, *(steps[:-1] + steps[1:]) / 2, steps[-1] + 1] if len(steps) else [0.0]
    bounds = [-math.inf, *steps, math.inf]
    alpha = (1 - level) / 2
    low = bisect_right(between, alpha, key=p_above)
    high = bisect_right(between[::-1], alpha, key=p_below)
    return float(bounds[low]), float(bounds[::-1][high])
