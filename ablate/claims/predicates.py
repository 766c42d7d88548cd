"""What a claim may say. Each predicate is a statement about the cells of a group: every part of it a tested ratio.

The knobs that a predicate varies are its `keys`; all other knobs that differ among the cells make the groups, and the
claim must hold in every one of them (`in: most`: in more than half).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.analysis.frames import value_text as shown
from ablate.analysis.statistics import RatioTest
from ablate.claims.cells import Group, Key, absent
from ablate.claims.measured import Samples
from ablate.claims.parts import Comparison, Share
from ablate.claims.statements import Not, Statement, every


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """What must hold in each group, or in most."""

    most: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The knobs whose values it compares."""
        raise NotImplementedError

    def relevant(self, key: Key) -> bool:
        """Whether it speaks of the cells with these values of its keys."""
        return True

    def missing(self, present: Collection[Key]) -> list[str]:
        """What a group with these cells lacks."""
        return []

    def statement(self, group: Group, data: Samples) -> Statement:
        """What it says of a group that lacks nothing."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Between(Predicate):
    """A predicate on two cells, each named by its values of the same knobs."""

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

    @property
    def text(self) -> str:
        varied = [knob for knob in self.of if self.of[knob] != self.to[knob]]
        fixed = [f"{knob}={shown(self.of[knob])}" for knob in self.of if knob not in varied]
        both = ", ".join(f"{knob} {shown(self.of[knob])}/{shown(self.to[knob])}" for knob in varied)
        return f"{both} with {' '.join(fixed)}" if fixed else both


@dataclass(frozen=True, kw_only=True)
class Ratio(Between):
    """The metric of one cell, over that of the other, is below (or above) a bound."""

    bound: float
    below: bool

    def statement(self, group: Group, data: Samples) -> Statement:
        of, to = (group.cells[side] for side in self.sides)
        return Comparison(self.text, group.where, data.compare(of, to), self.bound, self.below)


@dataclass(frozen=True, kw_only=True)
class Equivalent(Between):
    """The ratio of the two lies within the margin on either side of 1: two one-sided tests (Schuirmann 1987)."""

    margin: float

    def statement(self, group: Group, data: Samples) -> Statement:
        of, to = (group.cells[side] for side in self.sides)
        return within(self.text, group, data.compare(of, to), self.margin)


@dataclass(frozen=True, kw_only=True)
class Fails(Predicate):
    """At least (or at most) this share of all runs of a cell diverge or end above a value."""

    above: float
    share: float
    at_least: bool

    @property
    def keys(self) -> tuple[str, ...]:
        return ()

    def statement(self, group: Group, data: Samples) -> Statement:
        values = data.values[group.cells[()]].to_numpy()
        failed = int((values > self.above).sum())
        return Share(group.where, failed, len(values), self.share, self.at_least, data.level)


@dataclass(frozen=True, kw_only=True)
class Converged(Predicate):
    """The last 5 % of the epochs differ from the 5 % before by less than `within`; or, negated, by more.

    A diverged run has not converged.
    """

    within: float
    negated: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        return ()

    def statement(self, group: Group, data: Samples) -> Statement:
        test = data.contrast({group.cells[()]: 1.0})
        flat = within("last 5 % of epochs/5 % before", group, test, self.within)
        return Not(flat) if self.negated else flat


def within(text: str, group: Group, test: RatioTest, margin: float) -> Statement:
    """A ratio between 1/(1 + margin) and 1 + margin."""
    upper = Comparison(text, group.where, test, 1 + margin)
    return every([upper, Comparison(text, group.where, test, 1 / (1 + margin), below=False)])
