"""What the Hydra plugins do: expand a sweep, compose its jobs, and hand them over together."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.core.override_parser.types import Override as Parsed
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from ablate.config import presets
from ablate.config.composing import Composer
from ablate.config.errors import ConfigError
from ablate.config.grid import MOST_SETTINGS, Axis, portions, product
from ablate.config.identity import without_effect
from ablate.config.knobs import GROUPS
from ablate.config.overrides import Override, for_hydra
from ablate.config.schema import Config
from ablate.sweeping.launching.options import Options, check_alone, options_of
from ablate.sweeping.naming import Asked, folder_name

if TYPE_CHECKING:
    from hydra_plugins.ablate_hydra.sweeper import AblateSweeper


def sweep(sweeper: "AblateSweeper", arguments: Sequence[str]) -> Any:
    """The products of the preset's values and the command line's, launched at once.

    Hydra's own sweeper would multiply the two lists; here a knob on the command line replaces the preset's.
    """
    launcher = sweeper.launcher
    assert launcher is not None
    returns, launched = [], 0
    for portion in portions(jobs(sweeper, arguments), sweeper.max_batch_size):
        returns.append(launcher.launch(portion, initial_job_idx=launched))
        launched += len(portion)
    return returns


def jobs(sweeper: "AblateSweeper", arguments: Sequence[str]) -> list[list[str]]:
    """The overrides of each job: for each block the product of params, block and arguments, the last one deciding.

    What the command line replaces in several blocks can make them alike: a job is listed once.
    """
    assert sweeper.hydra_context is not None
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    is_ours = hasattr(sweeper.task_function, "run_sweep")  # the knobs of other programs are their own

    def axis(word: str) -> Axis:
        if is_ours and Override.read(word).is_zipped:
            return Axis.zipped(word)
        [override] = parser.parse_overrides([word])
        check_values(override)
        return Axis.of(override)

    together = [str(word) for word in sweeper.zipped or ()]
    typed = [axis(word) for word in [*arguments, *together]]
    named = set[str]().union(*(one.knobs for one in typed))
    found: dict[tuple[str, ...], None] = {}
    params = table("hydra.sweeper.params", sweeper.params)
    if not isinstance(sweeper.blocks, ListConfig | list):
        raise ConfigError(f"hydra.sweeper.blocks is {sweeper.blocks!r}; it must be a list of tables, [{{lr: 1}}]")
    for block in sweeper.blocks:
        here = params | table("an entry of hydra.sweeper.blocks", block, optional=False)
        words = [f"{key}={written(value)}" for key, value in here.items()]
        preset = [axis(word) for one in words for word in (_for_grid(one) if is_ours else [one])]
        axes = [*(one.without(named) for one in preset), *typed]
        if (settings := math.prod(len(one.rows) for one in axes)) > MOST_SETTINGS:
            raise ConfigError(f"these values are {settings:,} settings; give values of {MOST_SETTINGS:,} at most")
        found |= dict.fromkeys(map(tuple, product(axes)))
    if not found:
        raise ConfigError(f"{' '.join([*arguments, *together])} matches nothing; give values: knob=a,b")
    return [list(job) for job in found]


def table(what: str, value: Any, optional: bool = True) -> dict[str, Any]:
    """A table of knobs and their values; none for null where it is `optional`. Raises ConfigError for anything else."""
    if value is None and optional:
        return {}
    if not isinstance(value, DictConfig | dict):
        raise ConfigError(f"{what} is {written(value)}; it must be a table, {{lr: 1}}")
    return {str(key): item for key, item in value.items()}


def _for_grid(word: str) -> list[str]:
    """A word of a preset as Hydra is to read it; knobs that change together are not for Hydra to read."""
    return [word] if Override.read(word).is_zipped else for_hydra([word])


def written(value: Any) -> str:
    """Values of a preset as on the command line: `32`, `true`, `null`, `a,b`, of a list each of its items."""
    if isinstance(value, ListConfig | list):
        return ",".join(map(written, value))
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_values(override: Parsed) -> None:
    """Raise ConfigError for values that a grid cannot take."""
    key, line = override.get_key_element(), str(override.input_line)
    values = override.value()
    is_glob = isinstance(values, Glob)
    if override.is_sweep_override() and (not override.is_discrete_sweep() or (is_glob and key not in GROUPS)):
        what = "a pattern for names of files" if is_glob else "a range"
        raise ConfigError(f"{line} is {what}; a grid needs its values one by one: {key}=VALUE,VALUE,…")
    if key in GROUPS and isinstance(values, list):
        raise ConfigError(f"{line} would mix several into one; write {key}=A,B to sweep them")


def launch(
    context: HydraContext, task: TaskFunction, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """One JobReturn per job. A task with `run_sweep` trains them all together; each job then has its outcome.

    `run_sweep(configs, asked)` gives one outcome per config.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    load = partial(context.config_loader.load_sweep_config, config)
    if hasattr(task, "run_sweep"):
        composer = Composer(lambda overrides: load(list(overrides)))
        same = fixed(_typed(config))
        if all(set(same) <= set(overrides) for overrides in job_overrides):
            composer.begin(same, config)  # Hydra has composed it once, to find the sweeper
        configs = [composer.config(overrides) for overrides in job_overrides]
        outcomes = task.run_sweep(configs, asked_for(config, configs, job_overrides))
        return [
            JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=outcome)
            for overrides, outcome in zip(job_overrides, outcomes, strict=True)
        ]
    composed = [_numbered(load(list(overrides)), first + index) for index, overrides in enumerate(job_overrides)]
    state = Singleton.get_state()
    returns = []
    for job in composed:
        Singleton.set_state(state)
        Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        returns.append(
            run_job(
                hydra_context=context,
                task_function=task,
                config=job,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        )
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return returns


def fixed(words: Sequence[str]) -> list[str]:
    """The overrides of one value among these, as a job has them."""
    parsed = OverridesParser.create().parse_overrides(list(words))
    return [word for override in parsed if not override.is_sweep_override() for [word] in Axis.of(override).rows]


def _typed(config: DictConfig) -> list[str]:
    """The overrides as they were given, with interpolations as they stand there."""
    return list(map(str, OmegaConf.to_container(config.hydra.overrides.task, resolve=False) or ()))


def asked_for(config: DictConfig, configs: Sequence[Config], job_overrides: Sequence[Sequence[str]]) -> Asked:
    """What was typed, and by which preset, as the sweep's folder and its warnings need it; and the cluster that is to
    train. Raises ConfigError for what it cannot be told."""
    cluster = cluster_of(config)
    if cluster is not None and configs[0].speed:
        check_alone(cluster)
    typed = _typed(config)
    typed += [str(word) for word in config.hydra.sweeper.get("zipped") or ()]
    preset = config.hydra.runtime.choices.get("sweeps")
    given = presets.given_knobs([word for job in [typed, *job_overrides] for word in job], preset)
    unread = without_effect(configs, given)
    return Asked(folder_name(typed, preset, unread), preset, given, cluster)


def cluster_of(config: DictConfig) -> Options | None:
    """The launcher that Hydra composed, checked; None for this machine. Raises ConfigError."""
    return options_of(cast(dict[str, Any], OmegaConf.to_container(config.hydra.launcher, resolve=True)))


def _numbered(job: DictConfig, number: int) -> DictConfig:
    with open_dict(job):
        job.hydra.job.id = f"job_id_for_{number}"
        job.hydra.job.num = number
    return job


def one_name(configs: Sequence[Config]) -> str | None:
    """The name that all settings of a sweep share. Raises ConfigError where it is swept."""
    names = {config.name for config in configs}
    if len(names) > 1:
        raise ConfigError("name has several values; a sweep has one folder: give one name, sweep another knob")
    return names.pop()
