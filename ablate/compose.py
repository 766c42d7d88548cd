"""From overrides to a Config: the same composition as on the command line, for Python and for tests."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, flag_override

from ablate.config import CONFIG_ROOT, Config, DataConfig
from ablate.errors import ConfigError
from ablate.validation import validate


def register_schema() -> None:
    """Tell Hydra the types behind `conf/config.yaml`."""
    ConfigStore.instance().store(name="ablate_schema", node=Config, provider="ablate")


def compose(overrides: Sequence[str] = ()) -> Config:
    """The validated config of `conf/config.yaml` under Hydra overrides: `compose(["model=gru", "lr=0.5"])`.

    Raises ConfigError for a value that no run could have, and Hydra's own errors for what it cannot compose.
    """
    register_schema()
    with initialize_config_dir(str(CONFIG_ROOT / "conf"), version_base="1.3"):
        config = to_config(hydra_compose("config", list(overrides)))
    validate(config)
    return config


def compose_all(overrides: Sequence[str]) -> list[Config]:
    """The configs of a sweep over every combination of the overrides' values, as `python -m ablate -m` would run."""
    check_once(overrides)
    with initialize_config_dir(str(CONFIG_ROOT / "conf"), version_base="1.3"):
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    combinations = BasicSweeper.split_arguments(parsed, None)[0]
    return [compose(combination) for combination in combinations]


def check_once(overrides: Sequence[str]) -> None:
    """Raise ConfigError where a knob is given twice with different values: Hydra would take the last in silence.

    Of Hydra's own settings, `hydra.…`, the last one counts.
    """
    values: dict[str, dict[str, None]] = {}
    for override in overrides:
        key, _, value = override.partition("=")
        values.setdefault(key.lstrip("+~"), {})[value] = None
    for key, several in values.items():
        if len(several) > 1 and not key.startswith("hydra"):
            swept = is_swept(key) and not any(set(value) & set("([{") for value in several)
            remedy = f"for {'both' if len(several) == 2 else 'all'} write {key}={','.join(several)}"
            raise ConfigError(
                f"{key} is given {'twice' if len(several) == 2 else f'{len(several)} times'}: "
                f"{' and '.join(several)}; {remedy if swept else 'give it once'}"
            )


def is_swept(key: str) -> bool:
    """Whether several values of a knob make several cells."""
    return key not in ("sweeps", "name", "title", "results_dir", "seeds")


def to_config(composed: DictConfig) -> Config:
    """A typed Config from what Hydra composed. Raises ConfigError for a value that is ???."""
    if "hydra" in composed:
        composed = composed.copy()
        with flag_override(composed, ["struct", "readonly"], [False, False]):
            del composed["hydra"]
    for knob in sorted(OmegaConf.missing_keys(composed)):
        raise ConfigError(f"{knob.partition('[')[0]} has the value ???, which stands for a missing one; give another")
    return cast(Config, OmegaConf.to_object(composed))


def fallback_data() -> DataConfig:
    """`data=python_docs`, which `data=auto` falls back to."""
    values = OmegaConf.load(CONFIG_ROOT / "conf" / "data" / "python_docs.yaml")
    return cast(DataConfig, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), values)))


def from_dict(values: Mapping[str, Any]) -> Config:
    """The Config that `ablate.config.to_dict` wrote."""
    return cast(Config, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), dict(values))))
