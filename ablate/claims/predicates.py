"""What a claim may say. Each predicate is a statement about the settings of a group, every part of it tested.

Settings are compared by the ratio of the metric, or by its difference where it may be 0: a margin of 0.1 is then one of
0.1 in the metric's own unit, not one of a tenth.

The knobs that a predicate varies are its `keys`; all other knobs that differ among the settings make the groups, and
the claim must hold in every one of them (`in: most`: in more than half).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ablate.analysis.frames import value_text as shown
from ablate.claims.measured import LATE_CHANGE, SEES_FUTURE, Samples
from ablate.claims.parts import Fact, Share
from ablate.claims.settings import Group, Key, absent
from ablate.claims.statements import Not, Statement, every
from ablate.config.metrics import METRICS
from ablate.stats import DifferenceTest, RatioTest


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """What must hold in each group, or in most."""

    most: bool = False

    reads: ClassVar[str | None] = None
    """What it is about, where that is no metric that a claim could name."""

    absolute: ClassVar[bool] = False
    """Whether it holds a value against a fixed one, which another text or number of epochs would move."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The knobs whose values it compares; none: it speaks of each setting by itself."""
        return ()

    def relevant(self, key: Key) -> bool:
        """Whether it speaks of the settings with these values of its keys."""
        return True

    def missing(self, present: Collection[Key]) -> list[str]:
        """What a group with these settings lacks."""
        return []

    def statement(self, group: Group, data: Samples) -> Statement:
        """What it says of a group that lacks nothing."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Between(Predicate):
    """A predicate on two settings, each named by its values of the same knobs."""

    of: Mapping[str, Any]
    to: Mapping[str, Any]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.of)

    @property
    def sides(self) -> tuple[Key, Key]:
        return tuple(self.of.values()), tuple(self.to[knob] for knob in self.of)

    def relevant(self, key: Key) -> bool:
        return key in self.sides

    def missing(self, present: Collection[Key]) -> list[str]:
        return absent(self.keys, self.sides, present)

    def compared(self, group: Group, data: Samples) -> tuple[str, RatioTest | DifferenceTest]:
        """The first setting against the second, and both in words."""
        of, to = (group.settings[side] for side in self.sides)
        return self.text(data.kind.between), data.compare(of, to)

    def text(self, between: str) -> str:
        varied = [knob for knob in self.of if self.of[knob] != self.to[knob]]
        fixed = [f"{knob}={shown(self.of[knob])}" for knob in self.of if knob not in varied]
        both = ", ".join(f"{knob} {shown(self.of[knob])}{between}{shown(self.to[knob])}" for knob in varied)
        return f"{both} with {' '.join(fixed)}" if fixed else both


@dataclass(frozen=True, kw_only=True)
class Apart(Between):
    """The metric of one setting, over that of the other or minus it, is below (or above) a bound."""

    bound: float
    below: bool

    def statement(self, group: Group, data: Samples) -> Statement:
        text, test = self.compared(group, data)
        return data.part(text, group.where, test, self.bound, self.below)


class Ratio(Apart):
    """The metric of one setting over that of the other."""


class Difference(Apart):
    """The metric of one setting minus that of the other, where it may be 0."""


@dataclass(frozen=True, kw_only=True)
class Equivalent(Between):
    """The two are equal within the margin on either side: two one-sided tests (Schuirmann 1987)."""

    margin: float

    def statement(self, group: Group, data: Samples) -> Statement:
        text, test = self.compared(group, data)
        return within(text, group, data, test, self.margin)


@dataclass(frozen=True, kw_only=True)
class InShare(Predicate):
    """At least (or at most) this share of all runs of a setting do something."""

    absolute: ClassVar[bool] = True
    share: float
    at_least: bool = True

    def statement(self, group: Group, data: Samples) -> Statement:
        values = data.values[group.settings[()]].to_numpy()
        count = int(self.counts(values).sum())
        what, n = self.what(data.metric), len(values)
        return Share(group.where, count, n, self.share, self.at_least, data.level, what, data.always_valid)

    def counts(self, values: np.ndarray) -> np.ndarray:
        """Which of the runs (n,) do it."""
        raise NotImplementedError

    def what(self, metric: str) -> str:
        """What they do, after "5 of 6 runs"."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Fails(InShare):
    """They diverge or end above a value of a metric that is not better when higher."""

    above: float

    def counts(self, values: np.ndarray) -> np.ndarray:
        return values > self.above

    def what(self, metric: str) -> str:
        return f"end above {METRICS[metric].title if metric in METRICS else metric} {self.above:g} or diverge"


@dataclass(frozen=True, kw_only=True)
class Solves(InShare):
    """They reach a value of a metric that is better when higher; or, negated, they do not. A diverged run does not."""

    reach: float
    negated: bool = False

    def counts(self, values: np.ndarray) -> np.ndarray:
        return values < self.reach if self.negated else values >= self.reach

    def what(self, metric: str) -> str:
        return f"{'stay below' if self.negated else 'reach'} {METRICS[metric].title} {self.reach:g}"


@dataclass(frozen=True, kw_only=True)
class SeesFuture(InShare):
    """Outputs depend on later tokens; or, negated, they do not.

    That follows from how a network is built: where all runs agree it is a fact, and no share of runs is tested.
    """

    reads: ClassVar[str | None] = SEES_FUTURE
    absolute: ClassVar[bool] = False
    negated: bool = False

    def counts(self, values: np.ndarray) -> np.ndarray:
        seen: np.ndarray = values == (0 if self.negated else 1)
        return seen

    def statement(self, group: Group, data: Samples) -> Statement:
        values = data.values[group.settings[()]].to_numpy()
        if len(set(values)) > 1:
            return super().statement(group, data)
        does = "see the tokens that they are to predict" if values[0] else "see no later token"
        return Fact(group.where, len(values), bool(self.counts(values).all()), does)

    def what(self, metric: str) -> str:
        return "see no later token" if self.negated else "see the tokens that they are to predict"


@dataclass(frozen=True, kw_only=True)
class Converged(Predicate):
    """The last 5 % of the epochs differ from the 5 % before by less than `within`; or, negated, by more.

    A diverged run has not converged.
    """

    reads: ClassVar[str | None] = LATE_CHANGE
    absolute: ClassVar[bool] = True
    within: float
    negated: bool = False

    def statement(self, group: Group, data: Samples) -> Statement:
        test = data.contrast({group.settings[()]: 1.0})
        flat = within("last 5 % of epochs/5 % before", group, data, test, self.within)
        return Not(flat) if self.negated else flat


def within(text: str, group: Group, data: Samples, test: RatioTest | DifferenceTest, margin: float) -> Statement:
    """No farther from equality than the margin, on either side."""
    beyond = data.kind.beyond
    upper = data.part(text, group.where, test, beyond(margin))
    return every([upper, data.part(text, group.where, test, beyond(-margin), below=False)])
