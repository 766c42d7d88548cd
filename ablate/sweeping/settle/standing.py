"""How the claims of a sweep stand, how many more seeds of which settings each asks for, and what that costs."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ablate.claims.measured import SPEED, Frames
from ablate.claims.reading import Claim
from ablate.claims.settings import NotTestable
from ablate.claims.verdicts import Verdict, candidates, judge
from ablate.records.design import Designs

GROWTH = 1.5
"""A batch makes so many of the seeds that there are: looks are free, and runs train fastest together."""
LEAST_BATCH = 2

UNDECLARED = Designs()
"""What makes every verdict an always-valid one, as any is once its settings were extended."""


@dataclass(frozen=True)
class Standing:
    """One claim: its verdict, its settings, and the seeds that it asks for of each of them."""

    claim: Claim
    verdict: Verdict
    settings: tuple[str, ...] = ()
    there: int = 0
    """Seeds of the setting that has fewest."""
    wanted: int = 0
    """Seeds of each of the settings that decide it if it is as it seems; 0 where no number that may be had does."""

    @property
    def is_open(self) -> bool:
        return self.wanted > self.there

    @property
    def counts(self) -> bool:
        """Whether more seeds could decide it: not where settings are missing, nor of times, which are no runs."""
        return self.verdict.verdict != "not testable" and self.claim.metric != SPEED

    @property
    def is_decided(self) -> bool:
        return self.verdict.verdict in ("confirmed", "refuted")

    @property
    def next(self) -> int:
        """The seeds that it gets at once: all that it wants, or half as many again as there are."""
        return min(self.wanted, max(self.there + LEAST_BATCH, math.ceil(self.there * GROWTH)))


def standings(frames: Frames, claims: Sequence[Claim], level: float, most: int, any_protocol: bool) -> list[Standing]:
    """How each claim stands; none wants more than `most` seeds of a setting."""
    return [standing(frames, claim, level, most, any_protocol) for claim in claims]


def standing(frames: Frames, claim: Claim, level: float, most: int, any_protocol: bool) -> Standing:
    verdict = judge(frames, claim, level, any_protocol)
    if verdict.verdict != "undecided" or claim.metric == SPEED:
        return Standing(claim, verdict)
    try:
        settings = tuple(candidates(frames, claim, level, any_protocol))
    except NotTestable:
        return Standing(claim, verdict)
    counts = frames.runs["setting_id"].value_counts()
    there = min(int(counts[setting]) for setting in settings)
    ahead = judge(replace(frames, designs=UNDECLARED), claim, level, any_protocol)
    needed = {name: getattr(ahead, name) for name in ("needed", "needed_low", "needed_high")}
    return Standing(claim, replace(verdict, **needed), settings, there, _wanted(ahead, there, most))


def _wanted(verdict: Verdict, there: int, most: int) -> int:
    """None that is out of reach even if the truth is as favourable as the runs leave room for."""
    if verdict.verdict != "undecided":
        return min(there + 1, most)
    if there >= most or (verdict.needed_low or most + 1) > most:
        return 0
    return max(there + 1, min(verdict.needed or most, most))


@dataclass(frozen=True)
class Prices:
    """What the runs of a sweep cost: setting → seconds of one, and how many seeds of it are there."""

    seconds: Mapping[str, float]
    there: Mapping[str, int]
    at_once: int = 1
    """Runs that train side by side."""
    measured: float = 1.0
    """Seconds that the last batches took, for one that was expected."""

    @classmethod
    def of(cls, frames: Frames, at_once: int, measured: float = 1.0) -> "Prices":
        """From the sweep's own records: the mean over its runs."""
        by_setting = frames.runs.groupby("setting_id")
        seconds = by_setting["wall_s"].mean() if "wall_s" in frames.runs else by_setting.size() * math.nan
        there = {str(name): int(n) for name, n in by_setting.size().items()}
        return cls({str(name): float(each) for name, each in seconds.items()}, there, at_once, measured)

    def cost(self, settings: Collection[str], n: int) -> float:
        """Seconds until each of the settings has n seeds."""
        each = (max(0, n - self.there[setting]) * self.seconds[setting] for setting in settings)
        return sum(0.0 if math.isnan(one) else one for one in each) * self.measured / self.at_once

    def runs(self, settings: Collection[str], n: int) -> int:
        return sum(max(0, n - self.there[setting]) for setting in settings)


@dataclass
class Outlook:
    """What deciding all that is open would take, a setting that several claims share counted once."""

    wanted: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, open_: Sequence[Standing]) -> "Outlook":
        wanted: dict[str, int] = {}
        for one in open_:
            for setting in one.settings:
                wanted[setting] = max(wanted.get(setting, 0), one.wanted)
        return cls(wanted)

    def runs(self, prices: Prices) -> int:
        return sum(prices.runs([setting], n) for setting, n in self.wanted.items())

    def seconds(self, prices: Prices) -> float:
        return sum(prices.cost([setting], n) for setting, n in self.wanted.items())


def best(open_: Sequence[Standing], prices: Prices) -> Standing:
    """The claim whose seeds decide most claims for a second: its own, and those that need no more of its settings."""

    def worth(one: Standing) -> float:
        given = {setting: max(one.wanted, prices.there[setting]) for setting in one.settings}
        decided = sum(
            all(given.get(setting, prices.there[setting]) >= other.wanted for setting in other.settings)
            for other in open_
        )
        return decided / max(prices.cost(one.settings, one.wanted), 1e-9)

    return max(open_, key=worth)
