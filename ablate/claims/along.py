"""Predicates that follow one knob through its values."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, pairwise, product
from typing import Any

import numpy as np

from ablate.analysis.frames import value_text as shown
from ablate.claims.comparison import Comparison
from ablate.claims.measured import Samples
from ablate.claims.predicates import Predicate, within
from ablate.claims.settings import Group, Key, absent, in_size
from ablate.claims.statements import Statement, every, some


@dataclass(frozen=True, kw_only=True)
class Along(Predicate):
    """A predicate on the values of one knob."""

    along: str

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.along,)

    def values(self, group: Group) -> list[Any]:
        return in_size([key[0] for key in group.settings])

    def part(
        self, group: Group, data: Samples, a: Any, b: Any, bound: float | None = None, below: bool = True
    ) -> Comparison:
        """One value of the knob against another."""
        text = f"{self.along} {shown(a)}{data.kind.between}{shown(b)}"
        return data.part(text, group.where, data.compare(group.settings[a,], group.settings[b,]), bound, below)

    def steps(self, group: Group, data: Samples, values: list[Any], falls: bool, margin: float) -> list[Statement]:
        """Every step from one value to the next goes this way, or the other by no more than the margin."""
        bound = data.kind.beyond(margin if falls else -margin)
        return [self.part(group, data, b, a, bound, below=falls) for a, b in pairwise(values)]


@dataclass(frozen=True, kw_only=True)
class Order(Along):
    """The metric grows from each of the values to the next; several values may share a place, in whatever order."""

    ascending: tuple[tuple[Any, ...], ...]

    @property
    def named(self) -> list[Any]:
        return list(chain.from_iterable(self.ascending))

    def relevant(self, key: Key) -> bool:
        return key[0] in self.named

    def missing(self, present: Collection[Key]) -> list[str]:
        return absent(self.keys, [(value,) for value in self.named], present)

    def statement(self, group: Group, data: Samples) -> Statement:
        neighbours = chain.from_iterable(product(*places) for places in pairwise(self.ascending))
        return every([self.part(group, data, a, b) for a, b in neighbours])


@dataclass(frozen=True, kw_only=True)
class Monotone(Along):
    """The metric falls (or rises) from each value of the knob to the next larger one.

    With a margin a step may go the other way by as much, as on a plateau; from the smallest to the largest value the
    metric must fall none the less.
    """

    falls: bool
    margin: float = 0.0

    def missing(self, present: Collection[Key]) -> list[str]:
        return few(self.along, present, 2)

    def statement(self, group: Group, data: Samples) -> Statement:
        values = self.values(group)
        parts = self.steps(group, data, values, self.falls, self.margin)
        if self.margin:
            parts.append(self.part(group, data, values[-1], values[0], below=self.falls))
        return every(parts)


@dataclass(frozen=True, kw_only=True)
class UShape(Along):
    """The metric falls up to the optimum and rises beyond it; `peak`: it rises, then falls.

    With a margin single steps may go the other way by as much, but the optimum must beat every other value.
    Without an optimum, some value between the ends is meant, whichever it be.
    """

    optimum: Any = None
    peak: bool = False
    margin: float = 0.0

    def missing(self, present: Collection[Key]) -> list[str]:
        values = in_size([key[0] for key in present])
        if self.optimum is None:
            return few(self.along, present, 3)
        lacking = absent(self.keys, [(self.optimum,)], present)
        if not lacking and values[0] == self.optimum:
            lacking = [f"{self.along} below {shown(self.optimum)}"]
        elif not lacking and values[-1] == self.optimum:
            lacking = [f"{self.along} above {shown(self.optimum)}"]
        return lacking

    def statement(self, group: Group, data: Samples) -> Statement:
        values = self.values(group)
        candidates = values[1:-1] if self.optimum is None else [self.optimum]
        return some([self.turning_at(values.index(value), values, group, data) for value in candidates])

    def turning_at(self, turn: int, values: list[Any], group: Group, data: Samples) -> Statement:
        parts = self.steps(group, data, values[: turn + 1], not self.peak, self.margin)
        parts += self.steps(group, data, values[turn:], self.peak, self.margin)
        if self.margin:
            others = [value for value in values if value != values[turn]]
            parts += [self.part(group, data, values[turn], value, below=not self.peak) for value in others]
        return every(parts)


@dataclass(frozen=True, kw_only=True)
class NoTrend(Along):
    """From the smallest to the largest value the metric changes by less than the margin, as a fitted line has it.

    The line is that of the metric's logarithm (of the metric itself where it may be 0) on the logarithm of the knob (on
    the knob itself where it may be 0).
    """

    margin: float

    def missing(self, present: Collection[Key]) -> list[str]:
        return few(self.along, [key for key in present if key[0] is not None], 3)

    def statement(self, group: Group, data: Samples) -> Statement:
        values = [value for value in self.values(group) if value is not None]
        x = np.array(values, dtype=float)
        x = np.log(x) if (x > 0).all() else x
        centred = x - x.mean()
        slopes = centred / (centred**2).sum() * (x[-1] - x[0])
        test = data.contrast({group.settings[value,]: float(w) for value, w in zip(values, slopes, strict=True)})
        text = f"{self.along} {shown(values[-1])}{data.kind.between}{shown(values[0])}, fitted"
        return within(text, group, data, test, self.margin)


@dataclass(frozen=True, kw_only=True)
class Narrows(Along):
    """The first of a pair lies above the second, by less at the knob's largest value than at its smallest.

    By a factor, or by a difference where the metric may be 0.
    """

    knob: str
    pair: tuple[Any, Any]

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.knob, self.along)

    def relevant(self, key: Key) -> bool:
        return key[0] in self.pair

    def common(self, present: Collection[Key]) -> list[Any]:
        first, second = ({value for one, value in present if one == of} for of in self.pair)
        return in_size(first & second)

    def missing(self, present: Collection[Key]) -> list[str]:
        if len(self.common(present)) >= 2:
            return []
        a, b = map(shown, self.pair)
        return [f"a second {self.along} that both {self.knob}={a} and {self.knob}={b} have"]

    def statement(self, group: Group, data: Samples) -> Statement:
        small, *_, large = self.common(group.settings)
        a, b = self.pair
        settings = [group.settings[key] for key in ((a, large), (b, large), (a, small), (b, small))]
        between = data.kind.between
        at_large, at_small = (data.part("", "", data.compare(*pair)).plainly for pair in (settings[:2], settings[2:]))
        ends = f"{at_small} at {self.along}={shown(small)}, {at_large} at {shown(large)}"
        text = f"{self.knob} {shown(a)}{between}{shown(b)} ({ends})"
        change = data.contrast(dict(zip(settings, (1.0, -1.0, -1.0, 1.0), strict=True)))
        mean = data.contrast(dict(zip(settings, (0.5, -0.5, 0.5, -0.5), strict=True)))
        return every(
            [
                data.part(f"{text}, {self.along} {shown(large)}{between}{shown(small)}", group.where, change),
                # With the first part this says that it is the size of the gap that shrinks, not only its sign.
                data.part(f"{text}, mean of both", group.where, mean, below=False),
            ]
        )


def few(along: str, present: Collection[Key], least: int) -> list[str]:
    """A trend needs at least so many values."""
    return [] if len(present) >= least else [f"a {['', 'second', 'third'][least - 1]} value of {along}"]
