"""Every knob by the name that is typed, `data.path`: its type and metadata, and what is said of a name that is none."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from ablate.config import former_names
from ablate.config.errors import listing, nearest
from ablate.config.registry import CELLS, OF_GROUP, knobs_of, own_knobs, revision
from ablate.config.schema import Config

GROUPS = (*OF_GROUP, "sweeps")
"""What is chosen among registered things and the files of a folder, in conf/, in sweeps/, or of one's own."""

GATE = "model.gates."
"""A gate that a model fixes, `model.gates.reset=1`: the only keys that a model may lack."""

HELP_HINT = "(ablate run --help lists them)"


@dataclass(frozen=True)
class NamedKnob:
    """A knob by the name that is typed, `data.path`: its type and the metadata of its field."""

    name: str
    kind: Any
    metadata: Mapping[str, Any]
    owners: tuple[str, ...] = ()
    """The things that have it of their own; none: all settings have it."""

    @property
    def decides(self) -> bool:
        """Whether it decides an outcome, by itself or through another knob: what does not cannot be swept."""
        return bool(self.metadata.get("identity", True)) or "through" in self.metadata

    @property
    def is_group(self) -> bool:
        return self.name in GROUPS

    @property
    def optional(self) -> bool:
        return type(None) in get_args(self.kind)

    @property
    def is_text(self) -> bool:
        """Whether any text is a value: no list of choices."""
        bound = {"choices", "words"} & self.metadata.keys()
        return str in members_of(self.kind) and not bound and not self.is_group

    @property
    def is_texts(self) -> bool:
        """Whether it is a list of texts."""
        return get_origin(self.kind) is list and get_args(self.kind) == (str,)

    @property
    def is_scalar(self) -> bool:
        return get_origin(self.kind) in (None, UnionType) and not is_dataclass(self.kind)


def members_of(kind: Any) -> tuple[Any, ...]:
    """The types that a value may have, of `int | None` two."""
    return get_args(kind) if get_origin(kind) is UnionType else (kind,)


def type_in_words(kind: Any) -> str:
    """What values of a type are, for a message."""
    optional = type(None) in get_args(kind)
    names = [one for one in members_of(kind) if one is not type(None)]
    names = [one for one in names if one is not int or float not in names]
    collections = {list: "a list", dict: "a table, {name: value}"}
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    said = [words.get(one, collections.get(get_origin(one), str(one))) for one in names]
    return listing([*said, *["null"] * optional])


def knobs() -> dict[str, NamedKnob]:
    """Every knob by its name, groups included, in the order of the configuration; also those of what users brought."""
    return _all_knobs(revision())


@lru_cache(1)
def _all_knobs(_: tuple[int, ...]) -> dict[str, NamedKnob]:
    return {"sweeps": NamedKnob("sweeps", str | None, {})} | {knob.name: knob for knob in _knobs(Config, "")}


def _knobs(kind: type, prefix: str) -> Iterator[NamedKnob]:
    hints = get_type_hints(kind)
    for f in fields(kind):
        if f.metadata.get("own"):
            yield from _own(prefix.removesuffix("."))
            continue
        chosen = f.name == getattr(kind, "chosen_by", None)
        choices = {"choices": OF_GROUP[prefix.removesuffix(".")].names} if chosen else {}
        yield NamedKnob(prefix + f.name, hints[f.name], {**f.metadata, **choices})
        if is_dataclass(hints[f.name]):
            yield from _knobs(hints[f.name], f"{prefix}{f.name}.")


def _own(group: str) -> Iterator[NamedKnob]:
    """The knobs that things of a group have of their own; of one that several have, what is true of all."""
    for name, (first, owners) in own_knobs(group).items():
        declared = [knob for owner in owners for knob in knobs_of(OF_GROUP[group][owner]) if knob.name == name]
        common = {
            key for key, value in first.metadata.items() if all(knob.metadata.get(key) == value for knob in declared)
        }
        metadata = {key: value for key, value in first.metadata.items() if key in common}
        if all(knob.choices for knob in declared):
            metadata["choices"] = tuple(dict.fromkeys(choice for knob in declared for choice in knob.choices))
        kind = first.kind if all(knob.kind == first.kind for knob in declared) else Any
        yield NamedKnob(f"{group}.{name}", kind, metadata, owners)


def can_be_swept(key: str) -> bool:
    """Whether several values of a knob make several settings."""
    knob = knobs().get(key)
    return key != "sweeps" and (knob is None or knob.decides)


def is_knob(key: str) -> bool:
    """Whether there is a knob of that name; a gate that no model has is none."""
    return former_names.knob_of(key) in knobs() or key in {GATE + gate for cell in CELLS for gate in cell.gates}


def condition_names(key: str, known: Callable[[str], bool]) -> tuple[str, str] | None:
    """The knob of a condition and the one on which it rests, of `dropout.layers` or `optimizer.momentum.optimizer`;
    None where no two knobs make up the key."""
    parts = key.split(".")
    pairs = ((".".join(parts[:place]), ".".join(parts[place:])) for place in range(1, len(parts)))
    return next(((name, other) for name, other in pairs if known(name) and known(other)), None)


ELSEWHERE = {
    "preset": "sweeps",
    "learning_rate": "lr",
    "hidden_size": "num_hiddens",
    "hidden_units": "num_hiddens",
    "units": "num_hiddens",
    "n_epochs": "epochs",
    "random_state": "seed",
    "embed": "model.embedding",
    "embedding_size": "model.embedding",
    "embedding_dim": "model.embedding",
    "tie_weights": "model.tied",
    "early_stopping": "patience",
}
"""What other programs call a knob → its name here, where the spelling does not lead to it."""


def no_knob(key: str) -> str:
    """The line for a key that is no knob."""
    ours = ELSEWHERE.get(key.rpartition(".")[2])
    names = {GATE + gate for cell in CELLS for gate in cell.gates} if key.startswith(GATE) else knobs()
    meant = f"; did you mean {ours}?" if ours in knobs() else nearest(key, sorted(names))
    return f"there is no knob {key!r}{meant} {HELP_HINT}"


def no_gate(gate: str, held: Iterable[Collection[str]]) -> str:
    """The line for a gate that no cell has and none of what is `held`; of any setting it would be true that it is held
    at none. Nothing for a gate that there is."""
    there = is_knob(GATE + gate) or any(gate in gates for gates in held)
    return "" if there else no_knob(GATE + gate)


def no_knob_of(experiment: str, key: str, own: Sequence[str]) -> str:
    """The same for one that an experiment, whose `own` knobs these are, does not have."""
    has = f"its knobs are {', '.join(own)}" if own else "it has no knobs"
    return f"the experiment {experiment} has no knob {key!r}{nearest(key, own)}; {has}"
