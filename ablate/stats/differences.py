"""The difference of a metric that may be 0, such as an accuracy, in two settings; tested without logarithms."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ablate.stats import always_valid
from ablate.stats.effect import Effect
from ablate.stats.independent import two_samples, without_nan
from ablate.stats.paired import common_seeds, signed_rank
from ablate.stats.ratios import contrast


@dataclass(frozen=True)
class DifferenceTest(Effect):
    """The difference a − b of a metric, in its own unit, as `RatioTest` has the ratio of a positive one.

    The estimand is the difference of means (of rank tests: the median difference, see `method`). `means` are those of a
    and of b without diverged runs; empty for what is more than two settings.
    """

    means: tuple[float, ...] = field(default=())
    none = 0.0

    @property
    def difference(self) -> float:
        return self.estimate

    @property
    def method(self) -> str:
        return f"{self.contrast.method}, of differences"


def difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> DifferenceTest:
    """The difference a − b of two samples: Welch's t; ranks where runs diverged (±∞) or nothing spreads.

    Runs that agree in every seed are no fact here, as they are of a ratio: few examples have few accuracies, and chance
    gives two settings the same ones.
    """
    return DifferenceTest(two_samples(a, b, level), (_finite_mean(a), _finite_mean(b)))


def difference_contrast(
    weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float = 0.95
) -> DifferenceTest:
    """The weighted sum of the settings' means, tested against 0; see `ratio_contrast`."""
    return DifferenceTest(contrast(weights, values, level))


def always_valid_difference(
    weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float = 0.95
) -> DifferenceTest:
    """`difference_contrast`, and with weights 1 and −1 `difference`, by the test that holds however often one looks."""
    two = list(weights.values()) == [1.0, -1.0]
    means = tuple(_finite_mean(values[name]) for name in weights) if two else ()
    return DifferenceTest(always_valid.by_seed(weights, values, level), means)


def paired_difference(a: pd.Series, b: pd.Series, level: float = 0.95) -> DifferenceTest:
    """The difference a − b by the signed-rank test, over the seeds (the index) that both have a value for."""
    left, right = common_seeds(a, b)
    both = left.notna().to_numpy() & right.notna().to_numpy()
    test = signed_rank(left.to_numpy(dtype=float), right.to_numpy(dtype=float), level)
    return DifferenceTest(test, (_finite_mean(left[both]), _finite_mean(right[both])))


def _finite_mean(values: ArrayLike) -> float:
    numbers = without_nan(values)
    finite = numbers[np.isfinite(numbers)]
    return float(finite.mean()) if len(finite) else float("nan")
