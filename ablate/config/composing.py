"""From overrides to a Config: the same composition as on the command line, for Python and for tests."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import field, fields, make_dataclass
from functools import cache, lru_cache, partial
from typing import Any, cast, get_type_hints

import hydra
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.version import VersionBase
from omegaconf import MISSING, DictConfig, OmegaConf, flag_override
from omegaconf.errors import ValidationError

from ablate.config.choices import choice
from ablate.config.errors import ConfigError
from ablate.config.former_names import value_of, with_todays_names
from ablate.config.grid import Axis, product
from ablate.config.overrides import ZIPPED, for_hydra, knobs, members_of, type_in_words
from ablate.config.registry import OF_GROUP, own_knobs, revision
from ablate.config.schema import CONFIG_ROOT, PARTS, Config, DataConfig, Part
from ablate.config.validation import validate

BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
"""Hydra 1.3 has to be told not to behave as 1.1; from 1.4 on, of which it warns, it always does as 1.3."""


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
    store = ConfigStore.instance()
    store.store(name="ablate_schema", node=_composed_type(revision()), provider="ablate")
    for group, registry in OF_GROUP.items():
        for thing in registry:
            if not (CONFIG_ROOT / "conf" / group / f"{thing.name}.yaml").is_file():
                package = "_global_" if group == "task" else None
                store.store(group=group, name=thing.name, node=choice(group, thing), package=package, provider="ablate")


@lru_cache(1)
def _composed_type(_: tuple[int, ...]) -> type:
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
            out.append((f.name, hints[f.name], field(default=f.default, default_factory=f.default_factory)))
    for name, (first, _) in own_knobs(group).items():
        kind = knobs()[f"{group}.{name}"].kind
        out.append((name, kind, field(default_factory=partial(deepcopy, first.off))))
    return make_dataclass(PARTS[group].__name__, out)


def compose(overrides: Sequence[str] = ()) -> Config:
    """The validated config of `conf/config.yaml` under Hydra overrides: `compose(["model=gru", "lr=0.5"])`.

    Raises ConfigError for a value that no run could have, and Hydra's own errors for what it cannot compose.
    """
    words = for_hydra(overrides, once=False)
    with hydra_as_before(), initialize_config_dir(str(CONFIG_ROOT / "conf"), **BASE):
        register_schema()
        config = to_config(hydra_compose("config", words))
    validate(config)
    return config


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
    if "hydra" in composed:
        composed = composed.copy()
        with flag_override(composed, ["struct", "readonly"], [False, False]):
            del composed["hydra"]
    for knob in sorted(OmegaConf.missing_keys(composed)):
        raise ConfigError(f"{knob.partition('[')[0]} has the value ???, which stands for a missing one; give another")
    values = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
    return _config({name: value_of(name, value) for name, value in values.items()}, given=True)


def fallback_data() -> DataConfig:
    """`data=python_docs`, which `data=auto` falls back to."""
    values = OmegaConf.load(CONFIG_ROOT / "conf" / "data" / "python_docs.yaml")
    return DataConfig.of(cast(Any, OmegaConf.to_container(values)), given=True)


def from_dict(values: Mapping[str, Any]) -> Config:
    """The Config that `ablate.config.schema.to_dict` wrote; a knob that it lacks is as it was before there was it."""
    known = {f.name for f in fields(Config)}
    return _config({name: value for name, value in with_todays_names(values).items() if name in known}, given=False)


def _config(values: Mapping[str, Any], given: bool) -> Config:
    parts = {name: _part(name, values[name], given) for name in PARTS if name in values}
    return Config(**{**values, **parts})


def _part(group: str, values: Mapping[str, Any], given: bool) -> Part:
    """A part from the values of its knobs, those of the thing's own each of its type. Raises OmegaConf's errors."""
    part = PARTS[group].of(values, given)
    kinds = {knob.name: knob.kind for knob in part.own_knobs}
    own: dict[str, Any] = {
        name: _typed(f"{group}.{name}", kinds.get(name, Any), value) for name, value in part.own.items()
    }
    part.own = own
    return part


def _typed(name: str, kind: Any, value: Any) -> Any:
    """A value of a knob as its type has it. Raises ConfigError where it cannot be."""
    if kind is Any or type(value) in members_of(kind):
        return value
    node = OmegaConf.structured(_holder(kind))
    try:
        node.value = value
    except ValidationError as error:
        raise ConfigError(f"{name} is {value!r}; it must be {type_in_words(kind)}") from error
    return cast(Any, OmegaConf.to_container(node))["value"]


@cache
def _holder(kind: Any) -> type:
    """A type with a value of this type, to which OmegaConf converts."""
    return make_dataclass("Holder", [("value", kind, field(default=MISSING))])
