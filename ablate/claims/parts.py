"""Elementary statements: one ratio against a bound, or one share of runs, each with a p-value for and against."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import stats

from ablate.analysis.statistics import RatioTest

MOST_SEEDS = 10_000
"""What takes more runs than these cannot be told."""


@dataclass(frozen=True)
class Comparison:
    """Elementary: a ratio lies below, or above, a bound."""

    text: str  # what is divided by what: `sampling sequential/random`
    where: str  # ` at impl=scratch`, or nothing
    test: RatioTest
    bound: float = 1.0
    below: bool = True

    @cached_property
    def confirm(self) -> float:
        return self.test.p_below(self.bound) if self.below else self.test.p_above(self.bound)

    @cached_property
    def contrary(self) -> float:
        return self.test.p_above(self.bound) if self.below else self.test.p_below(self.bound)

    @property
    def leans(self) -> bool:
        return self.test.ratio < self.bound if self.below else self.test.ratio > self.bound

    def needed(self, level: float, power: float) -> int | None:
        return replace(self.test, level=level).needed(self.bound, power)

    def decisive(self, confirming: bool) -> "Part":
        return self

    def parts(self) -> Iterator["Part"]:
        yield self

    @property
    def n(self) -> int:
        return self.test.n

    @property
    def method(self) -> str:
        return self.test.method

    @property
    def effect(self) -> str:
        """`sampling sequential/random = 0.880 (0.801–0.950) at impl=scratch`"""
        interval = f"({number(self.test.low)}–{number(self.test.high)})"
        return f"{self.text} = {number(self.test.ratio)} {interval}{self.where}"

    @property
    def against(self) -> str:
        """The bound, where it is another than 1."""
        return "" if self.bound == 1 else f", bound {number(self.bound)}"


@dataclass(frozen=True)
class Share:
    """Elementary: at least (or at most) a share of all runs would fail. Exact binomial tests on n independent runs."""

    where: str  # ` at num_hiddens=32`, or nothing
    failed: int
    n: int
    share: float
    at_least: bool
    level: float

    method = "binomial, exact (Clopper–Pearson)"

    @cached_property
    def confirm(self) -> float:
        return self._many() if self.at_least else self._few()

    @cached_property
    def contrary(self) -> float:
        return self._few() if self.at_least else self._many()

    def _many(self) -> float:
        return float(stats.binom.sf(self.failed - 1, self.n, self.share))

    def _few(self) -> float:
        return float(stats.binom.cdf(self.failed, self.n, self.share))

    @property
    def leans(self) -> bool:
        return self.failed > self.share * self.n if self.at_least else self.failed < self.share * self.n

    def needed(self, level: float, power: float) -> int | None:
        """The runs that decide if the share is as it seems; a half of a run is added to either side (Jeffreys)."""
        alpha = (1 - level) / 2
        truth = (self.failed + 0.5) / (self.n + 1)
        least = max(1, self.n if min(self.confirm, self.contrary) <= alpha else self.n + 1)
        # One by one up to 50, then in steps of 2 %.
        many = 50 * 1.02 ** np.arange(math.log(MOST_SEEDS / 50) / math.log(1.02) + 1)
        runs = np.unique(np.concatenate([np.arange(1, 51), many.astype(int)]))
        runs = runs[(runs >= least) & (runs <= MOST_SEEDS)]
        if truth > self.share:
            critical = stats.binom.isf(alpha, runs, self.share)  # P(X > critical) ≤ alpha
            reached = stats.binom.sf(critical, runs, truth)
        else:
            critical = stats.binom.ppf(alpha, runs, self.share)  # P(X ≤ critical) ≥ alpha
            critical -= stats.binom.cdf(critical, runs, self.share) > alpha
            reached = stats.binom.cdf(critical, runs, truth)
        enough = runs[reached >= power]
        return int(enough[0]) if len(enough) else None

    def decisive(self, confirming: bool) -> "Part":
        return self

    def parts(self) -> Iterator["Part"]:
        yield self

    @property
    def interval(self) -> tuple[float, float]:
        """Two-sided interval of Clopper and Pearson (1934)."""
        tail = (1 - self.level) / 2
        low = stats.beta.ppf(tail, self.failed, self.n - self.failed + 1) if self.failed else 0.0
        high = stats.beta.isf(tail, self.failed + 1, self.n - self.failed) if self.failed < self.n else 1.0
        return float(low), float(high)

    @property
    def effect(self) -> str:
        low, high = self.interval
        return f"{self.failed} of {self.n} runs fail ({low:.0%}–{high:.0%}){self.where}"

    @property
    def against(self) -> str:
        return f", claimed: {'at least' if self.at_least else 'at most'} {self.share:.0%}"


Part = Comparison | Share
"""What every statement rests on in the end."""


def number(value: float) -> str:
    """A ratio with the digits that tell it from 1."""
    if math.isnan(value):
        return "?"
    if math.isinf(value):
        return "∞"
    return f"{value:.3f}" if 0.1 <= value < 10 else f"{value:.3g}"
