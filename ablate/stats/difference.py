"""Tests of the difference of a metric that may be 0, such as an accuracy: paired by seed, without logarithms."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ablate.stats.paired import Pairs, by_seed, pairs


@dataclass(frozen=True)
class DifferenceTest:
    """The difference a − b of a metric, in its own unit, as `RatioTest` has the ratio of a positive one.

    `means` are those of a and of b over the pairs, without diverged runs; empty for what is more than two cells.
    """

    pairs: Pairs
    means: tuple[float, ...] = field(default=())

    @property
    def difference(self) -> float:
        return self.pairs.estimate

    @property
    def low(self) -> float:
        return self.pairs.low

    @property
    def high(self) -> float:
        return self.pairs.high

    @property
    def n(self) -> int:
        return self.pairs.n

    @property
    def method(self) -> str:
        return f"{self.pairs.method}, of differences"

    def at(self, level: float) -> "DifferenceTest":
        """The same test at another level; its interval stays that of the old one."""
        return replace(self, pairs=replace(self.pairs, level=level))

    def p_below(self, bound: float = 0.0) -> float:
        """One-sided p of H1: difference < bound."""
        return self.pairs.p_below(bound)

    def p_above(self, bound: float = 0.0) -> float:
        """One-sided p of H1: difference > bound."""
        return self.pairs.p_above(bound)

    def p(self) -> float:
        """Two-sided p against no difference."""
        return min(1.0, 2 * min(self.p_below(), self.p_above()))

    def needed(self, bound: float = 0.0, power: float = 0.8) -> int | None:
        """The pairs that decide against `bound` if difference and spread are as they seem; see RatioTest.needed."""
        n = self.pairs.needed(abs(self.difference - bound), power)
        decided = min(self.p_below(bound), self.p_above(bound)) <= (1 - self.pairs.level) / 2
        return n if n is None or decided else max(n, self.n + 1)


def paired_difference(a: pd.Series, b: pd.Series, level: float = 0.95) -> DifferenceTest:
    """The difference a − b of two cells over the seeds (the index) that both have a value for; −∞ or ∞: diverged."""
    a, b = by_seed(a, b)
    left, right = a.to_numpy(dtype=float), b.to_numpy(dtype=float)
    known = ~(np.isnan(left) | np.isnan(right))
    means = tuple(_finite_mean(values[known]) for values in (left, right))
    return DifferenceTest(pairs(left, right, level), means)


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
