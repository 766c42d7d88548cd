"""The ratio of a positive metric in two settings, tested on its logarithm."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ablate.stats import always_valid
from ablate.stats.always_valid import SequentialT
from ablate.stats.contrast import Contrast, Identical
from ablate.stats.effect import Effect
from ablate.stats.independent import Welch, two_samples, welch
from ablate.stats.paired import by_seed, common_seeds, identical, signed_rank


@dataclass(frozen=True)
class RatioTest(Effect):
    """The ratio a/b of a positive metric; of more than two settings the product of their values, each to a power.

    The estimand is the ratio of geometric means (of rank tests: the median ratio, see `method`). `low` and `high` bound
    it, and are what the test does not reject: 0 and ∞ where n is too small to reject anything.
    """

    none = 1.0

    @staticmethod
    def shown(value: float) -> float:
        return math.exp(value) if value < 709 else math.inf if value > 0 else value  # math.exp(710) raises

    @staticmethod
    def scaled(bound: float) -> float:
        return math.log(bound)

    @property
    def ratio(self) -> float:
        return self.estimate

    @property
    def method(self) -> str:
        on_logarithms = isinstance(self.contrast, Welch | SequentialT)
        return f"{self.contrast.method}, on logarithms" if on_logarithms else self.contrast.method


def ratio(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> RatioTest:
    """The ratio a/b of two samples: Welch's t on logarithms; ranks where runs diverged (±∞) or nothing spreads.

    Of two series by seed that agree in every seed it is a fact that they are equal, unless all values are whole
    numbers: counts, such as epochs until something, agree by chance. NaNs are left out.
    """
    if isinstance(a, pd.Series) and isinstance(b, pd.Series) and (same := _identical(a, b, level)):
        return RatioTest(same)
    return RatioTest(two_samples(logs(a), logs(b), level))


def ratio_contrast(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float = 0.95) -> RatioTest:
    """The product of the settings' geometric means, each to the power of its weight, tested against 1.

    Where runs diverged, or nothing spreads, the signed-rank test of the products seed by seed.
    """
    scaled = {name: pd.Series(logs(values[name]), values[name].index) for name in weights}
    return RatioTest(contrast(weights, scaled, level))


def always_valid_ratio(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float = 0.95) -> RatioTest:
    """`ratio_contrast`, and with weights 1 and −1 `ratio`, by the test that holds however often one looks."""
    if list(weights.values()) == [1.0, -1.0]:
        first, second = (values[name] for name in weights)
        if same := _identical(first, second, level):
            return RatioTest(same)
    scaled = {name: pd.Series(logs(values[name]), values[name].index) for name in weights}
    return RatioTest(always_valid.by_seed(weights, scaled, level))


def _identical(a: pd.Series, b: pd.Series, level: float) -> Identical | None:
    """The fact that two settings train alike (see `paired.identical`); none from whole numbers."""
    if all((side.dropna() % 1 == 0).all() for side in (a, b)):
        return None
    return identical(pd.Series(logs(a), a.index), pd.Series(logs(b), b.index), level)


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

    A pair counts by its log ratio; where both runs diverged (±∞) it is a tie and tells nothing.
    """
    left, right = common_seeds(a, b)
    return RatioTest(signed_rank(logs(left), logs(right), level))


def logs(values: ArrayLike) -> np.ndarray:
    """The scale on which ratios add up; ±∞, as which a diverged run counts, stays itself. Raises ValueError for other
    values that are not positive."""
    given = np.asarray(values, dtype=float)
    diverged = np.isneginf(given)  # of a metric that is better when higher
    if (given[~diverged] <= 0).any():
        raise ValueError("a ratio needs positive values")
    scaled: np.ndarray = np.where(diverged, -np.inf, np.log(np.abs(given)))
    return scaled
