"""What can be chosen by name: cells, tasks, data sets, optimizers, schedules, metrics, figures.

Each is one object that owns its facts; help, validation, identity, columns and labels are derived from them. What the
package ships registers itself in the same way as what a user brings (`ablate.config.plugins`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, field, fields, make_dataclass
from functools import partial
from hashlib import sha256
from importlib import import_module
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from ablate.config.code_hash import code_hash, named_hash
from ablate.config.errors import ConfigError, listing, nearest, with_article


class NameTaken(ConfigError):
    """Something else has the name already."""


TYPED = " of the letters a to z, digits and _, which a command can spell"
"""Behind what is said of a name that is a key on the command line: Hydra's grammar has no other letters there."""

ALWAYS = object()
"""As `absent` of a knob: whatever its value, it is part of a run's identity."""


@dataclass(frozen=True)
class Knob:
    """A knob that a cell, a task, a data set or an optimizer has of its own.

    `kind` is the type of its values, `float`, `int | None`, `list[float]`; a bool is written as true or false.
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
    any_length: bool = False
    """Whether a list may have a different number of values from the default."""
    per_replica: bool = False
    """Whether runs that differ only in this knob can still train as one program."""
    absent: Any = ALWAYS
    """The value at which it is not part of a run's identity: that of runs older than the knob."""

    def __new__(cls, *_: Any, **facts: Any) -> Self:
        """Raises ConfigError for a fact that a knob has not, with those that it has."""
        names = [one.name for one in fields(cls)]
        for name in facts.keys() - {*names}:
            raise ConfigError(f"a knob has no {name!r}; choose {listing(names)}{nearest(name, names)}")
        return super().__new__(cls)

    @property
    def off(self) -> Any:
        """Its value where it is not there: in what was stored before there was the knob."""
        return self.default if self.absent is ALWAYS else self.absent

    @property
    def metadata(self) -> dict[str, Any]:
        """The same facts as a field of `ablate.config.schema` has them."""
        facts = {"choices": self.choices or None, "minimum": self.minimum, "above": self.above, "below": self.below}
        out: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
        out |= {"identity": self.decides} if not self.decides else {}
        out |= {"per_replica": True} if self.per_replica else {}
        return out if self.absent is ALWAYS else out | {"absent": self.absent}


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)

ORIGIN: ContextVar[str | None] = ContextVar("ORIGIN", default=None)
"""The SHA-256 of the user's source file that is being loaded."""


@dataclass
class Registry(Generic[T]):
    """The things of one kind by their names, in the order in which they were added."""

    kind: str
    found: dict[str, T] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    """Name → hash of the user's source that it comes from: of its file or else of its own code, and of the module that
    it names as its code; what the package ships has none."""
    file: dict[str, str] = field(default_factory=dict)
    """Name → hash of the user's file that added it."""
    typed: set[str] = field(default_factory=set)
    """The names of those of the user's that no file has added: in a notebook they are defined again and again."""
    unknown: Callable[[str], T] | None = None
    """What stands for a name that stored runs have and nothing here: that of a file of the user's that isn't loaded."""

    shipped: str = ""
    """`module:NAME` of what the package ships of this kind, where loading that takes so long that it waits until
    somebody asks."""
    recalls: Callable[[Mapping[str, Any]], None] | None = None
    """Makes known what a stored run tells of such a thing."""
    remembered: dict[str, T] = field(default_factory=dict)
    """What stored runs tell of things whose file is not loaded; what is loaded takes their place."""
    reserved: frozenset[str] = frozenset()
    """Names that no knob of a thing's own may have: those that the configuration has in common."""
    columns: Callable[[], Collection[str]] = frozenset
    """Columns of tables that no such thing may have the name of, where it has a column itself."""

    every: ClassVar[list[Registry[Any]]] = []

    def __post_init__(self) -> None:
        self.every.append(self)

    def _load(self) -> None:
        load_shipped()
        reference, self.shipped = self.shipped, ""
        if reference:
            token = ORIGIN.set(None)
            try:
                for thing in resolved(reference):
                    self.add(thing)
            finally:
                ORIGIN.reset(token)

    def add(self, thing: T) -> T:
        """Raises NameTaken where something else has the name already, ConfigError where a name cannot be typed.

        What a notebook or a script defines takes the place of what it defined by that name before.
        """
        self._load()
        source = ORIGIN.get()
        typed = None if source is not None else code_hash(thing)
        if self.remembered.pop(thing.name, None) is not None and thing.name not in self.origin:
            self.found.pop(thing.name, None)
        again = thing.name in self.typed and typed is not None
        if thing.name in self.found and not again and self.found[thing.name] != thing:
            raise NameTaken(f"there is {with_article(self.kind)} {thing.name!r} already; give yours another name")
        if not re.fullmatch(r"[A-Za-z_][\w.-]*", thing.name):
            raise ConfigError(
                f"{thing.name!r} is no name for {with_article(self.kind)}; begin with a letter, then letters, digits, _"
            )
        self.check_column(thing.name)
        names = [knob.name for knob in knobs_of(thing)]
        for name in names:
            if name in self.reserved or names.count(name) > 1 or not (name.isidentifier() and name.isascii()):
                spelt = "" if name.isascii() else TYPED
                raise ConfigError(
                    f"{self.kind} {thing.name}: its knob cannot be called {name!r}; give it another name{spelt}"
                )
        for knob in knobs_of(thing) if source is not None or typed is not None else ():
            number = knob.kind in (int, float) and self.kind in ("optimizer", "schedule")
            if knob.per_replica and not number:  # all other things are those of the first run of a program
                raise ConfigError(
                    f"{self.kind} {thing.name}: its knob {knob.name} is per_replica; in one program runs may differ in "
                    "numbers of their optimizer alone: leave per_replica out"
                )
            if not _can_be_given(knob):
                raise ConfigError(
                    f"{self.kind} {thing.name}: no command could give its knob {knob.name}, whose default is "
                    f"{knob.off!r:.40}; declare its type, as in ablate.Knob({knob.name!r}, float | None, None), or in "
                    f"the signature of a cell, {knob.name}: float | None = None"
                )
        self.found[thing.name] = thing
        if typed is not None:
            self.typed.add(thing.name)
        if source is not None:
            self.file[thing.name] = source
            named = named_hash(thing)
            self.origin[thing.name] = source if named is None else sha256((source + named).encode()).hexdigest()
        elif typed is not None:
            self.origin[thing.name] = typed
        return thing

    def check_column(self, name: str) -> None:
        """Raise ConfigError where tables have a column of that name for something else: values would be mixed up."""
        if name in self.columns():
            raise ConfigError(
                f"{with_article(self.kind)} cannot be called {name!r}, since tables have a column {name} of something "
                "else; give it another name"
            )

    def remove(self, name: str) -> None:
        del self.found[name]
        self.origin.pop(name, None)
        self.file.pop(name, None)
        self.typed.discard(name)

    def __getitem__(self, name: str) -> T:
        """Raises ConfigError, with the choices, for a name that nothing has."""
        self._load()
        if name not in self.found:
            names = list(self.found)
            raise ConfigError(f"there is no {self.kind} {name!r}; choose {listing(names)}{nearest(name, names)}")
        return self.found[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self.found

    def __iter__(self) -> Iterator[T]:
        self._load()
        return iter(self.found.values())

    def __len__(self) -> int:
        self._load()
        return len(self.found)

    def items(self) -> ItemsView[str, T]:
        self._load()
        return self.found.items()

    def get(self, name: str) -> T | None:
        self._load()
        return self.found.get(name)

    def known(self, name: str) -> T:
        """The thing of this name, or where there is none what stands for it: to read what was stored with it."""
        self._load()
        if name not in self.found and name in self.remembered:
            return self.remembered[name]
        if name not in self.found and self.unknown is not None:
            return self.unknown(name)
        return self[name]

    def recall(self, record: Mapping[str, Any]) -> None:
        """Let what a stored run tells of its thing be known where that is not loaded."""
        self._load()
        if self.recalls is not None:
            self.recalls(record)

    def remember(self, thing: T, to_choose: bool = False) -> None:
        """Let a thing that isn't loaded be known as stored runs tell of it; `to_choose`: for `in` and `[]`, too."""
        self._load()
        if thing.name not in self.found or thing.name in self.remembered:
            self.remembered[thing.name] = thing
            if to_choose:
                self.found[thing.name] = thing

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(thing.name for thing in self)


def _can_be_given(knob: Knob) -> bool:
    """Whether a configuration can hold values of its type, the default among them."""
    from omegaconf import OmegaConf  # here: what the package ships is known to be so
    from omegaconf.errors import OmegaConfBaseException

    default = field(default_factory=partial(deepcopy, knob.off))
    try:
        OmegaConf.structured(make_dataclass("Holder", [("value", knob.kind, default)]))
    except OmegaConfBaseException:
        return False
    return True


CELLS: Registry[Any] = Registry("cell")
"""Of `ablate.cells.cell.Cell`."""
TASKS: Registry[Any] = Registry("task")
"""Of `ablate.tasks.facts.TaskFacts`."""
DATASETS: Registry[Any] = Registry("data set")
"""Of `ablate.data.sets.DataSet`."""
OPTIMIZERS: Registry[Any] = Registry("optimizer")
"""Of `ablate.optimizers.optimizer.Optimizer`."""
SCHEDULES: Registry[Any] = Registry("schedule")
"""Of `ablate.optimizers.schedule.Schedule`."""
FIGURES: Registry[Any] = Registry("figure", shipped="ablate.report.figures:SHIPPED")
"""Of `ablate.report.sections.Figure`, or `Figures`."""

OF_GROUP: dict[str, Registry[Any]] = {
    "model": CELLS,
    "data": DATASETS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "task": TASKS,
}
"""Group of the configuration → what is chosen there, whose knobs are typed as `group.knob=`."""

FIRST_TASK = "language_model"
"""The task of records that name none: what was trained before there were others."""


NO_DATA = "none"
"""The unit of a stored run of which only its task is known: one without a network, or data, of ours."""


def task_name(config: Mapping[str, Any]) -> str:
    """The name of a stored config's task."""
    return str(config.get("task", {}).get("name", FIRST_TASK))


SHIPPED: list[str] = [
    "ablate.cells.shipped",
    "ablate.data.sets",
    "ablate.tasks.shipped",
    "ablate.optimizers.rules",
    "ablate.optimizers.schedules",
    "ablate.config.installed",
]
"""The modules that register what the package ships, none of which imports torch; then what installed packages bring."""


def load_shipped() -> None:
    """Import them, once."""
    while SHIPPED:
        name = SHIPPED.pop(0)
        token = ORIGIN.set(None)
        try:
            import_module(name)
        finally:
            ORIGIN.reset(token)


def knobs_of(thing: Any) -> tuple[Knob, ...]:
    """The knobs that a thing has of its own, if any."""
    found: tuple[Knob, ...] = getattr(thing, "knobs", ())
    return found


def own_knobs(group: str) -> dict[str, tuple[Knob, tuple[str, ...]]]:
    """Knob that things of a group have of their own → what declares it first, and the names of all that have it."""
    load_shipped()
    things = list(OF_GROUP[group].found.values())
    known, found = _OWN_KNOBS.get(group, ([], {}))
    if known != things:
        found = _own_knobs(things)
        _OWN_KNOBS[group] = (things, found)
        _REVISIONS[group] = _REVISIONS.get(group, 0) + 1
    return found


def revision() -> tuple[int, ...]:
    """Numbers that change whenever there are other things to choose from, in a group of the configuration.

    Asked for every knob of every setting, hence without a call for each group.
    """
    load_shipped()
    for group, registry in OF_GROUP.items():
        if group not in _OWN_KNOBS or _OWN_KNOBS[group][0] != list(registry.found.values()):
            own_knobs(group)
    return tuple(_REVISIONS[group] for group in OF_GROUP)


_REVISIONS: dict[str, int] = {}
_OWN_KNOBS: dict[str, tuple[list[Any], dict[str, tuple[Knob, tuple[str, ...]]]]] = {}


def _own_knobs(things: Iterable[Any]) -> dict[str, tuple[Knob, tuple[str, ...]]]:
    first: dict[str, Knob] = {}
    owners: dict[str, list[str]] = {}
    for thing in things:
        for knob in knobs_of(thing):
            first.setdefault(knob.name, knob)
            owners.setdefault(knob.name, []).append(thing.name)
    return {name: (knob, tuple(owners[name])) for name, knob in first.items()}


def resolved(reference: Any) -> Any:
    """What `module:name` names, imported now; anything else is returned as it is."""
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def snapshot() -> Callable[[], None]:
    """What takes away whatever is added from now on."""
    load_shipped()
    before = [
        (one, dict(one.found), dict(one.origin), dict(one.file), set(one.typed), dict(one.remembered), one.shipped)
        for one in Registry.every
    ]

    def restore() -> None:
        for registry, found, origin, file, typed, remembered, shipped in before:
            registry.found, registry.origin, registry.file, registry.typed = found, origin, file, typed
            registry.remembered, registry.shipped = remembered, shipped

    return restore


@contextmanager
def scoped() -> Iterator[None]:
    """What is added within is taken away at the end: for tests, and for a file that fails half-way."""
    restore = snapshot()
    try:
        yield
    finally:
        restore()


def added_by(source: str) -> Iterable[tuple[Registry[Any], str]]:
    """What a user's file, by the hash of its source, has added."""
    return [(registry, name) for registry in Registry.every for name, by in registry.file.items() if by == source]
