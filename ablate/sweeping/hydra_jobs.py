"""What the Hydra plugins do: expand a sweep, compose its jobs, and hand them over together."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from ablate.compose import to_config
from ablate.config import Config
from ablate.errors import ConfigError
from ablate.sweeping.naming import folder_name

if TYPE_CHECKING:
    from hydra_plugins.ablate_hydra.sweeper import AblateSweeper


def sweep(sweeper: "AblateSweeper", arguments: Sequence[str]) -> Any:
    """The products of the preset's values and the command line's, launched at once.

    Hydra's own sweeper would multiply the two lists; here a knob on the command line replaces the preset's.
    """
    launcher = sweeper.launcher
    assert launcher is not None
    found = jobs(sweeper, arguments)
    size = sweeper.max_batch_size or max(1, len(found))
    return [launcher.launch(found[first : first + size], initial_job_idx=first) for first in range(0, len(found), size)]


def jobs(sweeper: "AblateSweeper", arguments: Sequence[str]) -> list[list[str]]:
    """The overrides of each job: for each block the product of params, block and arguments, the last one deciding.

    What the command line replaces in several blocks can make them alike: a job is listed once.
    """
    assert sweeper.hydra_context is not None
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    typed = parser.parse_overrides(list(arguments))
    named = {override.get_key_element() for override in typed}
    found: dict[tuple[str, ...], None] = {}
    for block in sweeper.blocks:
        values = {**(sweeper.params or {}), **block}
        preset = parser.parse_overrides([f"{key}={value}" for key, value in values.items()])
        overrides = [*(override for override in preset if override.get_key_element() not in named), *typed]
        for override in overrides:
            check_values(override)
        [product] = sweeper.split_arguments(overrides, None)
        found |= dict.fromkeys(map(tuple, product))
    return [list(job) for job in found]


def check_values(override: Override) -> None:
    """Raise ConfigError for values that a grid cannot take."""
    key, written = override.get_key_element(), str(override.input_line)
    if override.is_sweep_override() and not override.is_discrete_sweep():
        raise ConfigError(f"{written} is a range; a grid needs its values one by one: {key}=VALUE,VALUE,…")
    if key in ("model", "data", "optimizer", "task", "sweeps") and isinstance(override.value(), list):
        raise ConfigError(f"{written} would mix several into one; write {key}=A,B to sweep them")


def launch(
    context: HydraContext, task: TaskFunction, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """One JobReturn per job. A task with `run_sweep` trains them all first; each job then returns its outcome.

    `run_sweep(configs, default_name, preset)` gives one outcome per config.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    composed = [_job(context, config, overrides, first + index) for index, overrides in enumerate(job_overrides)]
    run_sweep = getattr(task, "run_sweep", None)
    tasks = [task] * len(composed)
    if run_sweep is not None:
        typed = [str(override) for override in config.hydra.overrides.task]
        preset = config.hydra.runtime.choices.get("sweeps")
        outcomes = run_sweep([to_config(job) for job in composed], folder_name(typed, preset), preset)
        tasks = [_returning(outcome) for outcome in outcomes]
    state = Singleton.get_state()
    returns = []
    for job, own_task in zip(composed, tasks, strict=True):
        Singleton.set_state(state)
        Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        returns.append(
            run_job(
                hydra_context=context,
                task_function=own_task,
                config=job,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        )
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return returns


def _job(context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int) -> DictConfig:
    job: DictConfig = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.id = f"job_id_for_{number}"
        job.hydra.job.num = number
    return job


def _returning(outcome: Any) -> TaskFunction:
    return lambda _: outcome


def one_name(configs: Sequence[Config]) -> str | None:
    """The name that all cells of a sweep share. Raises ConfigError where it is swept."""
    names = {config.name for config in configs}
    if len(names) > 1:
        raise ConfigError("name has several values; a sweep has one folder: give one name, sweep another knob")
    return names.pop()
