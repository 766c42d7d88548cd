"""What the Hydra plugins do: expand a sweep, compose its jobs, and hand them over together."""

import itertools
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
    """The product of the preset's values and the command line's, launched at once.

    Hydra's own sweeper would multiply the two lists; here a knob on the command line replaces the preset's.
    """
    context, config, launcher = sweeper.hydra_context, sweeper.config, sweeper.launcher
    assert context is not None
    assert config is not None
    assert launcher is not None
    parser = OverridesParser.create(config_loader=context.config_loader)
    named = {override.get_key_element() for override in parser.parse_overrides(list(arguments))}
    preset = [
        override
        for override in parser.parse_overrides([f"{key}={value}" for key, value in (sweeper.params or {}).items()])
        if override.get_key_element() not in named
    ]
    overrides = [*preset, *parser.parse_overrides(list(arguments))]
    for override in overrides:
        check_values(override)
    batches = sweeper.split_arguments(overrides, sweeper.max_batch_size)
    returns = []
    for first, batch in zip(itertools.accumulate(map(len, batches), initial=0), batches, strict=False):
        returns.append(launcher.launch(batch, initial_job_idx=first))
    return returns


def check_values(override: Override) -> None:
    """Raise ConfigError for values that a grid cannot take."""
    key, written = override.get_key_element(), str(override.input_line)
    if override.is_sweep_override() and not override.is_discrete_sweep():
        raise ConfigError(f"{written} is a range; a grid needs its values one by one: {key}=VALUE,VALUE,…")
    if key in ("model", "data", "optimizer", "sweeps") and isinstance(override.value(), list):
        raise ConfigError(f"{written} would mix several into one; write {key}=A,B to sweep them")


def launch(
    context: HydraContext, task: TaskFunction, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """One JobReturn per job. A task with `run_sweep` trains them all first; each job then returns its outcome."""
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    jobs = [_job(context, config, overrides, first + index) for index, overrides in enumerate(job_overrides)]
    run_sweep = getattr(task, "run_sweep", None)
    tasks = [task] * len(jobs)
    if run_sweep is not None:
        typed = [str(override) for override in config.hydra.overrides.task]
        name = folder_name(typed, config.hydra.runtime.choices.get("sweeps"))
        outcomes = run_sweep([to_config(job) for job in jobs], name)
        tasks = [_returning(outcome) for outcome in outcomes]
    state = Singleton.get_state()
    returns = []
    for job, own_task in zip(jobs, tasks, strict=True):
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
