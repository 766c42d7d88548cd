"""What can be chosen by name: cells, tasks, data sets, optimizers, schedules, metrics, figures.

Each is one object that owns its facts; help, validation, identity, columns and labels are derived from them. What the
package ships registers itself in the same way as what a user brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar

from ablate.config.errors import ConfigError, listing, nearest

ALWAYS = object()
"""As `absent` of a knob: whatever its value, it is part of a run's identity."""


@dataclass(frozen=True)
class Knob:
    """A knob that a cell, a task, a data set or an optimizer has of its own.

    `kind` is the type of its values, `float`, `int | None`, `list[float]`; a bool is typed true or false.
    """

    name: str
    kind: Any
    default: Any
    help: str = ""
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    above: float | None = None
    below: float | None = None
    decides: bool = True
    """Whether another value makes another run."""
    per_replica: bool = False
    """Whether runs that differ in it alone can still train as one program."""
    absent: Any = ALWAYS
    """The value at which it is no part of a run's identity: that of runs older than the knob."""


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass
class Registry(Generic[T]):
    """The things of one kind by their names, in the order in which they were added."""

    kind: str
    found: dict[str, T] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    """Name → hash of the source of the user's file that added it; what the package ships has none."""

    def add(self, thing: T) -> T:
        """Raises ConfigError where something else has the name already."""
        if thing.name in self.found:
            raise ConfigError(f"there is a {self.kind} {thing.name!r} already; give yours another name")
        self.found[thing.name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        """Raises ConfigError, with the choices, for a name that nothing has."""
        load_shipped()
        if name not in self.found:
            names = list(self.found)
            raise ConfigError(f"there is no {self.kind} {name!r}; choose {listing(names)}{nearest(name, names)}")
        return self.found[name]

    def __contains__(self, name: object) -> bool:
        load_shipped()
        return name in self.found

    def __iter__(self) -> Iterator[T]:
        load_shipped()
        return iter(self.found.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(thing.name for thing in self)


CELLS: Registry[Any] = Registry("cell")
"""Of `ablate.cells.cell.Cell`."""

SHIPPED: list[str] = ["ablate.cells.shipped"]
"""The modules that register what the package ships, none of which imports torch."""


def load_shipped() -> None:
    """Import them, once."""
    while SHIPPED:
        import_module(SHIPPED.pop(0))
