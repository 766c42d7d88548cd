"""How two settings compare, against a bound, with p-values for and against: by a ratio, or by a difference."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from ablate.config.metrics import DEFAULT_METRIC, METRICS, decimals
from ablate.stats import DifferenceTest, Needed, RatioTest

SAID = {"tail_perplexity": "", "late_change": "", "tokens_per_s": "tokens per second", "roughness": "roughness"}
"""Metric → what its ratio is called, where METRICS has no title for it, or none is needed."""


class Elementary:
    """A statement that rests on no other."""

    def decisive(self, confirming: bool) -> Self:
        return self

    def parts(self) -> Iterator[Self]:
        yield self


@dataclass(frozen=True)
class Comparison(Elementary, ABC):
    """Elementary: how two settings compare lies below, or above, a bound."""

    text: str  # what is compared with what: `sampling sequential/random`
    where: str  # ` at formulation=textbook`, or nothing
    test: Any
    bound: float
    below: bool = True

    between: ClassVar[str]
    """What stands between the two sides in `text`."""

    @staticmethod
    @abstractmethod
    def beyond(margin: float) -> float:
        """The bound that lies this margin above equality; or below it, for a negative one."""

    @property
    @abstractmethod
    def estimate(self) -> float:
        """What is held against the bound."""

    @property
    @abstractmethod
    def margin(self) -> float:
        """How far the estimate lies from the bound; below 0 on the side of the contrary."""

    @property
    @abstractmethod
    def plainly(self) -> str:
        """The estimate by itself, in words."""

    @property
    @abstractmethod
    def effect(self) -> str:
        """The estimate with its interval, in words."""

    @property
    @abstractmethod
    def against(self) -> str:
        """The bound in words, where it is not equality."""

    def needed(self, level: float, power: float) -> int | None:
        """The seeds that decide it."""
        n: int | None = self.test.at(level).needed(self.bound, power)
        return n

    def needed_between(self, level: float, power: float) -> Needed:
        """The numbers between which those lie."""
        between: Needed = self.test.at(level).needed_between(self.bound, power)
        return between

    @cached_property
    def confirm(self) -> float:
        p: float = self.test.p_below(self.bound) if self.below else self.test.p_above(self.bound)
        return p

    @cached_property
    def contrary(self) -> float:
        if self.is_fact:  # what is the same lies neither below nor above
            return 1.0 - self.confirm
        p: float = self.test.p_above(self.bound) if self.below else self.test.p_below(self.bound)
        return p

    def log_e(self, confirming: bool) -> float:
        """Logarithm of the e-value of this, or of its contrary; NaN where the number of runs was fixed."""
        if self.is_fact:
            return math.inf if (self.confirm if confirming else self.contrary) == 0 else -math.inf
        below: float = self.test.log_e_below(self.bound)
        return below if self.below == confirming else float(self.test.log_e_above(self.bound))

    @property
    def rank_name(self) -> str:
        return str(self.test.rank_name)

    def rank_p(self, confirming: bool) -> float:
        """One-sided p of the rank test, the check on the other, for this or for its contrary; NaN without one."""
        below, above = self.test.rank_tails(self.bound)
        p: float = below if self.below == confirming else above
        return p

    @property
    def rank_least_p(self) -> float:
        """The smallest one-sided p that the rank test of so many runs can give."""
        least: float = self.test.rank_least_p / 2
        return least

    @property
    def is_fact(self) -> bool:
        """Whether chance has no part in it."""
        return bool(self.test.is_fact)

    @property
    def leans(self) -> bool:
        return self.estimate < self.bound if self.below else self.estimate > self.bound

    @property
    def n(self) -> int:
        n: int = self.test.n
        return n

    @property
    def method(self) -> str:
        return str(self.test.method)


@dataclass(frozen=True)
class RatioComparison(Comparison):
    """Of a positive metric."""

    test: RatioTest
    bound: float = 1.0
    metric: str = DEFAULT_METRIC

    between = "/"

    @staticmethod
    def beyond(margin: float) -> float:
        return 1 + margin if margin >= 0 else 1 / (1 - margin)

    @property
    def estimate(self) -> float:
        return self.test.ratio

    @property
    def margin(self) -> float:
        with np.errstate(divide="ignore"):
            above = float(np.log(self.estimate) - np.log(self.bound))
        return or_zero(-above if self.below else above)

    @property
    def plainly(self) -> str:
        return number(self.estimate)

    @property
    def effect(self) -> str:
        """`sampling sequential/random = 0.880 (0.801–0.950) at formulation=textbook`, of training perplexity.

        Of any other metric `model gru/rnn: ratio of roughness 1.074 (1.002–1.151)`.
        """
        ends = self.test.low, self.test.high
        digits = telling_digits(*ends)
        interval = f"({number(ends[0], digits)}–{number(ends[1], digits)})"
        name = SAID[self.metric] if self.metric in SAID else METRICS[self.metric].title
        told = f": ratio of {name}" if name else " ="
        estimate = number(self.estimate, digits)
        return f"{self.text}{told} {estimate}{'' if self.is_fact else f' {interval}'}{self.where}"

    @property
    def against(self) -> str:
        return "" if self.bound == 1 else f", bound {number(self.bound)}"


@dataclass(frozen=True)
class DifferenceComparison(Comparison):
    """Of a metric that may be 0."""

    test: DifferenceTest
    bound: float = 0.0
    metric: str = "accuracy"

    between = ", "

    @staticmethod
    def beyond(margin: float) -> float:
        return margin

    @property
    def estimate(self) -> float:
        return self.test.difference

    @property
    def margin(self) -> float:
        above = self.estimate - self.bound
        scale = self.top if math.isfinite(self.top) else 1.0
        return or_zero(-above if self.below else above) / scale

    @property
    def plainly(self) -> str:
        return self.signed(self.estimate)

    @property
    def effect(self) -> str:
        """`model gru, rnn: accuracy 0.998 against 0.412, difference +0.586 (+0.501 to +0.640) at num_steps=20`"""
        low, high = (self.signed(min(max(end, -self.top), self.top)) for end in (self.test.low, self.test.high))
        title, both = METRICS[self.metric].title, " against ".join(map(self.plain, self.test.means))
        values = f"{title} {both}, difference" if both else f"difference of {title}"
        return f"{self.text}: {values} {self.signed(self.estimate)} ({low} to {high}){self.where}"

    @property
    def against(self) -> str:
        return "" if self.bound == 0 else f", bound {self.signed(self.bound)}"

    @property
    def top(self) -> float:
        return METRICS[self.metric].bounds[1]

    def signed(self, value: float) -> str:
        return signed(value, self.top)

    def plain(self, value: float) -> str:
        return self.signed(value).lstrip("+")


def or_zero(margin: float) -> float:
    """0 for one that cannot be told, so that it can be ranked."""
    return 0.0 if math.isnan(margin) else margin


def signed(value: float, top: float) -> str:
    """A difference of values up to `top` with as many decimals as they have; where nothing is known of its size, with
    three digits that count."""
    if not math.isfinite(value):
        return "?" if math.isnan(value) else f"{value:+}".replace("inf", "∞")
    if math.isfinite(top):
        digits = decimals(top)
    else:
        digits = min(max(0, 2 - math.floor(math.log10(abs(value)))), 12) if value else 1
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text[1:] if not float(text[1:]) else text


def telling_digits(low: float, high: float) -> int:
    """The decimals, 3 to 6, of the ends of a ratio's interval with which neither reads 1 unless it is: a ratio that
    differs from 1, if by ever so little, must not be printed as if it did not.
    """
    ends = [end for end in (low, high) if math.isfinite(end) and end != 1]
    return next((digits for digits in (3, 4, 5) if all(round(end, digits) != 1 for end in ends)), 6)


def number(value: float, digits: int = 3) -> str:
    """A ratio with so many decimals, where it is near 1."""
    if math.isnan(value):
        return "?"
    if math.isinf(value):
        return "∞"
    return f"{value:.{digits}f}" if 0.1 <= value < 10 else f"{value:.3g}"
