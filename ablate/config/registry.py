"""What can be chosen by name: cells, tasks, data sets, optimizers, schedules, metrics, figures.

Each is one object that owns its facts; help, validation, identity, columns and labels are derived from them. What the
package ships registers itself in the same way as what a user brings.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Generic, Protocol, TypeVar

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
    unknown: Callable[[str], T] | None = None
    """What stands for a name that stored runs have and nothing here: that of a file of the user's that isn't loaded."""

    every: ClassVar[list[Registry[Any]]] = []

    def __post_init__(self) -> None:
        self.every.append(self)

    def add(self, thing: T) -> T:
        """Raises ConfigError where something else has the name already."""
        load_shipped()
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

    def __len__(self) -> int:
        load_shipped()
        return len(self.found)

    def items(self) -> ItemsView[str, T]:
        load_shipped()
        return self.found.items()

    def get(self, name: str) -> T | None:
        load_shipped()
        return self.found.get(name)

    def known(self, name: str) -> T:
        """The thing of this name, or where there is none what stands for it: to read what was stored with it."""
        load_shipped()
        if name not in self.found and self.unknown is not None:
            return self.unknown(name)
        return self[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(thing.name for thing in self)


TASKS: Registry[Any] = Registry("task")
"""Of `ablate.tasks.facts.Task`."""
DATASETS: Registry[Any] = Registry("data set")
"""Of `ablate.data.sets.DataSet`."""
FIGURES: Registry[Any] = Registry("figure")
"""Of `ablate.report.sections.Figure`."""

FIRST_TASK = "language_model"
"""The task of records that name none: what was trained before there were others."""


def task_name(config: Mapping[str, Any]) -> str:
    """The name of a stored config's task."""
    return str(config.get("task", {}).get("name", FIRST_TASK))


SHIPPED: list[str] = ["ablate.data.sets", "ablate.tasks.shipped"]
"""The modules that register what the package ships, none of which imports torch."""


def load_shipped() -> None:
    """Import them, once."""
    while SHIPPED:
        import_module(SHIPPED.pop(0))


def resolved(reference: Any) -> Any:
    """What `module:name` names, imported now; anything else is returned as it is."""
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


@contextmanager
def scoped() -> Iterator[None]:
    """What is added within is taken away at the end: for tests, and for a file that fails half-way."""
    load_shipped()
    before = [(registry, dict(registry.found), dict(registry.origin)) for registry in Registry.every]
    try:
        yield
    finally:
        for registry, found, origin in before:
            registry.found, registry.origin = found, origin
