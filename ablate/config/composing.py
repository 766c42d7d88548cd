"""From overrides to a Config: the same composition as on the command line, for Python and for tests."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, flag_override

from ablate.config.errors import ConfigError
from ablate.config.former_names import value_of, with_todays_names
from ablate.config.overrides import for_hydra
from ablate.config.schema import CONFIG_ROOT, Config, DataConfig
from ablate.config.validation import validate


@dataclass
class Composed(Config):
    """What Hydra composes: a Config, and the knobs by their former names, which a preset of somebody's may hold."""

    impl: str | None = None


@contextmanager
def hydra_as_before() -> Iterator[None]:
    """Compose, or run, as if Hydra were not in use; afterwards what is global of it is as it was.

    A program or a notebook may have a Hydra of its own, whose state Hydra keeps once a process.
    """
    Plugins.instance()  # what they store belongs to every program
    store, own = ConfigStore.instance(), GlobalHydra.instance()
    nodes, configured, base = dict(store.repo), HydraConfig.instance().cfg, VersionBase.instance().getbase()
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
    """Tell Hydra the types behind `conf/config.yaml`."""
    ConfigStore.instance().store(name="ablate_schema", node=Composed, provider="ablate")


def compose(overrides: Sequence[str] = ()) -> Config:
    """The validated config of `conf/config.yaml` under Hydra overrides: `compose(["model=gru", "lr=0.5"])`.

    Raises ConfigError for a value that no run could have, and Hydra's own errors for what it cannot compose.
    """
    register_schema()
    with initialize_config_dir(str(CONFIG_ROOT / "conf"), version_base="1.3"):
        config = to_config(hydra_compose("config", for_hydra(overrides, once=False)))
    validate(config)
    return config


def compose_all(overrides: Sequence[str]) -> list[Config]:
    """The configs of a sweep over every combination of the overrides' values, as `python -m ablate -m` would run."""
    words = for_hydra(overrides)
    with initialize_config_dir(str(CONFIG_ROOT / "conf"), version_base="1.3"):
        parsed = OverridesParser.create().parse_overrides(words)
    combinations = BasicSweeper.split_arguments(parsed, None)[0]
    return [compose(combination) for combination in combinations]


def to_config(composed: DictConfig) -> Config:
    """A typed Config from what Hydra composed. Raises ConfigError for a value that is ???."""
    if "hydra" in composed:
        composed = composed.copy()
        with flag_override(composed, ["struct", "readonly"], [False, False]):
            del composed["hydra"]
    for knob in sorted(OmegaConf.missing_keys(composed)):
        raise ConfigError(f"{knob.partition('[')[0]} has the value ???, which stands for a missing one; give another")
    found = cast(Composed, OmegaConf.to_object(composed))
    knobs = {f.name: value_of(f.name, getattr(found, f.name)) for f in fields(Config)}
    return Config(**knobs | ({"formulation": value_of("formulation", found.impl)} if found.impl else {}))


def fallback_data() -> DataConfig:
    """`data=python_docs`, which `data=auto` falls back to."""
    values = OmegaConf.load(CONFIG_ROOT / "conf" / "data" / "python_docs.yaml")
    return cast(DataConfig, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), values)))


def from_dict(values: Mapping[str, Any]) -> Config:
    """The Config that `ablate.config.schema.to_dict` wrote."""
    return cast(Config, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), with_todays_names(values))))
