"""Contrasts of samples that share nothing: Welch's t test, and beside it the exact rank-sum test.

The estimand is the difference of means (of logarithms: the logarithm of the ratio of geometric means). Welch's t (1947)
needs no equal spreads and keeps its level with a few bad runs among the good; the rank-sum test is the check on it.
Where there is no mean, because runs diverged (±∞), and where there is no spread, the rank test decides by itself, and
the estimate is that of Hodges and Lehmann (1963).

Two settings share their seeds, but hardly any of their luck: pairing by seed would save at most a quarter of the
variance, and cost a rank test most of its power at few seeds. A positive correlation makes these tests conservative.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ablate.stats import rank_sum
from ablate.stats.contrast import Contrast
from ablate.stats.power import detectable_log, least_runs, standardised_interval
from ablate.stats.signed_rank import DECIMALS, invert, median


@dataclass(frozen=True)
class Welch(Contrast):
    """Welch's t test of a weighted sum of the means of independent samples, of finite values each."""

    samples: tuple[np.ndarray, ...] = field(repr=False, compare=False)
    weights: tuple[float, ...] = field(repr=False, compare=False)

    def p_below(self, bound: float = 0.0) -> float:
        return self._tail(self.estimate - bound)

    def p_above(self, bound: float = 0.0) -> float:
        return self._tail(bound - self.estimate)

    def _tail(self, distance: float) -> float:
        error, df = self._error
        return 1.0 if math.isnan(error) else float(special.stdtr(df, distance / error))

    @property
    def method(self) -> str:
        return "Welch t"

    def rank_tails(self, bound: float = 0.0) -> tuple[float, float]:
        if not self._are_two:
            return math.nan, math.nan
        first, second = self.samples
        return rank_sum.tails(first, second + bound)

    @property
    def rank_least_p(self) -> float:
        return rank_sum.least_p(*map(len, self.samples)) if self._are_two else math.nan

    @property
    def _are_two(self) -> bool:
        return self.weights == (1.0, -1.0)

    @cached_property
    def _error(self) -> tuple[float, float]:
        return standard_error(self.samples, self.weights)

    @property
    def _least(self) -> int:
        return 2

    def _effects(self, bound: float, level: float) -> tuple[float, float]:
        error, df = self._error
        if math.isnan(error):
            return math.nan, math.nan
        low, high = standardised_interval((self.estimate - bound) / error, df, level)
        return low * error, high * error

    def _detectable(self, n: int, power: float) -> float:
        if min(map(len, self.samples)) < 2:
            return math.nan
        variances = [
            weight**2 * float(sample.var(ddof=1)) for sample, weight in zip(self.samples, self.weights, strict=True)
        ]
        like = sum(variances) ** 2 / sum(variance**2 for variance in variances)  # samples of equal spread worth as much
        return detectable_log(math.sqrt(sum(variances)), n, self.level, power, cost=1.0, samples=like)


@dataclass(frozen=True)
class RankSum(Contrast):
    """The exact rank-sum test of the shift between two samples, for values without a mean or without a spread."""

    reason: str
    a: np.ndarray = field(repr=False, compare=False)
    b: np.ndarray = field(repr=False, compare=False)

    def p_below(self, bound: float = 0.0) -> float:
        return rank_sum.tails(self.a, self.b + bound)[0]

    def p_above(self, bound: float = 0.0) -> float:
        return rank_sum.tails(self.a, self.b + bound)[1]

    @property
    def method(self) -> str:
        exact = "exact" if len(self.a) + len(self.b) <= rank_sum.EXACT_UP_TO else "normal approximation"
        return f"rank sum (Mann–Whitney), {exact}: {self.reason}"

    def rank_tails(self, bound: float = 0.0) -> tuple[float, float]:
        return self.p_below(bound), self.p_above(bound)

    @property
    def rank_least_p(self) -> float:
        return rank_sum.least_p(len(self.a), len(self.b))

    @property
    def _least(self) -> int:
        return least_runs(self.level)

    def _detectable(self, n: int, power: float) -> float:
        spread = math.hypot(*(standard_deviation(sample) for sample in (self.a, self.b)))
        return detectable_log(spread, n, self.level, power, samples=2)


def two_samples(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Contrast:
    """The mean of a (m,) minus that of b (n,). NaNs are left out; with a single value in one there is no interval."""
    left, right = without_nan(a), without_nan(b)
    if np.isinf(left).any() or np.isinf(right).any():
        return _shift(left, right, level, "runs diverged")
    if min(len(left), len(right)) >= 2 and constant(left) and constant(right):
        return _shift(left, right, level, "no spread")
    return welch((left, right), (1.0, -1.0), level)


def welch(samples: Sequence[np.ndarray], weights: Sequence[float], level: float) -> Welch:
    """The weighted sum of the means of samples, all finite."""
    n = min(map(len, samples))
    if not n:
        return Welch(math.nan, -math.inf, math.inf, 0, level, tuple(samples), tuple(weights))
    centre = float(sum(weight * sample.mean() for sample, weight in zip(samples, weights, strict=True)))
    error, df = standard_error(samples, weights)
    half = math.inf if math.isnan(error) else error * float(special.stdtrit(df, 0.5 + level / 2))
    return Welch(centre, centre - half, centre + half, n, level, tuple(samples), tuple(weights))


def standard_error(samples: Sequence[np.ndarray], weights: Sequence[float]) -> tuple[float, float]:
    """Standard error of a weighted sum of means, and its degrees of freedom after Satterthwaite (1946).

    (NaN, NaN) where a sample has fewer than two values, or where none of them has a spread.
    """
    if min(map(len, samples)) < 2 or all(map(constant, samples)):
        return math.nan, math.nan
    shares = [
        weight**2 * float(sample.var(ddof=1)) / len(sample) for sample, weight in zip(samples, weights, strict=True)
    ]
    df = sum(shares) ** 2 / sum(share**2 / (len(sample) - 1) for share, sample in zip(shares, samples, strict=True))
    return math.sqrt(sum(shares)), df


def _shift(a: np.ndarray, b: np.ndarray, level: float, reason: str) -> RankSum:
    with np.errstate(invalid="ignore"):
        between = np.subtract.outer(a, b).ravel()
    between = between[~np.isnan(between)]  # diverged against diverged: a tie wherever the shift lies
    test = RankSum(median(between), -math.inf, math.inf, min(len(a), len(b)), level, reason, a, b)
    low, high = invert(between, test.p_below, test.p_above, level)
    return RankSum(test.estimate, low, high, test.n, level, reason, a, b)


def without_nan(values: ArrayLike) -> np.ndarray:
    """Those that are not NaN."""
    array = np.asarray(values, dtype=float)
    measured: np.ndarray = array[~np.isnan(array)]
    return measured


def constant(values: np.ndarray) -> Any:
    """Whether all values (…, n), finite ones, are equal to the digits that count (…)."""
    return np.ptp(values, axis=-1) < 10.0**-DECIMALS


def standard_deviation(values: np.ndarray) -> float:
    """That of the finite values; NaN for fewer than two."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if len(finite) > 1 else math.nan


def probability_of_improvement(a: ArrayLike, b: ArrayLike, better: str = "lower") -> float:
    """P(a run of `a` is better than one of `b`) over all pairs of runs, ties count half (Agarwal et al. 2021).

    `better` is lower or higher. An infinite value is that of a diverged run; a NaN is left out.
    """
    left, right = without_nan(a), without_nan(b)
    if not (len(left) and len(right)):
        return math.nan
    wins = left[:, None] < right if better == "lower" else left[:, None] > right
    return float(np.mean(wins + (left[:, None] == right) / 2))
