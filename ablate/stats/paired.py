"""Contrasts of runs paired by seed: Wilcoxon's signed-rank test of their differences.

The estimand is the pseudomedian of the differences (that of Hodges and Lehmann), which is their median only where
they are symmetric. Its p cannot go below 2 to the power of 1 − n: with six pairs 0.031.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pandas as pd

from ablate.stats.contrast import Contrast, Identical
from ablate.stats.independent import standard_deviation
from ablate.stats.power import detectable_log
from ablate.stats.signed_rank import DECIMALS, EXACT_UP_TO, invert, least_pairs, median, tails, walsh_averages


@dataclass(frozen=True)
class SignedRank(Contrast):
    """Of differences (k,), infinite where one run of a pair diverged; n counts pairs of which both did as well."""

    differences: np.ndarray = field(repr=False, compare=False)

    def p_below(self, bound: float = 0.0) -> float:
        return tails(self.differences - bound)[0]

    def p_above(self, bound: float = 0.0) -> float:
        return tails(self.differences - bound)[1]

    @property
    def method(self) -> str:
        exact = "exact" if len(self.differences) <= EXACT_UP_TO else "normal approximation"
        return f"Wilcoxon signed-rank, {exact}, paired by seed"

    def rank_tails(self, bound: float = 0.0) -> tuple[float, float]:
        return tails(self.differences - bound)

    @property
    def rank_least_p(self) -> float:
        return min(1.0, 2.0 ** (1 - len(self.differences)))

    @property
    def _least(self) -> int:
        return least_pairs(self.level)

    def _detectable(self, n: int, power: float) -> float:
        return detectable_log(standard_deviation(self.differences), n, self.level, power)


def signed_rank(left: np.ndarray, right: np.ndarray, level: float) -> SignedRank:
    """The differences left − right of values (n,): ±∞ for a diverged run, NaN for one that nobody measured."""
    known = ~(np.isnan(left) | np.isnan(right))
    left, right = left[known], right[known]
    informative = ~(np.isinf(left) & np.isinf(right))
    differences = np.round(left[informative] - right[informative], DECIMALS)
    averages = walsh_averages(differences)
    low, high = -math.inf, math.inf
    if len(differences) >= least_pairs(level):
        low, high = invert(averages, lambda x: tails(differences - x)[0], lambda x: tails(differences - x)[1], level)
    return SignedRank(median(averages), low, high, int(known.sum()), level, differences)


def by_seed(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float) -> SignedRank:
    """The signed-rank test of the weighted sums, seed by seed; see `sums_by_seed`."""
    total, _ = sums_by_seed(weights, values)
    return signed_rank(total, np.zeros(len(total)), level)


def sums_by_seed(weights: Mapping[str, float], values: Mapping[str, pd.Series]) -> tuple[np.ndarray, np.ndarray]:
    """The weighted sums (n,), seed by seed, of values that add up, over the seeds (the index) that all settings have
    a value for; and where one says nothing (n,), because what diverged in it cancels.

    A diverged run counts as a value that grows, or falls, without bound: with several of them in a seed, the sign of
    the sum of their weights decides.
    """
    known = [values[name].dropna() for name in weights]
    seeds = reduce(pd.Index.intersection, (own.index for own in known))
    table = np.column_stack([own.loc[seeds].to_numpy(float) for own in known])
    factors = np.array(list(weights.values()))
    diverged = np.isinf(table)
    growth = np.round((np.sign(table) * diverged * factors).sum(axis=1), 9)
    finite = np.where(diverged, 0.0, table) @ factors
    total = np.where(growth == 0, finite, np.copysign(np.inf, growth))
    return total, diverged.any(axis=1) & (growth == 0)


def common_seeds(a: pd.Series, b: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both on the seeds (the index) that both have."""
    if a.index.equals(b.index):
        return a, b
    seeds = a.index.intersection(b.index)
    return a.loc[seeds], b.loc[seeds]


def identical(a: pd.Series, b: pd.Series, level: float) -> Identical | None:
    """The fact that two settings train alike: each seed ends at the same value in both, another one than other seeds.

    None where it is not so, or cannot be told: from fewer than two seeds, or where all runs of a setting end alike.
    """
    left, right = (side.to_numpy(dtype=float) for side in common_seeds(a, b))
    same = len(left) > 1 and np.array_equal(left, right) and bool(np.isfinite(left).all())
    return Identical(0.0, 0.0, 0.0, len(left), level) if same and len(np.unique(left)) == len(left) else None
