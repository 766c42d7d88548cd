"""What every statement rests on in the end: a comparison, a share of runs, or a fact, in which chance has no part."""

import math
from dataclasses import dataclass
from functools import cached_property

from ablate.claims.comparison import Comparison, Elementary
from ablate.config.errors import counted
from ablate.stats import NEEDED_LEVEL, Needed, p_of, runs_for_share, share_evidence, share_interval, share_sequence

ALWAYS_VALID_SHARE = "always-valid binomial, with its confidence sequence"
MOST_SEEDS = 10_000
"""What takes more runs than these cannot be told."""


@dataclass(frozen=True)
class Share(Elementary):
    """Elementary: at least (or at most) a share of all runs does this. Exact tests on n independent runs."""

    where: str  # ` at num_hiddens=32`, or nothing
    count: int  # of n runs that do
    n: int
    share: float
    at_least: bool
    level: float
    what: str = "fail"
    always_valid: bool = False

    is_fact = False
    rank_least_p = math.nan
    rank_name = ""

    @property
    def method(self) -> str:
        return ALWAYS_VALID_SHARE if self.always_valid else "exact binomial, interval of Clopper and Pearson"

    def log_e(self, confirming: bool) -> float:
        if not self.always_valid:
            return math.nan
        if self.at_least == confirming:
            return float(share_evidence(self.count, self.n, self.share))
        return float(share_evidence(self.n - self.count, self.n, 1 - self.share))

    def rank_p(self, confirming: bool) -> float:
        return math.nan

    @cached_property
    def confirm(self) -> float:
        return self._many() if self.at_least else self._few()

    @cached_property
    def contrary(self) -> float:
        return self._few() if self.at_least else self._many()

    def _many(self) -> float:
        if self.always_valid:
            return p_of(self.log_e(self.at_least))
        from scipy import stats  # a second of imports, for claims about shares alone

        return float(stats.binom.sf(self.count - 1, self.n, self.share))

    def _few(self) -> float:
        if self.always_valid:
            return p_of(self.log_e(not self.at_least))
        from scipy import stats

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
        return self._enough((self.count + 0.5) / (self.n + 1), level, power)

    def needed_between(self, level: float, power: float) -> Needed:
        """From the interval of the share; where it holds the share claimed no number is enough for sure."""
        low, high = share_interval(self.count, self.n, NEEDED_LEVEL)
        far, near = sorted((low, high), key=lambda end: -abs(end - self.share))
        inside = low <= self.share <= high
        return self._enough(far, level, power), None if inside else self._enough(near, level, power)

    def _enough(self, truth: float, level: float, power: float) -> int | None:
        decided = min(self.confirm, self.contrary) <= (1 - level) / 2
        least = max(1, self.n if decided else self.n + 1)
        return runs_for_share(truth, self.share, level, power, least, MOST_SEEDS, self.always_valid)

    @property
    def interval(self) -> tuple[float, float]:
        """Two-sided, exact: what the test does not reject; Clopper & Pearson (1934), or a confidence sequence."""
        return (share_sequence if self.always_valid else share_interval)(self.count, self.n, self.level)

    @property
    def effect(self) -> str:
        low, high = self.interval
        return f"{self.count} of {counted(self.n, 'run')} {self.what} ({low:.0%}–{high:.0%}){self.where}"

    @property
    def against(self) -> str:
        return f", claimed: {'at least' if self.at_least else 'at most'} {self.share:.0%}"


@dataclass(frozen=True)
class Fact(Elementary):
    """Elementary: what every run shows alike, because it follows from how the network is built; no test, no p."""

    where: str
    n: int
    holds: bool
    what: str
    """What all runs do: `see the tokens that they are to predict`."""

    method = "fact: alike in every run"
    is_fact = True
    rank_least_p = math.nan
    rank_name = ""

    @property
    def confirm(self) -> float:
        return 0.0 if self.holds else 1.0

    @property
    def contrary(self) -> float:
        return 1.0 - self.confirm

    def rank_p(self, confirming: bool) -> float:
        return math.nan

    @property
    def leans(self) -> bool:
        return self.holds

    @property
    def margin(self) -> float:
        return 1.0 if self.holds else -1.0

    def needed(self, level: float, power: float) -> int | None:
        return self.n

    def needed_between(self, level: float, power: float) -> Needed:
        return self.n, self.n

    def log_e(self, confirming: bool) -> float:
        return math.inf if self.holds == confirming else -math.inf

    @property
    def effect(self) -> str:
        runs = f"all {self.n} runs" if self.n > 1 else "the only run"
        return f"{runs} {self.what}{self.where}"

    @property
    def against(self) -> str:
        return ""


Part = Comparison | Share | Fact
