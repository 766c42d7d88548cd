"""The grid of a sweep: the product of its axes, each a knob with its values, or several knobs that change together."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from ablate.config.errors import ConfigError
from ablate.config.overrides import Override, checked_rows

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override as Parsed


MOST_SETTINGS = 1_000_000
"""More jobs than these are a mistake of typing, and would fill the memory before anything says so."""


@dataclass(frozen=True)
class Axis:
    """What one setting takes of it is a row: an override for each of its knobs."""

    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, override: "Parsed") -> "Axis":
        """The values of one knob, as Hydra has parsed them. Raises ConfigError for more than MOST_SETTINGS."""
        key = override.get_key_element()
        if override.is_sweep_override():
            some = itertools.islice(texts_of(override), MOST_SETTINGS + 1)
            rows = tuple((f"{key}={value}",) for value in some)
            if len(rows) > MOST_SETTINGS:
                raise ConfigError(
                    f"{override.input_line} is more than {MOST_SETTINGS:,} settings; "
                    f"give values of {MOST_SETTINGS:,} at most"
                )
            return cls(rows)
        return cls(((f"{key}={override.get_value_element_as_str()}",),))

    @classmethod
    def zipped(cls, word: str) -> "Axis":
        """The rows of `num_hiddens:lr=32:1,64:0.5`. Raises ConfigError for what cannot be one."""
        return cls(tuple(tuple(map(str, row)) for row in checked_rows(Override.read(word))))

    @property
    def knobs(self) -> set[str]:
        return {Override.read(word).key for row in self.rows for word in row}

    def without(self, knobs: set[str]) -> "Axis":
        """The same without the values of some knobs, which are given elsewhere."""
        kept = (tuple(word for word in row if Override.read(word).key not in knobs) for row in self.rows)
        return Axis(tuple(dict.fromkeys(kept)))


def texts_of(override: "Parsed") -> Iterator[str]:
    """The values of a knob that is swept, as they are written."""
    from hydra.core.override_parser.types import RangeSweep

    typed = override.value()
    if not isinstance(typed, RangeSweep) or isinstance(typed.range(), range):
        yield from override.sweep_string_iterator()
        return
    assert typed.start is not None
    for text in override.sweep_string_iterator():
        yield str(on_steps(float(text), typed.start, typed.step))


def on_steps(value: float, start: float, step: float) -> float:
    """A value of a range as one would type it: 0.3, where adding 0.1 to itself gives 0.30000000000000004.

    It is the same setting then, and has the same runs, as where it is typed.
    """
    digits = (-int(Decimal(repr(float(number))).as_tuple().exponent) for number in (start, step))
    return round(value, max(digits))


def product(axes: Iterable[Axis]) -> list[list[str]]:
    """The overrides of every combination, the last axis varying fastest; a knob of two axes has the later's values."""
    kept: list[Axis] = []
    for axis in axes:
        kept = [before.without(axis.knobs) for before in kept] + [axis]
    return [list(itertools.chain(*rows)) for rows in itertools.product(*(axis.rows for axis in kept))]


def portions(jobs: Sequence[list[str]], size: int | None) -> list[list[list[str]]]:
    """The jobs in their order, in lists of at most `size`; all in one without."""
    size = size or max(1, len(jobs))
    return [list(jobs[first : first + size]) for first in range(0, len(jobs), size)]
