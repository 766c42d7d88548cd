"""Tests of the ratio of a positive metric in two cells, on its logarithm: paired by seed, or of two samples."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special, stats

from ablate.stats.paired import Pairs, by_seed, pairs, standard_deviation
from ablate.stats.power import detectable_log, fewest
from ablate.stats.signed_rank import DECIMALS, invert, median


@dataclass(frozen=True)
class RatioTest(ABC):
    """The ratio a/b of a positive metric, tested on its logarithm: paired by seed, or two independent samples.

    `low` and `high` bound the ratio at `level`, two-sided, and are what the tests do not reject: 0 and ∞ where n is
    too small to reject anything. `ratio` is NaN where the data say nothing, as where every run of both diverged.
    """

    ratio: float
    low: float
    high: float
    n: int
    """Pairs, or the size of the smaller sample."""
    method: str
    level: float

    @abstractmethod
    def p_below(self, bound: float = 1.0) -> float:
        """One-sided p of H1: ratio < bound."""

    @abstractmethod
    def p_above(self, bound: float = 1.0) -> float:
        """One-sided p of H1: ratio > bound."""

    def p(self) -> float:
        """Two-sided p against a ratio of 1."""
        return min(1.0, 2 * min(self.p_below(), self.p_above()))

    def at(self, level: float) -> "RatioTest":
        """The same test at another level; its interval stays that of the old one."""
        return replace(self, level=level)

    def needed(self, bound: float = 1.0, power: float = 0.8) -> int | None:
        """The pairs (runs of each sample) that decide against `bound` if ratio and spread are as they seem.

        At least one more than there are where these do not decide. None where that is more than 10,000, or cannot
        be told. The spread is that of the finite differences alone: diverged runs enter the estimate, not it.
        """
        with np.errstate(divide="ignore"):
            effect = abs(float(np.log(self.ratio) - np.log(bound)))
        n = self._least if math.isinf(effect) else fewest(effect, lambda n: self._detectable(n, power), self._least)
        decided = min(self.p_below(bound), self.p_above(bound)) <= (1 - self.level) / 2
        return n if n is None or decided else max(n, self.n + 1)

    @property
    @abstractmethod
    def _least(self) -> int:
        """The smallest n with which this test can decide anything."""

    @abstractmethod
    def _detectable(self, n: int, power: float) -> float:
        """The log ratio that n pairs, or n runs of each sample, detect."""


@dataclass(frozen=True)
class _Paired(RatioTest):
    """Wilcoxon's signed-rank test of the log ratios of the pairs."""

    logs: Pairs = field(repr=False, compare=False)

    def p_below(self, bound: float = 1.0) -> float:
        return self.logs.p_below(math.log(bound))

    def p_above(self, bound: float = 1.0) -> float:
        return self.logs.p_above(math.log(bound))

    @property
    def _least(self) -> int:
        return self._at_level.least

    def _detectable(self, n: int, power: float) -> float:
        return self._at_level.detectable(n, power)

    @cached_property
    def _at_level(self) -> Pairs:
        return replace(self.logs, level=self.level)


@dataclass(frozen=True)
class _Welch(RatioTest):
    """Welch's t test of the logarithms of two samples."""

    a: np.ndarray = field(repr=False, compare=False)
    b: np.ndarray = field(repr=False, compare=False)

    def p_below(self, bound: float = 1.0) -> float:
        return self._tail(bound, side=1)

    def p_above(self, bound: float = 1.0) -> float:
        return self._tail(bound, side=-1)

    def _tail(self, bound: float, side: int) -> float:
        error, df = _welch(self.a, self.b)
        if math.isnan(error):
            return 1.0
        distance = side * float(self.a.mean() - self.b.mean() - math.log(bound))
        if error == 0:
            return 0.0 if distance < 0 else 1.0
        return float(special.stdtr(df, distance / error))

    @property
    def _least(self) -> int:
        return 2

    def _detectable(self, n: int, power: float) -> float:
        return detectable_log(self._spread, n, self.level, power, cost=1.0, samples=2)

    @cached_property
    def _spread(self) -> float:
        return math.hypot(standard_deviation(self.a), standard_deviation(self.b))


@dataclass(frozen=True)
class _RankSum(_Welch):
    """The rank-sum test of Mann and Whitney (1947), for samples with diverged runs, which have no mean."""

    def _tail(self, bound: float, side: int) -> float:
        # An infinite value, shifted or not, is larger than any other and equal to its like.
        a, b = (np.where(np.isinf(x), 1e300, np.round(x, DECIMALS)) for x in (self.a, self.b + math.log(bound)))
        tied = len(np.unique(np.concatenate([a, b]))) < len(a) + len(b)
        alternative, method = "less" if side > 0 else "greater", "asymptotic" if tied else "exact"
        p = float(stats.mannwhitneyu(a, b, alternative=alternative, method=method).pvalue)
        return 1.0 if math.isnan(p) else p

    @property
    def _least(self) -> int:
        return next(n for n in range(2, 100) if 1 / math.comb(2 * n, n) <= (1 - self.level) / 2)

    def _detectable(self, n: int, power: float) -> float:
        return detectable_log(self._spread, n, self.level, power, samples=2)


def paired(a: pd.Series, b: pd.Series, level: float = 0.95) -> RatioTest:
    """The ratio a/b of two cells over the seeds (the index) that both have a value for.

    A pair counts by its log ratio; where both runs diverged (∞) it is a tie and tells nothing. The estimate is that of
    Hodges and Lehmann, the interval inverts the test, so that interval and p agree.
    """
    a, b = by_seed(a, b)
    return of_pairs(pairs(_logs(a), _logs(b), level))


def of_pairs(logs: Pairs) -> RatioTest:
    """The ratio whose logarithms these differences are."""
    ratio, low, high = (_exp(value) for value in (logs.estimate, logs.low, logs.high))
    return _Paired(ratio, low, high, logs.n, logs.method, logs.level, logs)


def independent(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> RatioTest:
    """The ratio a/b of two samples that share no seeds: Welch's t on logarithms, ranks where runs diverged (∞).

    With fewer than two values in a sample there is no interval. NaNs are left out.
    """
    left, right = (x[~np.isnan(x)] for x in (_logs(a), _logs(b)))
    n = min(len(left), len(right))
    if not n:
        return _Welch(math.nan, 0.0, math.inf, 0, "Welch t on logarithms", level, left, right)
    if np.isinf(left).any() or np.isinf(right).any():
        return _rank_sum(left, right, level)
    error, df = _welch(left, right)
    centre = float(left.mean() - right.mean())
    half = math.inf if math.isnan(error) else error * float(special.stdtrit(df, 0.5 + level / 2)) if error else 0.0
    bounds = _exp(centre - half), _exp(centre + half)
    return _Welch(_exp(centre), *bounds, n, "Welch t on logarithms", level, left, right)


def _rank_sum(left: np.ndarray, right: np.ndarray, level: float) -> RatioTest:
    with np.errstate(invalid="ignore"):
        between = np.subtract.outer(left, right).ravel()
    between = between[~np.isnan(between)]  # diverged against diverged: a tie wherever the ratio lies
    test = _RankSum(math.nan, 0.0, math.inf, min(len(left), len(right)), "", level, left, right)
    low, high = invert(between, lambda x: test.p_below(_exp(x)), lambda x: test.p_above(_exp(x)), level)
    method = "Mann–Whitney rank sum on logarithms"
    return _RankSum(_exp(median(between)), _exp(low), _exp(high), test.n, method, level, left, right)


def _logs(values: ArrayLike) -> np.ndarray:
    known = np.asarray(values, dtype=float)
    if (known <= 0).any():
        raise ValueError("a ratio needs positive values")
    logs: np.ndarray = np.log(known)
    return logs


def _exp(value: float) -> float:
    return math.exp(value) if value < 709 else math.inf if value > 0 else value


def _welch(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Standard error of the difference of two means, and its degrees of freedom after Satterthwaite (1946)."""
    if min(len(a), len(b)) < 2:
        return math.nan, math.nan
    u, v = float(a.var(ddof=1)) / len(a), float(b.var(ddof=1)) / len(b)
    if u + v == 0:
        return 0.0, math.inf
    return math.sqrt(u + v), (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1))
