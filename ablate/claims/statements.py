"""From the tests of parts to that of a whole: a claim is a tree of elementary statements.

A statement has two one-sided p-values: `confirm`, where it is not true, and `contrary`, where its contrary is not.
`AtLeast` joins children of which a number must be true. Its p-values are those of a partial conjunction (Benjamini &
Heller 2008), valid however the children depend on each other:

    at least u of G are true     confirm = (G − u + 1) · p₍ᵤ₎         the u-th smallest of the children's
    fewer than u are true        contrary = u · q₍G−u+1₎

With u = G, all of them, that is the intersection–union test: confirmed by the largest p, without correction, and
refuted by the smallest times G (Bonferroni, the first step of Holm); with u = 1 it is the other way round.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from ablate.claims.parts import Part


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
        return min(1.0, self.v * sorted(child.confirm for child in self.children)[self.u - 1])

    @cached_property
    def contrary(self) -> float:
        return min(1.0, self.u * sorted(child.contrary for child in self.children)[self.v - 1])

    @property
    def leans(self) -> bool:
        return sum(child.leans for child in self.children) >= self.u

    def needed(self, level: float, power: float) -> int | None:
        """Each child that must be decided is, with its share of the error and of the missing power."""
        together, against = (self.u, self.v) if self.leans else (self.v, self.u)
        own = 1 - (1 - level) / against, 1 - (1 - power) / together
        known = [child.needed(*own) for child in self.children if child.leans == self.leans]
        ordered = sorted(math.inf if n is None else n for n in known)
        if len(ordered) < together or math.isinf(ordered[together - 1]):
            return None
        return int(ordered[together - 1])

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

    def decisive(self, confirming: bool) -> Part:
        return self.child.decisive(not confirming)

    def parts(self) -> Iterator[Part]:
        yield from self.child.parts()
