"""From overrides to a Config: the same composition as on the command line, for Python and for tests."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache, lru_cache, partial
from threading import Lock
from typing import Any, cast, get_type_hints

import hydra
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override as Parsed
from hydra.core.plugins import Plugins
from hydra.version import VersionBase
from omegaconf import MISSING, DictConfig, OmegaConf, flag_override
from omegaconf.errors import ValidationError

from ablate.config.choice_files import SEARCHED
from ablate.config.choices import choice
from ablate.config.errors import ConfigError
from ablate.config.former_names import value_of, with_todays_names
from ablate.config.grid import Axis, product
from ablate.config.knobs import GROUPS, knobs, members_of, type_in_words
from ablate.config.overrides import ZIPPED, Override, for_hydra
from ablate.config.registry import OF_GROUP, own_knobs, revision
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import CONFIG_ROOT, PARTS, Config, DataConfig, Part
from ablate.config.validation import validate

BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
"""Hydra 1.3 has to be told not to behave as 1.1; from 1.4 on, of which it warns, it always does as 1.3."""

KEY = re.compile(r"\w+(\.\w+)*")
LINK = re.compile(r"\$\{(\w+)(?:\.\w+)*\}")
"""A value that is that of another knob, `${optimizer.lr}`."""


@contextmanager
def hydra_as_before() -> Iterator[None]:
    """Compose, or run, as if Hydra were not in use; afterwards what is global of it is as it was.

    A program or a notebook may have a Hydra of its own, whose state Hydra keeps once a process.
    """
    Plugins.instance()  # what they store belongs to every program
    store, own = ConfigStore.instance(), GlobalHydra.instance()
    nodes = {name: dict(node) if type(node) is dict else node for name, node in store.repo.items()}
    configured, base = HydraConfig.instance().cfg, VersionBase.instance().getbase()
    GlobalHydra.set_instance(GlobalHydra.__new__(GlobalHydra))
    try:
        GlobalHydra.instance().clear()
        yield
    finally:
        GlobalHydra.set_instance(own)
        ConfigStore.instance().repo = nodes
        HydraConfig.instance().cfg = configured
        VersionBase.instance().version_base = base


def register_schema() -> None:
    """Tell Hydra the types behind `conf/config.yaml`, and of what is registered whatever has no file in conf/."""
    repo = ConfigStore.instance().repo
    for group, nodes in _registered(revision()).items():
        (repo.setdefault(group, {}) if group else repo).update(nodes)


@lru_cache(1)
def _registered(_: tuple[int, ...]) -> dict[str, dict[str, ConfigNode]]:
    """Group → file → node, as Hydra's store holds them, which hands out copies; the group of the schema is empty."""
    found = {"": {"ablate_schema.yaml": _node("ablate_schema", _composed_type(), None)}}
    for group, registry in OF_GROUP.items():
        for thing in registry:
            if not (CONFIG_ROOT / "conf" / group / f"{thing.name}.yaml").is_file():
                node = _node(thing.name, choice(group, thing), group)
                found.setdefault(group, {})[node.name] = node
    return found


def _node(name: str, content: Any, group: str | None) -> ConfigNode:
    package = "_global_" if group == "task" else None
    return ConfigNode(f"{name}.yaml", OmegaConf.structured(content), group, package, "ablate")


def _composed_type() -> type:
    """The type of what Hydra composes: a Config in which each part has the knobs of all that can be chosen for it."""
    hints = get_type_hints(Config)
    out: list[Any] = []
    for f in fields(Config):
        if f.name in PARTS:
            part = _part_type(f.name)
            out.append((f.name, part, field(default_factory=part)))
        else:
            out.append((f.name, hints[f.name], field(default=f.default, default_factory=f.default_factory)))
    return make_dataclass("Composed", out)


def _part_type(group: str) -> type:
    hints = get_type_hints(PARTS[group])
    out: list[Any] = []
    for f in fields(cast(Any, PARTS[group])):
        if not f.metadata.get("own"):
            kind = dict[str, float | None] if f.name == "gates" else hints[f.name]  # null, a gate that is not held
            out.append((f.name, kind, field(default=f.default, default_factory=f.default_factory)))
    for name, (first, _) in own_knobs(group).items():
        kind = knobs()[f"{group}.{name}"].kind
        out.append((name, kind, field(default_factory=partial(deepcopy, first.off))))
    return make_dataclass(PARTS[group].__name__, out)


def compose(overrides: Sequence[str] = ()) -> Config:
    """The validated config of `conf/config.yaml` under Hydra overrides: `compose(["model=gru", "lr=0.5"])`.

    Raises ConfigError for a value that no run could have, and Hydra's own errors for what it cannot compose.
    """
    words = for_hydra(overrides, once=False)
    config = to_config(_composed(words)) if SEARCHED.get() else _composer(revision()).config(words)
    validate(config)
    return config


def _composed(words: Sequence[str]) -> DictConfig:
    with hydra_as_before(), initialize_config_dir(str(CONFIG_ROOT / "conf"), **BASE):
        register_schema()
        return hydra_compose("config", list(words))


@lru_cache(1)
def _composer(_: tuple[int, ...]) -> "Composer":
    """Of what ablate ships and what is registered, which stay as they are; a person's files may change meanwhile."""
    return Composer(_composed)


@dataclass(frozen=True)
class Base:
    """What the choices of groups compose, before any other knob is given."""

    composed: DictConfig
    values: Mapping[str, Any]
    """Knob or part → what a config has there."""
    linked: frozenset[str]
    """The knobs and parts that refer to others, or are referred to: `lr`, which is `${optimizer.lr}`."""
    _changed: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    _kept: dict[frozenset[str], DictConfig] = field(default_factory=dict)

    def changed(self, given: Mapping[str, Parsed]) -> dict[str, Any]:
        """Every knob and part that these overrides, by their words, change: its name → its value.

        Those of one knob or part alone are looked at together, and those of what is linked; of a grid most settings
        have them in common with others. Raises OmegaConf's errors.
        """
        together: dict[str, list[str]] = {}
        for word, override in given.items():
            name = _name(override)
            together.setdefault("" if name in self.linked else name, []).append(word)
        out: dict[str, Any] = {}
        for words in map(tuple, together.values()):
            if words not in self._changed:
                self._changed[words] = self._with([given[word] for word in words])
            out |= self._changed[words]
        return out

    def _with(self, overrides: Sequence[Parsed]) -> dict[str, Any]:
        """The knobs and parts that these set, and what is linked to them. Raises ConfigError too."""
        names = set(map(_name, overrides))
        names |= self.linked if names & self.linked else set()
        some = self._alone(frozenset(names)).copy()
        for override in overrides:
            OmegaConf.update(some, override.key_or_group, override.value(), force_add=override.is_force_add())
        return _typed_values(some)

    def _alone(self, names: frozenset[str]) -> DictConfig:
        """These knobs and parts and no others: to copy all takes longer than all the rest."""
        if names not in self._kept:
            kept = self._kept[names] = self.composed.copy()
            with flag_override(kept, ["struct", "readonly"], [False, False]):
                for name in self.values.keys() - names:
                    del kept[name]
        return self._kept[names]


def _name(override: Parsed) -> str:
    """The knob or part that it changes, or changes something of."""
    return str(override.key_or_group).partition(".")[0]


class Composer:
    """Configs of which many have the same choices of groups: these are composed once, and values set in a copy.

    Hydra takes a tenth of a second to compose a config; setting a value takes OmegaConf, which checks and converts it
    here as there, milliseconds, and most values stand in many configs. Whatever is not the plain value of a knob, and
    whatever goes wrong, is left to Hydra. `load` is how it composes overrides; what that reads must not change in a
    composer's life.
    """

    def __init__(self, load: Callable[[Sequence[str]], DictConfig]) -> None:
        self.load = load
        self._bases: dict[tuple[str, ...], Base | None] = {}
        self._one_at_a_time = Lock()  # OmegaConf changes for a moment what it copies

    def begin(self, words: Sequence[str], composed: DictConfig) -> None:
        """What overrides compose that all configs to come have among theirs: their choices of groups are known then."""
        choices = tuple(word for word in words if _plain(word) is None)
        if _chooses_groups(choices):
            self._bases[choices] = _base_of(composed)

    def config(self, words: Sequence[str]) -> Config:
        """The typed config of these overrides. Raises what Hydra raises, and ConfigError for a value that is ???."""
        with self._one_at_a_time:
            values = self._values(words)
        if values is None:
            return to_config(self.load(words))
        return Config(**{name: _copied(value) for name, value in values.items()})

    def _values(self, words: Sequence[str]) -> dict[str, Any] | None:
        """The knobs and parts of the config; None where Hydra has to compose the whole."""
        try:
            last = dict.fromkeys(reversed(words))  # of a word that is there twice the last one counts
            plain = {word: override for word in reversed(last) if (override := _plain(word)) is not None}
            base = self._base(tuple(word for word in words if word not in plain))
            if base is None:
                return None
            if not set(map(_name, plain.values())) <= base.values.keys():
                return None
            return {**base.values, **base.changed(plain)}
        except Exception:  # which is Hydra's to raise
            return None

    def _base(self, choices: tuple[str, ...]) -> Base | None:
        """What these overrides compose; None where they are more than choices of groups, or it cannot stand alone."""
        if choices not in self._bases:
            self._bases[choices] = _base_of(self.load(choices)) if _chooses_groups(choices) else None
        return self._bases[choices]


def _chooses_groups(words: Iterable[str]) -> bool:
    """Whether these are choices of groups, or Hydra's own, and nothing else."""
    return all(Override.read(word).key in GROUPS or word.startswith("hydra") for word in words)


def _base_of(composed: DictConfig) -> Base | None:
    composed = without_hydra(composed)
    links = {
        (name, text)
        for name, value in cast(dict[str, Any], OmegaConf.to_container(composed)).items()
        for text in _texts(value)
        if "${" in text
    }
    targets = [LINK.fullmatch(text) for _, text in links]
    if OmegaConf.missing_keys(composed) or not all(targets):
        return None
    linked = {name for name, _ in links} | {target[1] for target in targets if target}
    return Base(composed, _typed_values(composed), frozenset(linked))


def _texts(value: Any) -> Iterator[str]:
    """The texts in plain containers."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


@lru_cache(4096)
def _plain(word: str) -> Parsed | None:
    """What Hydra reads in a word that gives one value to a knob; None for all other words."""
    written = Override.read(word)
    chooses = written.key in GROUPS or written.key.startswith("hydra")
    if chooses or written.sign not in ("", "++") or not KEY.fullmatch(written.key) or "${" in word:
        return None
    [parsed] = _parser().parse_overrides([word])
    return None if parsed.is_sweep_override() else parsed


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def compose_all(overrides: Sequence[str]) -> list[Config]:
    """The configs of a sweep over every combination of the overrides' values, as `python -m ablate -m` would run."""
    parsed = OverridesParser.create().parse_overrides(for_hydra(overrides))
    axes: list[Axis] = []
    for override in parsed:
        together = override.value() if override.get_key_element() == ZIPPED else None
        axes += [Axis.of(override)] if together is None else [Axis.zipped(str(word)) for word in cast(Any, together)]
    return [compose(combination) for combination in product(axes)]


def to_config(composed: DictConfig) -> Config:
    """A typed Config from what Hydra composed. Raises ConfigError for a value that is ???."""
    composed = without_hydra(composed)
    return Config(**_typed_values(composed))


def without_hydra(composed: DictConfig) -> DictConfig:
    """What is Hydra's own left out."""
    if "hydra" in composed:
        composed = composed.copy()
        with flag_override(composed, ["struct", "readonly"], [False, False]):
            del composed["hydra"]
    return composed


def _typed_values(composed: DictConfig) -> dict[str, Any]:
    """Knobs and parts as a config has them. Raises OmegaConf's errors, and ConfigError for a value that is ???."""
    for knob in sorted(OmegaConf.missing_keys(composed)):
        raise ConfigError(f"{knob.partition('[')[0]} has the value ???, which stands for a missing one; give another")
    values = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
    return _with_parts({name: value_of(name, value) for name, value in values.items()}, given=True)


def _copied(value: Any) -> Any:
    """The same in containers of its own."""
    return value.copied() if isinstance(value, Part) else deepcopy(value) if isinstance(value, list) else value


def fallback_data() -> DataConfig:
    """`data=python_docs`, which `data=auto` falls back to."""
    values = OmegaConf.load(CONFIG_ROOT / "conf" / "data" / "python_docs.yaml")
    return DataConfig.of(cast(Any, OmegaConf.to_container(values)), given=True)


def from_dict(values: Mapping[str, Any]) -> Resolved:
    """The config that a record has, as `ablate.config.schema.to_dict` wrote it.

    A knob that it lacks is as it was before there was it.
    """
    known = {f.name for f in fields(Config)}
    told = {name: value for name, value in with_todays_names(values).items() if name in known}
    return resolve(Config(**_with_parts(told, given=False)))


def _with_parts(values: Mapping[str, Any], given: bool) -> dict[str, Any]:
    return {**values, **{name: _part(name, values[name], given) for name in PARTS if name in values}}


def _part(group: str, values: Mapping[str, Any], given: bool) -> Part:
    """A part from the values of its knobs, those of the thing's own each of its type. Raises OmegaConf's errors."""
    if "gates" in values:
        values = {**values, "gates": {gate: held for gate, held in values["gates"].items() if held is not None}}
    part = PARTS[group].of(values, given)
    kinds = {knob.name: knob.kind for knob in part.own_knobs}
    own: dict[str, Any] = {
        name: _typed(f"{group}.{name}", kinds.get(name, Any), value) for name, value in part.own.items()
    }
    return cast(Part, replace(cast(Any, part), own=own))


def _typed(name: str, kind: Any, value: Any) -> Any:
    """A value of a knob as its type has it. Raises ConfigError where it cannot be."""
    if kind is Any or type(value) in members_of(kind):
        return value
    node = _holder(kind).copy()
    try:
        node.value = value
    except ValidationError as error:
        raise ConfigError(f"{name} is {value!r}; it must be {type_in_words(kind)}") from error
    return cast(Any, OmegaConf.to_container(node))["value"]


@cache
def _holder(kind: Any) -> DictConfig:
    """What holds a value of this type, to which OmegaConf converts."""
    return cast(DictConfig, OmegaConf.structured(make_dataclass("Holder", [("value", kind, field(default=MISSING))])))
