"""Tests of more than two cells at once: a product of their values, each to a power, or a weighted sum of them.

A trend along a knob, or how a gap changes, is a weighted sum of the logarithms of several cells; of the values
themselves where these may be 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pandas as pd
from scipy import special

from ablate.stats import RatioTest
from ablate.stats.difference import DifferenceTest
from ablate.stats.paired import Pairs, pairs
from ablate.stats.power import detectable_log
from ablate.stats.ratio import of_pairs


def by_seed(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float) -> RatioTest:
    """The product of the cells' values for each seed that all of them have, tested against 1."""
    logs = {cell: pd.Series(np.log(values[cell].astype(float)), index=values[cell].index) for cell in weights}
    return of_pairs(sums(weights, logs, level))


def sum_by_seed(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float) -> DifferenceTest:
    """The weighted sum of the cells' values for each seed that all of them have, tested against 0."""
    return DifferenceTest(sums(weights, values, level))


def sums(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float) -> Pairs:
    """The weighted sums of values that add up, seed by seed.

    A diverged run counts as a value that grows, or falls, without bound: with several of them in a seed, the sign of
    the sum of their weights decides.
    """
    seeds = reduce(pd.Index.intersection, (values[cell].index for cell in weights))
    table = np.column_stack([values[cell].loc[seeds].to_numpy(float) for cell in weights])
    powers = np.array(list(weights.values()))
    diverged = np.isinf(table)
    growth = np.round((np.sign(table) * diverged * powers).sum(axis=1), 9)
    finite = np.where(diverged, 0.0, table) @ powers
    total = np.where(growth == 0, finite, np.copysign(np.inf, growth))
    return pairs(total, np.zeros(len(total)), level)


def by_welch(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float) -> RatioTest:
    """The product of the cells' geometric means, of independent samples."""
    logs = {cell: np.log(values[cell].to_numpy(float)) for cell in weights}
    sizes = {cell: len(sample) for cell, sample in logs.items()}
    n, method = min(sizes.values()), "Welch t of a contrast of logarithms"
    log = float(sum(weight * logs[cell].mean() for cell, weight in weights.items()))
    if n < 2:
        return WelchContrast(math.exp(log), 0.0, math.inf, n, method, level, math.nan, math.nan)
    shares = {cell: weight**2 * float(logs[cell].var(ddof=1)) / sizes[cell] for cell, weight in weights.items()}
    variance = sum(shares.values())
    if not variance:
        return WelchContrast(math.exp(log), math.exp(log), math.exp(log), n, method, level, 0.0, math.inf)
    df = variance**2 / sum(share**2 / (sizes[cell] - 1) for cell, share in shares.items())
    half = math.sqrt(variance) * float(special.stdtrit(df, 0.5 + level / 2))
    interval = math.exp(log - half), math.exp(log + half)
    return WelchContrast(math.exp(log), *interval, n, method, level, math.sqrt(variance), df)


@dataclass(frozen=True)
class WelchContrast(RatioTest):
    """A weighted sum of the mean logarithms of independent samples, its error after Satterthwaite (1946)."""

    error: float = field(repr=False)
    df: float = field(repr=False)

    def p_below(self, bound: float = 1.0) -> float:
        return self._tail(math.log(self.ratio / bound))

    def p_above(self, bound: float = 1.0) -> float:
        return self._tail(-math.log(self.ratio / bound))

    def _tail(self, distance: float) -> float:
        if math.isnan(self.error):
            return 1.0
        if self.error == 0:
            return 0.0 if distance < 0 else 1.0
        return float(special.stdtr(self.df, distance / self.error))

    @property
    def _least(self) -> int:
        return 2

    def _detectable(self, n: int, power: float) -> float:
        return detectable_log(self.error * math.sqrt(self.n), n, self.level, power, cost=1.0)
