"""From words, `knob=value`, to the configs of a sweep, inside any program: what the command line does, without Hydra's
application, which takes over the arguments, the logging and the environment of its process."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate.config import plugins, presets
from ablate.config.choice_files import SEARCHED, find_preset, roots
from ablate.config.composing import BASE, Composer, hydra_as_before, register_schema
from ablate.config.composition_errors import composition_line
from ablate.config.errors import ConfigError, UserError
from ablate.config.overrides import SWEEPERS, Override, for_hydra
from ablate.config.preset_checks import check_preset
from ablate.config.schema import CONFIG_ROOT, Config
from ablate.sweeping.hydra_jobs import asked_for, jobs
from ablate.sweeping.naming import Asked

RESOLVERS = ("now", "hydra", "python_version")
"""What Hydra registers with OmegaConf wherever it composes."""

_one_at_a_time = threading.Lock()  # what is global of Hydra is so for all threads


def expand(words: Sequence[str]) -> tuple[list[Config], Asked]:
    """The configs that `ablate WORDS` would train, and what is asked for beside them.

    Raises UserError, in one line, for what the command line refuses, and for a search, which is no list of configs.
    """
    with _one_at_a_time, _resolvers_as_before(), hydra_as_before():
        plugins.load(presets.plugins_of(words))
        overrides = for_hydra(words, sweeper_options())
        preset = next((word.value for word in map(Override.read, overrides) if word.key == "sweeps"), None)
        if preset not in (None, "", "null", "???"):
            _check_preset(str(preset))
        searched = SEARCHED.set(tuple(roots()[1:]))
        try:
            register_schema()
            with initialize_config_dir(str(CONFIG_ROOT / "conf"), **BASE):
                return _expanded(overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(composition_line(error)) from error
        finally:
            SEARCHED.reset(searched)


def _expanded(overrides: Sequence[str]) -> tuple[list[Config], Asked]:
    loader = GlobalHydra.instance().config_loader()
    whole = loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)
    context: Any = SimpleNamespace(config_loader=loader)
    program: Any = SimpleNamespace(run_sweep=None)  # one of ours
    sweeper: Any = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=program, config=whole)
    each = jobs(sweeper, [str(word) for word in whole.hydra.overrides.task])
    composer = Composer(lambda job: loader.load_sweep_config(whole, list(job)))
    configs = [composer.config(job) for job in each]
    return configs, asked_for(whole, configs, each)


def sweeper_options() -> tuple[str, ...]:
    """What `hydra.sweeper.…` may set, of our sweepers."""
    store = ConfigStore.instance()
    nodes = [store.load(f"hydra/sweeper/{name}") for name in store.list("hydra/sweeper")]
    names = [str(name) for node in nodes if node.provider == "ablate" for name in node.node]
    return tuple(dict.fromkeys(name for name in names if name != "_target_"))


def _check_preset(name: str) -> None:
    path: Path = find_preset(name)
    check_preset(path, sweeper_options())
    if SWEEPERS.get(str(presets.sweeper_of(path))) == SWEEPERS["optuna"]:
        raise UserError(f"sweeps={name} is a search, whose settings are not known beforehand; run it as a command")


@contextmanager
def _resolvers_as_before() -> Iterator[None]:
    known = {name for name in RESOLVERS if OmegaConf.has_resolver(name)}
    try:
        yield
    finally:
        for name in RESOLVERS:
            if name not in known:
                OmegaConf.clear_resolver(name)
