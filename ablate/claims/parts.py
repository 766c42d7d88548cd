"""Elementary statements: a ratio or difference against a bound, a share of runs, each with p-values for and against."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy import stats

from ablate.metrics import METRICS
from ablate.stats import RatioTest
from ablate.stats.difference import DifferenceTest

SAID = {"perplexity": "", "late_change": "", "tokens_per_s": "tokens per second", "roughness": "roughness"}
"""Metric → what its ratio is called, where METRICS has no title for it, or none is needed."""
MOST_SEEDS = 10_000
"""What takes more runs than these cannot be told."""


@dataclass(frozen=True)
class Comparison(ABC):
    """Elementary: how two cells compare lies below, or above, a bound."""

    text: str  # what is compared with what: `sampling sequential/random`
    where: str  # ` at impl=scratch`, or nothing
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

    @abstractmethod
    def needed(self, level: float, power: float) -> int | None:
        """The seeds that decide it."""

    @cached_property
    def confirm(self) -> float:
        p: float = self.test.p_below(self.bound) if self.below else self.test.p_above(self.bound)
        return p

    @cached_property
    def contrary(self) -> float:
        p: float = self.test.p_above(self.bound) if self.below else self.test.p_below(self.bound)
        return p

    @property
    def leans(self) -> bool:
        return self.estimate < self.bound if self.below else self.estimate > self.bound

    def decisive(self, confirming: bool) -> "Part":
        return self

    def parts(self) -> Iterator["Part"]:
        yield self

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
    metric: str = "perplexity"

    between = "/"

    @staticmethod
    def beyond(margin: float) -> float:
        return 1 + margin if margin >= 0 else 1 / (1 - margin)

    @property
    def estimate(self) -> float:
        return self.test.ratio

    def needed(self, level: float, power: float) -> int | None:
        return self.test.at(level).needed(self.bound, power)

    @property
    def margin(self) -> float:
        with np.errstate(divide="ignore"):
            above = float(np.log(self.estimate) - np.log(self.bound))
        return known(-above if self.below else above)

    @property
    def plainly(self) -> str:
        return number(self.estimate)

    @property
    def effect(self) -> str:
        """`sampling sequential/random = 0.880 (0.801–0.950) at impl=scratch`, of training perplexity.

        Of any other metric `model gru/rnn: ratio of roughness 1.074 (1.002–1.151)`.
        """
        interval = f"({number(self.test.low)}–{number(self.test.high)})"
        name = SAID[self.metric] if self.metric in SAID else METRICS[self.metric].title
        told = f": ratio of {name}" if name else " ="
        return f"{self.text}{told} {self.plainly} {interval}{self.where}"

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

    def needed(self, level: float, power: float) -> int | None:
        return self.test.at(level).needed(self.bound, power)

    @property
    def margin(self) -> float:
        above = self.estimate - self.bound
        return known(-above if self.below else above) / self.top

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
        return METRICS[self.metric].top or math.inf

    def signed(self, value: float) -> str:
        return signed(value, self.top)

    def plain(self, value: float) -> str:
        return self.signed(value).lstrip("+")


@dataclass(frozen=True)
class Share:
    """Elementary: at least (or at most) a share of all runs does this. Exact binomial tests on n independent runs."""

    where: str  # ` at num_hiddens=32`, or nothing
    count: int  # of n runs that do
    n: int
    share: float
    at_least: bool
    level: float
    what: str = "fail"

    method = "binomial, exact (Clopper–Pearson)"

    @cached_property
    def confirm(self) -> float:
        return self._many() if self.at_least else self._few()

    @cached_property
    def contrary(self) -> float:
        return self._few() if self.at_least else self._many()

    def _many(self) -> float:
        return float(stats.binom.sf(self.count - 1, self.n, self.share))

    def _few(self) -> float:
        return float(stats.binom.cdf(self.count, self.n, self.share))

    @property
    def margin(self) -> float:
        above = self.count / self.n - self.share
        return above if self.at_least else -above

    @property
    def leans(self) -> bool:
        return self.count > self.share * self.n if self.at_least else self.count < self.share * self.n

    def needed(self, level: float, power: float) -> int | None:
        """The runs that decide if the share is as it seems; a half of a run is added to either side (Jeffreys)."""
        alpha = (1 - level) / 2
        truth = (self.count + 0.5) / (self.n + 1)
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
        low = stats.beta.ppf(tail, self.count, self.n - self.count + 1) if self.count else 0.0
        high = stats.beta.isf(tail, self.count + 1, self.n - self.count) if self.count < self.n else 1.0
        return float(low), float(high)

    @property
    def effect(self) -> str:
        low, high = self.interval
        return f"{self.count} of {self.n} runs {self.what} ({low:.0%}–{high:.0%}){self.where}"

    @property
    def against(self) -> str:
        return f", claimed: {'at least' if self.at_least else 'at most'} {self.share:.0%}"


def known(margin: float) -> float:
    """0 for one that cannot be told, so that it can be ranked."""
    return 0.0 if math.isnan(margin) else margin


def signed(value: float, top: float) -> str:
    """A difference with the digits that a share (top 1), or a number up to 100, can be told apart by."""
    if not math.isfinite(value):
        return "?" if math.isnan(value) else f"{value:+}".replace("inf", "∞")
    text = f"{value:+.{3 if top <= 1 else 1}f}".replace("-", "−")
    return text[1:] if not float(text[1:]) else text


Part = Comparison | Share
"""What every statement rests on in the end."""


def number(value: float) -> str:
    """A ratio with the digits that tell it from 1."""
    if math.isnan(value):
        return "?"
    if math.isinf(value):
        return "∞"
    return f"{value:.3f}" if 0.1 <= value < 10 else f"{value:.3g}"
