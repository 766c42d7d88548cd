"""The ratio of a positive metric in two settings, tested on its logarithm."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ablate.stats.contrast import Contrast
from ablate.stats.independent import two_samples, welch
from ablate.stats.paired import by_seed, common_seeds, identical, signed_rank


@dataclass(frozen=True)
class RatioTest:
    """The ratio a/b of a positive metric; of more than two settings the product of their values, each to a power.

    The estimand is the ratio of geometric means (of rank tests: the median ratio, see `method`). `low` and `high` bound
    it at `level`, two-sided, and are what the test does not reject: 0 and ∞ where n is too small to reject anything.
    """

    log: Contrast
    """The same of the logarithms."""

    @property
    def ratio(self) -> float:
        return _exp(self.log.estimate)

    @property
    def low(self) -> float:
        return _exp(self.log.low)

    @property
    def high(self) -> float:
        return _exp(self.log.high)

    @property
    def n(self) -> int:
        return self.log.n

    @property
    def level(self) -> float:
        return self.log.level

    @property
    def method(self) -> str:
        return f"{self.log.method}, on logarithms" if self.log.method == "Welch t" else self.log.method

    @property
    def rank_p(self) -> float:
        return self.log.rank_p

    @property
    def rank_least_p(self) -> float:
        return self.log.rank_least_p

    @property
    def is_fact(self) -> bool:
        return self.log.is_fact

    def at(self, level: float) -> "RatioTest":
        """The same test at another level; its interval stays that of the old one."""
        return RatioTest(self.log.at(level))

    def p_below(self, bound: float = 1.0) -> float:
        """One-sided p of H1: ratio < bound."""
        return self.log.p_below(math.log(bound))

    def p_above(self, bound: float = 1.0) -> float:
        """One-sided p of H1: ratio > bound."""
        return self.log.p_above(math.log(bound))

    def rank_tails(self, bound: float = 1.0) -> tuple[float, float]:
        """`p_below` and `p_above` of the rank test; NaN where there is none."""
        return self.log.rank_tails(math.log(bound))

    def p(self) -> float:
        """Two-sided p against a ratio of 1."""
        return self.log.p()

    def needed(self, bound: float = 1.0, power: float = 0.8) -> int | None:
        """About how many runs of each setting decide against `bound`; see Contrast.needed."""
        return self.log.needed(math.log(bound), power)


def ratio(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> RatioTest:
    """The ratio a/b of two samples: Welch's t on logarithms; ranks where runs diverged (∞) or nothing spreads.

    Of two series by seed that agree in every seed it is a fact that they are equal. NaNs are left out.
    """
    left, right = _logs(a), _logs(b)
    if isinstance(a, pd.Series) and isinstance(b, pd.Series):
        same = identical(pd.Series(left, a.index), pd.Series(right, b.index), level)
        if same:
            return RatioTest(same)
    return RatioTest(two_samples(left, right, level))


def ratio_contrast(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float = 0.95) -> RatioTest:
    """The product of the settings' geometric means, each to the power of its weight, tested against 1.

    Where runs diverged, or nothing spreads, the signed-rank test of the products seed by seed.
    """
    logs = {name: pd.Series(_logs(values[name]), values[name].index) for name in weights}
    return RatioTest(contrast(weights, logs, level))


def contrast(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float = 0.95) -> Contrast:
    """The weighted sum of the means of settings on a scale on which effects add up, as `ratio_contrast`."""
    samples = [values[name].dropna().to_numpy(float) for name in weights]
    if all(np.isfinite(sample).all() for sample in samples):
        test = welch(samples, list(weights.values()), level)
        if not math.isinf(test.high) or test.n < 2:
            return test
    return by_seed(weights, values, level)


def paired_ratio(a: pd.Series, b: pd.Series, level: float = 0.95) -> RatioTest:
    """The ratio a/b by the signed-rank test, over the seeds (the index) that both have a value for.

    A pair counts by its log ratio; where both runs diverged (∞) it is a tie and tells nothing.
    """
    left, right = common_seeds(a, b)
    return RatioTest(signed_rank(_logs(left), _logs(right), level))


def _logs(values: ArrayLike) -> np.ndarray:
    positive = np.asarray(values, dtype=float)
    if (positive <= 0).any():
        raise ValueError("a ratio needs positive values")
    logs: np.ndarray = np.log(positive)
    return logs


def _exp(value: float) -> float:
    return math.exp(value) if value < 709 else math.inf if value > 0 else value
