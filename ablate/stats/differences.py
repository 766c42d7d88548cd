"""The difference of a metric that may be 0, such as an accuracy, in two settings; tested without logarithms."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ablate.stats.contrast import Contrast
from ablate.stats.independent import known, two_samples
from ablate.stats.paired import common_seeds, signed_rank
from ablate.stats.ratios import contrast


@dataclass(frozen=True)
class DifferenceTest:
    """The difference a − b of a metric, in its own unit, as `RatioTest` has the ratio of a positive one.

    The estimand is the difference of means (of rank tests: the median difference, see `method`). `means` are those of a
    and of b without diverged runs; empty for what is more than two settings.
    """

    contrast: Contrast
    means: tuple[float, ...] = field(default=())

    @property
    def difference(self) -> float:
        return self.contrast.estimate

    @property
    def low(self) -> float:
        return self.contrast.low

    @property
    def high(self) -> float:
        return self.contrast.high

    @property
    def n(self) -> int:
        return self.contrast.n

    @property
    def level(self) -> float:
        return self.contrast.level

    @property
    def method(self) -> str:
        return f"{self.contrast.method}, of differences"

    @property
    def rank_p(self) -> float:
        return self.contrast.rank_p

    @property
    def rank_least_p(self) -> float:
        return self.contrast.rank_least_p

    @property
    def is_fact(self) -> bool:
        return self.contrast.is_fact

    def at(self, level: float) -> "DifferenceTest":
        """The same test at another level; its interval stays that of the old one."""
        return DifferenceTest(self.contrast.at(level), self.means)

    def p_below(self, bound: float = 0.0) -> float:
        """One-sided p of H1: difference < bound."""
        return self.contrast.p_below(bound)

    def p_above(self, bound: float = 0.0) -> float:
        """One-sided p of H1: difference > bound."""
        return self.contrast.p_above(bound)

    def rank_tails(self, bound: float = 0.0) -> tuple[float, float]:
        """`p_below` and `p_above` of the rank test; NaN where there is none."""
        return self.contrast.rank_tails(bound)

    def p(self) -> float:
        """Two-sided p against no difference."""
        return self.contrast.p()

    def needed(self, bound: float = 0.0, power: float = 0.8) -> int | None:
        """About how many runs of each setting decide against `bound`; see Contrast.needed."""
        return self.contrast.needed(bound, power)


def difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> DifferenceTest:
    """The difference a − b of two samples: Welch's t; ranks where runs diverged (±∞) or nothing spreads."""
    return DifferenceTest(two_samples(a, b, level), (_finite_mean(a), _finite_mean(b)))


def difference_contrast(
    weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float = 0.95
) -> DifferenceTest:
    """The weighted sum of the settings' means, tested against 0; see `ratio_contrast`."""
    return DifferenceTest(contrast(weights, values, level))


def paired_difference(a: pd.Series, b: pd.Series, level: float = 0.95) -> DifferenceTest:
    """The difference a − b by the signed-rank test, over the seeds (the index) that both have a value for."""
    left, right = common_seeds(a, b)
    both = left.notna().to_numpy() & right.notna().to_numpy()
    test = signed_rank(left.to_numpy(dtype=float), right.to_numpy(dtype=float), level)
    return DifferenceTest(test, (_finite_mean(left[both]), _finite_mean(right[both])))


def _finite_mean(values: ArrayLike) -> float:
    numbers = known(values)
    finite = numbers[np.isfinite(numbers)]
    return float(finite.mean()) if len(finite) else float("nan")
