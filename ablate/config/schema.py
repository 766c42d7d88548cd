"""The typed configuration: what every knob may be, and which of them decide an outcome.

Here are the knobs that all settings have in common. A cell, a task, an optimizer … declares those that it has of its
own (`ablate.config.registry.Knob`); their values stand in `own` of the part that names it, and are read as
`config.task.masked`.
Values and their explanations stand once, in `conf/`. What is legal is checked in `ablate.config.validation`; what
makes two runs the same run is said in `ablate.config.identity`.
Facts about a common knob are declared in its field's metadata and nowhere else:

    identity      False: the knob only says how or where a run is computed, not what comes out
    through       of a knob that is no part of the identity itself: what it decides an outcome through
    needs         what a setting must have for the knob to be read
    prose         True: a text for people, in which a comma is a comma
    follows       the knobs, by their names in frames, that may bring along a value of this one by their meaning
    absent        the value at which the knob is no part of a run's identity: that of runs older than the knob
    per_replica   True: runs that differ in this knob alone can still train as one batched program
    choices       the legal values of a string
    words         those of a string in the place of a number
    minimum       the smallest legal number
    above, below  exclusive bounds
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

from omegaconf import MISSING

from ablate.config.registry import FIRST_TASK, OF_GROUP, Knob, knobs_of, own_knobs

PACKAGE_DIR = Path(__file__).resolve().parents[1]
CONFIG_ROOT = PACKAGE_DIR if (PACKAGE_DIR / "conf").is_dir() else PACKAGE_DIR.parent
"""The folder that holds `conf/` and `sweeps/`: the package itself when installed from a wheel."""

PUBLISHED_DIR = CONFIG_ROOT / ("published" if CONFIG_ROOT == PACKAGE_DIR else "results/published")
"""The folder of the published numbers, as CSV."""


def knob(default: Any = MISSING, **metadata: Any) -> Any:
    """A field whose value comes from `conf/`, with its metadata; `default` is for records older than the knob."""
    return field(default=default, metadata=metadata)


class Part:
    """A part of a config, which names a thing of a registry and holds, beside common knobs, those of that thing.

    `own` has a value for each knob that the thing declares, and what was given of others in spite of that, which
    decides nothing.
    """

    group: ClassVar[str]
    chosen_by: ClassVar[str] = "name"
    own: dict[str, Any]

    @property
    def thing(self) -> Any:
        """What it names. Raises ConfigError where nothing has that name."""
        return OF_GROUP[self.group][getattr(self, self.chosen_by)]

    @property
    def own_knobs(self) -> tuple[Knob, ...]:
        """The knobs that the thing declares; none where it is not known here."""
        return knobs_of(OF_GROUP[self.group].get(getattr(self, self.chosen_by)))

    @property
    def source(self) -> str | None:
        """The hash of the user's file that the thing comes from; None for what ablate ships."""
        return OF_GROUP[self.group].origin.get(getattr(self, self.chosen_by))

    def __getattr__(self, name: str) -> Any:
        """A knob of the thing's own; of one that others declare, what it is where it does not exist."""
        own = self.__dict__.get("own", {})
        if name in own:
            return own[name]
        if not name.startswith("_") and name in (declared := own_knobs(self.group)):
            return deepcopy(declared[name][0].off)
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def values(self) -> dict[str, Any]:
        """Its knobs by their names, the common ones and those of the thing, as they are stored in a record."""
        known = {knob.name for knob in self.own_knobs}
        keeps = OF_GROUP[self.group].get(getattr(self, self.chosen_by)) is None
        common = {f.name: getattr(self, f.name) for f in fields(cast(Any, self)) if f.name != "own"}
        every = common | {name: value for name, value in self.own.items() if keeps or name in known}
        return {name: deepcopy(value) if isinstance(value, dict | list) else value for name, value in every.items()}

    @classmethod
    def of(cls, values: Mapping[str, Any], given: bool = False) -> Self:
        """From the values of knobs, the common ones and those of the thing.

        What is not there has the value that it had before there was the knob, or with `given` its default. Of knobs
        that only others declare `given` keeps what is not their default, so that it can be said that nothing reads it.
        """
        common = {f.name: values[f.name] for f in fields(cast(Any, cls)) if f.name in values and f.name != "own"}
        rest = {name: value for name, value in values.items() if name not in common}
        bare = cls(**common)
        if OF_GROUP[cls.group].get(getattr(bare, cls.chosen_by)) is None:
            return cls(**common | {"own": rest})  # of a file of the user's that is not loaded
        own = {knob.name: rest.get(knob.name, deepcopy(knob.default if given else knob.off)) for knob in bare.own_knobs}
        for name, (knob, _) in own_knobs(cls.group).items() if given else ():
            if name not in own and name in rest and rest[name] != knob.off:
                own[name] = rest[name]
        return cls(**common | {"own": own})

    def but(self, **changed: Any) -> Self:
        """The same with other values of some knobs."""
        return type(self).of({**self.values(), **self.own, **changed}, given=True)

    def copied(self) -> Self:
        """The same in containers of its own."""
        twin = object.__new__(type(self))
        for name, value in self.__dict__.items():
            twin.__dict__[name] = deepcopy(value) if isinstance(value, dict | list) else value
        return twin


OWN = {"own": True}
"""The metadata of the field with the knobs of a thing's own."""


ONE_VOCABULARY = "a network that reads and writes the tokens of one vocabulary; task=translation has task.embed"


FORGET_GATE = "a forget gate whose bias it sets; chrono sets that of any gate that keeps the state"


@dataclass(frozen=True)
class ModelConfig(Part):
    """A recurrent cell, what is changed in it, and how its layers are connected.

    An ablation is a change to one thing of the same cell.
    """

    group = "model"
    chosen_by = "cell"

    name: str = knob(identity=False)
    cell: str = knob(follows=("model",))
    gates: dict[str, float] = field(default_factory=dict, metadata={"follows": ("model",)})
    """The gates that are held at a constant; one of null, as it can be typed, is not."""
    readout: str = knob(choices=("state", "candidate"), follows=("model",))
    write_back: bool = knob(follows=("model",))
    bidirectional: bool = knob(default=False, absent=False)
    connection: str = knob(
        default="plain",
        absent="plain",
        choices=("plain", "residual", "dense"),
        needs="another layer to connect",
        follows=("layers",),
    )
    transition: int | None = knob(
        default=None, absent=None, minimum=1, needs="another layer to connect", follows=("layers", "connection")
    )
    embedding: int | None = knob(
        default=None, absent=None, minimum=1, needs=ONE_VOCABULARY, follows=("tied", "num_hiddens")
    )
    tied: bool = knob(default=False, absent=False, needs=ONE_VOCABULARY)
    own: dict[str, Any] = field(default_factory=dict, metadata=OWN)

    @property
    def has_reset_gate(self) -> bool:
        gate = self.thing.reset_gate
        return gate is not None and gate not in self.gates

    @property
    def has_forget_gate(self) -> bool:
        """Whether there is a bias of a forget gate, which `forget_bias` sets."""
        gate = self.thing.forget_gate
        return gate is not None and gate not in self.gates and not self.own.get("coupled")

    @property
    def timescales(self) -> dict[str, int]:
        """The gates with a bias that `forget_bias=chrono` draws: 1 for one that keeps the state near 1, −1 near 0."""
        off = {"forget"} if self.own.get("coupled") else set()
        return {gate: sign for gate, sign in self.thing.timescales.items() if gate not in {*self.gates, *off}}

    @property
    def stacks_plainly(self) -> bool:
        """Whether each layer reads the outputs of the one below it and nothing else, from the past to the future.

        The first one reads tokens as they are, without an embedding.
        """
        straight = self.connection == "plain" and self.transition is None and not self.bidirectional
        return straight and self.embedding is None


@dataclass(frozen=True)
class TaskConfig(Part):
    """What the network is trained to do with its data."""

    group = "task"

    name: str = knob(default=FIRST_TASK)
    own: dict[str, Any] = field(default_factory=dict, metadata=OWN)


FILES_OF_PARTS = ("train", "valid", "test")
"""The knobs of `data` that give a text in files: one to train on, one to choose by, one to report by."""


@dataclass(frozen=True)
class DataConfig(Part):
    """A text, or pairs of sentences, and how they become tokens; or the name of a memory task."""

    group = "data"

    name: str = knob()
    tokens: str = knob(
        choices=("char", "word"),
        otherwise=" (what a token is); max_tokens=… says how many",
        follows=("corpus", "task"),
    )
    cleaning: str = knob(choices=("letters", "keep"), follows=("corpus", "task"))
    path: str | None = knob(default=None, follows=("corpus", "task"))
    train: str | None = knob(default=None, follows=("corpus", "task"))
    valid: str | None = knob(default=None, follows=("corpus", "task"))
    test: str | None = knob(default=None, follows=("corpus", "task"))
    file: str | None = knob(default=None, follows=("corpus", "task"))
    sha256: str | None = knob(default=None, follows=("corpus", "task"))
    urls: list[str] = field(default_factory=list, metadata={"identity": False, "follows": ("corpus", "task")})
    own: dict[str, Any] = field(default_factory=dict, metadata=OWN)


@dataclass(frozen=True)
class OptimizerConfig(Part):
    """An update rule; `lr` is its default learning rate, which the top-level `lr` overrides."""

    group = "optimizer"

    name: str = knob()
    lr: float = knob(identity=False, through="lr")
    own: dict[str, Any] = field(default_factory=dict, metadata=OWN)


@dataclass(frozen=True)
class ScheduleConfig(Part):
    """How the learning rate changes over a run."""

    group = "schedule"

    name: str = knob(default="constant")
    own: dict[str, Any] = field(default_factory=dict, metadata=OWN)


PARTS: dict[str, type[Part]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "task": TaskConfig,
}
"""The parts of a config by their names."""

for _group, _part in PARTS.items():
    OF_GROUP[_group].reserved = frozenset(dir(_part)) | {f.name for f in fields(cast(Any, _part))}


@dataclass(frozen=True)
class Config:
    """Everything that decides the outcome of a cell, and how and where to compute it, as it was given.

    What follows from other knobs may be None: see `ablate.config.resolved`.
    """

    model: ModelConfig = field(default_factory=ModelConfig, metadata={"follows": ("task",)})
    data: DataConfig = field(
        default_factory=DataConfig, metadata={"identity": False, "through": "the text", "follows": ("task",)}
    )
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig, metadata={"follows": ("task",)})
    schedule: ScheduleConfig = field(
        default_factory=ScheduleConfig, metadata={"absent": ScheduleConfig(), "per_replica": True}
    )
    task: TaskConfig = field(default_factory=TaskConfig)

    num_hiddens: int = knob(minimum=1, follows=("task",))
    layers: int = knob(minimum=1, follows=("task",))
    dropout: float = knob(
        minimum=0,
        below=1,
        per_replica=True,
        needs="two layers or more, between which it acts",
        follows=("layers", "task"),
    )
    dropout_in: float = knob(default=0.0, absent=0.0, minimum=0, below=1, per_replica=True, follows=("task",))
    dropout_out: float = knob(default=0.0, absent=0.0, minimum=0, below=1, per_replica=True, follows=("task",))
    dropout_mask: str = knob(
        default="step",
        absent="step",
        choices=("step", "variational"),
        needs="something that is dropped: dropout, dropout_in or dropout_out",
        follows=("task",),
    )
    formulation: str = knob(choices=("torch", "textbook"), through="init, reset and bias_vectors")
    init: str | None = knob(
        choices=("torch", "normal", "xavier", "orthogonal", "identity"), follows=("formulation", "task")
    )
    init_scale: float = knob(
        default=1.0, absent=1.0, above=0, needs="a matrix that it scales: init=identity or init=orthogonal"
    )
    forget_bias: int | float | str | None = knob(
        default=None, absent=None, words=("chrono",), needs=FORGET_GATE, follows=("model",)
    )
    t_max: int | None = knob(
        default=None, absent=None, minimum=2, needs="forget_bias=chrono", follows=("forget_bias", "num_steps", "model")
    )
    reset: str | None = knob(
        choices=("before", "after"), needs="a gru with a reset gate", follows=("formulation", "model")
    )
    bias_vectors: int | None = knob(choices=(1, 2), needs="a cell with a recurrent product", follows=("formulation",))

    num_steps: int = knob(minimum=1, follows=("task",))
    batch_size: int = knob(minimum=1, follows=("task",))
    sampling: str = knob(
        choices=("sequential", "random", "sequential-reset"), needs="a task on a text", follows=("task",)
    )
    max_tokens: int | None = knob(minimum=2, needs="a task on a text", follows=("task",))
    val_tokens: int = knob(
        minimum=0, needs="a task on a text; task=translation holds out task.val_pairs", follows=("task",)
    )

    test_tokens: int = knob(default=0, absent=0, minimum=0, needs="a task on a text", follows=("task",))

    lr: float = knob(above=0, per_replica=True, follows=("optimizer", "task"))
    clip: float | None = knob(above=0, per_replica=True, follows=("task",))
    clip_by: str = knob(
        default="norm",
        absent="norm",
        choices=("norm", "value"),
        needs="a clip",
        follows=("clip", "task"),
    )
    precision: str = knob(default="ieee", choices=("ieee", "tf32", "bf16"), absent="ieee")
    epochs: int = knob(minimum=1, follows=("task",))
    updates: int | None = knob(default=None, minimum=1, identity=False, through="epochs")
    patience: int | None = knob(default=None, absent=None, minimum=1, per_replica=True, follows=("task",))
    until: str | None = knob(default=None, absent=None, per_replica=True, follows=("task",))
    budget: str | None = knob(default=None, absent=None, per_replica=True, follows=("task",))

    seed: int = knob(minimum=0, per_replica=True)
    seeds: int = knob(minimum=1, identity=False)

    match: str | None = knob(default=None, choices=("params",), identity=False, through="num_hiddens")

    engine: str = knob(choices=("auto", "cohort", "torch_nn", "eager"), identity=False)
    device: str = knob(identity=False)
    cuda_graphs: bool = knob(default=True, identity=False)
    threads: int | None = knob(minimum=1, identity=False)
    stalled_min: float | None = knob(default=None, above=0, identity=False)
    deterministic: bool = knob(default=False, identity=False)

    name: str | None = knob(identity=False)
    title: str | None = knob(default=None, identity=False, prose=True)
    results_dir: str = knob(identity=False)
    fresh: bool = knob(identity=False)
    keep: str | None = knob(default=None, choices=("weights",), identity=False)
    report: bool = knob(default=True, identity=False)
    speed: bool = knob(identity=False)
    speed_s: float = knob(above=0, identity=False)
    plugins: list[str] = field(default_factory=list, metadata={"identity": False})
    prefixes: list[str] = field(
        default_factory=list, metadata={"identity": False, "needs": "a text to continue, which a rule has not"}
    )

    def but(self, **changed: Any) -> Self:
        """The same with other values of some knobs."""
        return replace(self, **changed)


AnyConfig = TypeVar("AnyConfig", bound=Config)


def with_seed(config: AnyConfig, replica: int) -> AnyConfig:
    """Run number `replica` of a cell: its seed is `seed + replica`."""
    return config.but(seed=config.seed + replica)


def to_dict(config: Config) -> dict[str, Any]:
    """Plain containers, as stored in a record."""
    parts = {f.name: getattr(config, f.name) for f in fields(config)}
    return {name: value.values() if isinstance(value, Part) else deepcopy(value) for name, value in parts.items()}
