"""From the tests of parts to that of a whole: a claim is a tree of elementary statements.

A statement has two one-sided p-values: `confirm`, where it is not true, and `contrary`, where its contrary is not.
`AtLeast` joins children of which a number must be true. Its p-values are those of a partial conjunction (Benjamini &
Heller 2008), valid however the children depend on each other:

    at least u of G are true     confirm = (G − u + 1) · p₍ᵤ₎         the u-th smallest of the children's
    fewer than u are true        contrary = u · q₍G−u+1₎

With u = G, all of them, that is the intersection–union test: confirmed by the largest p, without correction, and
refuted by the smallest times G (Bonferroni, the first step of Holm); with u = 1 it is the other way round.

Where runs were added after somebody looked the children have e-values, and p is 1/e of the whole, that of Vovk & Wang
(2021): the mean of the G − u + 1 smallest, of which one at least belongs to a child that is not true; for the contrary
that of the u smallest.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ablate.claims.parts import Part
from ablate.stats import Needed, p_of


class Statement(Protocol):
    """What the data can speak for or against."""

    @property
    def confirm(self) -> float:
        """One-sided p of the statement."""

    @property
    def contrary(self) -> float:
        """One-sided p of its contrary."""

    @property
    def leans(self) -> bool:
        """Whether the estimate is on the side of the statement."""

    def needed(self, level: float, power: float) -> int | None:
        """The seeds that decide it, on the side that it leans to; None where that cannot be told, or is > 10,000."""

    def needed_between(self, level: float, power: float) -> Needed:
        """The numbers between which that lies; see stats.contrast."""

    def log_e(self, confirming: bool) -> float:
        """Logarithm of the e-value of the statement, or of its contrary; NaN where the number of runs was fixed."""

    def decisive(self, confirming: bool) -> Part:
        """The elementary statement on which `confirm`, or else `contrary`, rests."""

    def parts(self) -> Iterator[Part]:
        """All elementary statements."""


@dataclass(frozen=True)
class AtLeast:
    """At least `u` of the children are true."""

    u: int
    children: Sequence[Statement]

    @property
    def v(self) -> int:
        """As many must be false to make this false."""
        return len(self.children) - self.u + 1

    @cached_property
    def confirm(self) -> float:
        log_e = self.log_e(True)
        if not math.isnan(log_e):
            return p_of(log_e)
        return min(1.0, self.v * sorted(child.confirm for child in self.children)[self.u - 1])

    @cached_property
    def contrary(self) -> float:
        log_e = self.log_e(False)
        if not math.isnan(log_e):
            return p_of(log_e)
        return min(1.0, self.u * sorted(child.contrary for child in self.children)[self.v - 1])

    def log_e(self, confirming: bool) -> float:
        each = [child.log_e(confirming) for child in self.children]
        if any(map(math.isnan, each)):
            return math.nan
        smallest = sorted(each)[: self.v if confirming else self.u]
        return float(np.logaddexp.reduce(smallest)) - math.log(len(smallest))

    @property
    def leans(self) -> bool:
        return sum(child.leans for child in self.children) >= self.u

    def needed(self, level: float, power: float) -> int | None:
        """Each child that must be decided is, with its share of the error and of the missing power."""
        together, own = self._each(level, power)
        return _the(together, [child.needed(*own) for child in self.children if child.leans == self.leans])

    def needed_between(self, level: float, power: float) -> Needed:
        together, own = self._each(level, power)
        between = [child.needed_between(*own) for child in self.children if child.leans == self.leans]
        return _the(together, [low for low, _ in between]), _the(together, [high for _, high in between])

    def _each(self, level: float, power: float) -> tuple[int, tuple[float, float]]:
        """How many children must be decided, and each at which level, with which power."""
        together, against = (self.u, self.v) if self.leans else (self.v, self.u)
        return together, (1 - (1 - level) / against, 1 - (1 - power) / together)

    def decisive(self, confirming: bool) -> Part:
        """Of children with the same p that with the smaller margin is the weaker, for or against."""
        if confirming:
            ranked = sorted(self.children, key=lambda child: (child.confirm, -child.decisive(True).margin))
            return ranked[self.u - 1].decisive(True)
        ranked = sorted(self.children, key=lambda child: (child.contrary, child.decisive(False).margin))
        return ranked[self.v - 1].decisive(False)

    def parts(self) -> Iterator[Part]:
        for child in self.children:
            yield from child.parts()


def _the(number: int, needed: Sequence[int | None]) -> int | None:
    """So many of these have enough runs with this one."""
    ordered = sorted(math.inf if n is None else n for n in needed)
    if len(ordered) < number or math.isinf(ordered[number - 1]):
        return None
    return int(ordered[number - 1])


def every(children: Sequence[Statement]) -> Statement:
    """All of them are true."""
    return children[0] if len(children) == 1 else AtLeast(len(children), children)


def most(children: Sequence[Statement]) -> Statement:
    """More than half of them are true."""
    return children[0] if len(children) == 1 else AtLeast(len(children) // 2 + 1, children)


def some(children: Sequence[Statement]) -> Statement:
    """At least one of them is true."""
    return children[0] if len(children) == 1 else AtLeast(1, children)


@dataclass(frozen=True)
class Not:
    """The contrary of a statement."""

    child: Statement

    @property
    def confirm(self) -> float:
        return self.child.contrary

    @property
    def contrary(self) -> float:
        return self.child.confirm

    @property
    def leans(self) -> bool:
        return not self.child.leans

    def needed(self, level: float, power: float) -> int | None:
        return self.child.needed(level, power)

    def needed_between(self, level: float, power: float) -> Needed:
        return self.child.needed_between(level, power)

    def log_e(self, confirming: bool) -> float:
        return self.child.log_e(not confirming)

    def decisive(self, confirming: bool) -> Part:
        return self.child.decisive(not confirming)

    def parts(self) -> Iterator[Part]:
        yield from self.child.parts()


def takes_all(statement: Statement, negated: bool = False) -> bool:
    """Whether it is true only if all of its elementary statements are, so that any one of them can contradict it;
    `negated`: of its contrary."""
    if isinstance(statement, Not):
        return takes_all(statement.child, not negated)
    if isinstance(statement, AtLeast):
        number = statement.v if negated else statement.u
        return number == len(statement.children) and all(takes_all(child, negated) for child in statement.children)
    return True
