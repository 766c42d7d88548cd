"""What every test of a contrast has: estimate, interval and p of one test, on the scale on which effects add up."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

from ablate.stats.power import fewest

NEEDED_LEVEL = 0.8
"""Confidence level of the numbers of runs between which the one that is needed lies."""

Needed = tuple[int | None, int | None]
"""A smallest and a largest number of runs; None: more than 10,000, or not told."""


@dataclass(frozen=True)
class Contrast(ABC):
    """A weighted sum of the locations of some settings: of two, the difference of the first and the second.

    `low` and `high` are what the two-sided test at `level` does not reject, so that interval and p never contradict
    each other; −∞ and ∞ where there are too few runs to reject anything. `estimate` is NaN where the data say nothing,
    as where every run of both settings diverged.
    """

    estimate: float
    low: float
    high: float
    n: int
    """Runs of the smallest sample; pairs, where runs are paired."""
    level: float

    @abstractmethod
    def p_below(self, bound: float = 0.0) -> float:
        """One-sided p of H1: the contrast lies below the bound."""

    @abstractmethod
    def p_above(self, bound: float = 0.0) -> float:
        """One-sided p of H1: the contrast lies above the bound."""

    def p(self) -> float:
        """Two-sided p against 0."""
        return min(1.0, 2 * min(self.p_below(), self.p_above()))

    @property
    @abstractmethod
    def method(self) -> str:
        """The test, as a table names it."""

    def rank_tails(self, bound: float = 0.0) -> tuple[float, float]:
        """`p_below` and `p_above` of the rank test of the same samples, a check on this; NaN where there is none."""
        return math.nan, math.nan

    @property
    def rank_name(self) -> str:
        """What that test is called."""
        return "exact rank test"

    @property
    def rank_p(self) -> float:
        """Two-sided p of the rank test against 0."""
        return min(1.0, 2 * least) if (least := min(self.rank_tails())) == least else math.nan

    @property
    def rank_least_p(self) -> float:
        """The smallest two-sided p that the rank test of so many runs can give; NaN where there is none."""
        return math.nan

    @property
    def is_fact(self) -> bool:
        """Whether chance has no part in it: the runs are the same, seed by seed."""
        return False

    @property
    def is_always_valid(self) -> bool:
        """Whether its p and its interval hold however often somebody looked (see `always_valid`)."""
        return False

    def log_e_below(self, bound: float = 0.0) -> float:
        """Logarithm of the e-value of H1: the contrast lies below the bound; NaN of a test of fixed n."""
        return math.nan

    def log_e_above(self, bound: float = 0.0) -> float:
        """Logarithm of the e-value of H1: the contrast lies above the bound."""
        return math.nan

    def at(self, level: float) -> Self:
        """The same test at another level; its interval stays that of the old one."""
        return replace(self, level=level)

    def needed(self, bound: float = 0.0, power: float = 0.8) -> int | None:
        """About how many runs of each setting (pairs) decide against `bound` if effect and spread are as they seem.

        At least one more than there are where these do not decide. None where that is more than 10,000, or cannot
        be told. The spread is that of the finite values alone: diverged runs enter the estimate, not it.
        """
        return self._enough(abs(self.estimate - bound), bound, power)

    def needed_between(self, bound: float = 0.0, power: float = 0.8, level: float = NEEDED_LEVEL) -> Needed:
        """Between which numbers that of `needed` lies, at this confidence level; None: over 10,000, or not told.

        From the interval of the effect in standard deviations, whose sign is what needs the runs. Where it holds 0 no
        number is enough for sure.
        """
        low, high = self._effects(bound, level)
        smallest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        fewest_ = self._enough(max(abs(low), abs(high)), bound, power)
        return fewest_, self._enough(smallest, bound, power)

    def _enough(self, effect: float, bound: float, power: float) -> int | None:
        if math.isnan(effect):
            return None
        n = self._least if math.isinf(effect) else fewest(effect, lambda n: self._detectable(n, power), self._least)
        decided = min(self.p_below(bound), self.p_above(bound)) <= (1 - self.level) / 2
        return n if n is None or decided else max(n, self.n + 1)

    def _effects(self, bound: float, level: float) -> tuple[float, float]:
        """An interval, at a level of its own, of the distance from the bound, in the spread that `_detectable` takes as
        known; NaN where there is none."""
        return math.nan, math.nan

    @property
    @abstractmethod
    def _least(self) -> int:
        """The smallest n with which this test can decide anything."""

    @abstractmethod
    def _detectable(self, n: int, power: float) -> float:
        """The contrast that n runs of each setting (n pairs) detect with this power."""


@dataclass(frozen=True)
class Identical(Contrast):
    """Two settings whose runs are the same, seed by seed: their difference is 0, which is a fact and no estimate."""

    def p_below(self, bound: float = 0.0) -> float:
        return 0.0 if bound > 0 else 1.0

    def p_above(self, bound: float = 0.0) -> float:
        return 0.0 if bound < 0 else 1.0

    def p(self) -> float:
        return math.nan

    @property
    def method(self) -> str:
        return "fact: identical in every seed"

    @property
    def is_fact(self) -> bool:
        return True

    def needed(self, bound: float = 0.0, power: float = 0.8) -> int | None:
        return None

    @property
    def _least(self) -> int:
        return 1

    def _detectable(self, n: int, power: float) -> float:
        return 0.0
