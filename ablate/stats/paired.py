"""Pairs of runs on a scale on which effects add up: their differences, tested, estimated and counted."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ablate.stats.power import detectable_log, fewest
from ablate.stats.signed_rank import DECIMALS, EXACT_UP_TO, invert, least_pairs, median, tails, walsh_averages


@dataclass(frozen=True)
class Pairs:
    """Wilcoxon's signed-rank test of differences (told,), which may be infinite where one run of a pair diverged.

    The estimate is that of Hodges and Lehmann. `low` and `high` invert the test, so that interval and p agree: −∞ and
    ∞ where there are too few pairs to reject anything.
    """

    estimate: float
    low: float
    high: float
    n: int
    """All pairs: also those of which both runs diverged, which tell nothing."""
    level: float
    differences: np.ndarray = field(repr=False, compare=False)

    def p_below(self, bound: float) -> float:
        """One-sided p of H1: the median difference < bound."""
        return tails(self.differences - bound)[0]

    def p_above(self, bound: float) -> float:
        """One-sided p of H1: the median difference > bound."""
        return tails(self.differences - bound)[1]

    @property
    def method(self) -> str:
        exact = "exact" if len(self.differences) <= EXACT_UP_TO else "normal approximation"
        return f"Wilcoxon signed-rank, {exact}, paired by seed"

    @property
    def least(self) -> int:
        """The fewest pairs with which the test can decide anything."""
        return least_pairs(self.level)

    def detectable(self, n: int, power: float) -> float:
        """The difference that n pairs detect; the spread is that of the finite differences."""
        return detectable_log(standard_deviation(self.differences), n, self.level, power)

    def needed(self, effect: float, power: float) -> int | None:
        """The pairs that detect an effect (0 or more, may be ∞); None where they are over 10,000 or cannot be told."""
        return self.least if math.isinf(effect) else fewest(effect, lambda n: self.detectable(n, power), self.least)


def pairs(left: np.ndarray, right: np.ndarray, level: float) -> Pairs:
    """The differences left − right of values (n,): ±∞ for a diverged run, NaN for one that nobody measured."""
    known = ~(np.isnan(left) | np.isnan(right))
    left, right = left[known], right[known]
    told = ~(np.isinf(left) & np.isinf(right))
    differences = np.round(left[told] - right[told], DECIMALS)
    averages = walsh_averages(differences)
    low, high = -math.inf, math.inf
    if len(differences) >= least_pairs(level):
        low, high = invert(averages, lambda x: tails(differences - x)[0], lambda x: tails(differences - x)[1], level)
    return Pairs(median(averages), low, high, int(known.sum()), level, differences)


def by_seed(a: pd.Series, b: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both on the seeds (the index) that both have."""
    if a.index.equals(b.index):
        return a, b
    seeds = a.index.intersection(b.index)
    return a.loc[seeds], b.loc[seeds]


def standard_deviation(values: np.ndarray) -> float:
    """That of the finite values; NaN for fewer than two."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
