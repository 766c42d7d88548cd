"""What the Hydra plugin calls: from the typed overrides to a search, of ablate or of any other Hydra program."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf

from ablate.compose import to_config
from ablate.config import Config
from ablate.environment import cores
from ablate.errors import ConfigError
from ablate.searching.jobs import Jobs
from ablate.searching.progress import SearchProgress
from ablate.searching.samplers import make_pruner, make_sampler
from ablate.searching.search import Search, ranked
from ablate.searching.settings import (
    Objective,
    Settings,
    named,
    objectives,
    overrides_of,
    plain,
    race_of,
    whole,
)
from ablate.searching.space import build
from ablate.searching.study import joined
from ablate.sweeping.naming import decides, folder_name
from ablate.sweeping.plan import knobs_of

if TYPE_CHECKING:
    from hydra_plugins.ablate_hydra.optuna_sweeper import OptunaSweeper


def search(sweeper: "OptunaSweeper", arguments: Sequence[str]) -> Any:
    """Search with the plugin's options; knobs on the command line replace those of the preset."""
    assert sweeper.hydra_context is not None
    setup_globals()
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    typed = parser.parse_overrides(list(arguments))
    taken = {name_of(override) for override in typed}
    preset = parser.parse_overrides([f"{key}={value}" for key, value in (plain(sweeper.params) or {}).items()])
    overrides = [override for override in preset if name_of(override) not in taken] + typed
    run_search = getattr(sweeper.task_function, "run_search", None)
    return search_runs(sweeper, overrides, run_search) if run_search else search_jobs(sweeper, overrides)


def name_of(override: Override) -> str:
    return str(override.get_key_element()).lstrip("+~")


def search_runs(sweeper: "OptunaSweeper", overrides: Sequence[Override], run_search: Any) -> Any:
    """A search of ablate: configurations over paired seeds. `run_search` gets the problem."""
    from ablate.searching.run import Problem  # loads torch: not for a mistyped knob

    context, config = sweeper.hydra_context, sweeper.config
    assert context is not None
    assert config is not None
    for override in overrides:
        check_searchable(override)

    def composed(job: Sequence[str]) -> Config:
        return to_config(context.config_loader.load_sweep_config(config, list(job)))

    base = composed([str(override.input_line) for override in overrides if not override.is_sweep_override()])
    space, fixed = build(overrides, plain(sweeper.conditions), lambda name: knobs_of(base).get(name))

    def compose(trial: tuple[str, ...]) -> Config:
        own = {override.partition("=")[0] for override in trial}
        return composed([*(override for override in fixed if override.partition("=")[0] not in own), *trial])

    def defaults(groups: Sequence[str]) -> Config:
        return to_config(context.config_loader.load_configuration("config", list(groups), RunMode.RUN))

    settings = settings_of(
        sweeper,
        objectives(plain(sweeper.objective)),
        seeds=tuple(range(base.seed, base.seed + base.seeds)),
        parallel=2 * (base.threads or cores()),
    )
    typed = [str(override) for override in config.hydra.overrides.task]
    name = folder_name(typed, config.hydra.runtime.choices.get("sweeps"))
    return run_search(Problem(space, settings, compose, defaults, name))


def check_searchable(override: Override) -> None:
    """Raise ConfigError for a knob that cannot be searched, or values that would be mixed into one."""
    key, typed = override.get_key_element(), str(override.input_line)
    if key in ("model", "data", "optimizer", "sweeps") and isinstance(override.value(), list):
        raise ConfigError(f"{typed} would mix several into one; write {key}=choice(A,B) to search them")
    if not override.is_sweep_override():
        return
    if name_of(override) in ("seed", "seeds"):
        raise ConfigError(f"{typed}: seeds are not searched, every configuration has the same; give one number")
    if key == "sweeps" or not decides(name_of(override)):
        raise ConfigError(f"{typed}: {key} does not change what comes out of a run, so there is nothing to search")


def settings_of(
    sweeper: "OptunaSweeper", found: tuple[Objective, ...], seeds: tuple[int, ...], parallel: int
) -> Settings:
    """The options of the plugin, checked; `parallel` where they do not say."""
    sampler, sampler_options = named(sweeper.sampler, "sampler")
    pruner, pruner_options = named(sweeper.pruner, "pruner")
    if not isinstance(sweeper.seed, int) or sweeper.seed < 0:
        raise ConfigError(f"hydra.sweeper.seed is {sweeper.seed!r}; it must be a whole number, 0 or more")
    return Settings(
        objectives=found,
        n_trials=whole(sweeper.n_trials, "n_trials"),
        seeds=seeds,
        race=race_of(sweeper.race),
        sampler=sampler,
        sampler_options=sampler_options,
        pruner=pruner,
        pruner_options=pruner_options,
        storage=sweeper.storage,
        study=sweeper.study,
        seed=sweeper.seed,
        parallel=parallel if sweeper.parallel is None else whole(sweeper.parallel, "parallel"),
        baseline=overrides_of(sweeper.baseline),
    )


def search_jobs(sweeper: "OptunaSweeper", overrides: Sequence[Override]) -> Any:
    """A search of any other Hydra program: the objective is what its task returns, one job per trial."""
    config, launcher = sweeper.config, sweeper.launcher
    assert config is not None
    assert launcher is not None
    folder = Path(str(config.hydra.sweep.dir))
    if not any(override.is_sweep_override() for override in overrides):  # one configuration: one job
        save(config, folder / "multirun.yaml")
        return [launcher.launch([[str(override.input_line) for override in overrides]], initial_job_idx=0)]
    space, fixed = build(overrides, plain(sweeper.conditions))
    found = directed(plain(sweeper.direction) or "minimize")
    settings = replace(settings_of(sweeper, found, seeds=(0,), parallel=1), race=None, confirm=False)
    several = len(found) > 1
    pruner = make_pruner(settings.pruner, settings.pruner_options, 1, several)
    make_sampler(settings.sampler, settings.sampler_options, 0, space, several)
    save(config, folder / "multirun.yaml")
    design = {
        "objectives": [objective.direction for objective in found],
        "seeds": [0],
        "fixed": dict(override.partition("=")[::2] for override in fixed),
        "space": space.to_json(),
    }
    jobs = Jobs(launcher, found, fixed)
    with (
        joined(settings, space, folder, "search", design, pruner) as (study, worker),
        SearchProgress(settings.n_trials) as progress,
    ):
        Search(space, settings, jobs, study, worker, progress).run()
        best: dict[str, Any] = {"name": "optuna"}
        if several:
            best["solutions"] = [{"best_params": t.params, "best_values": t.values} for t in study.best_trials]
        else:
            first = next(iter(ranked(study.get_trials(deepcopy=False), settings)), None)
            best |= {"best_params": first.params, "best_value": first.value} if first else {}
    save(OmegaConf.create(best), folder / "optimization_results.yaml")
    return jobs.returns


def save(config: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, path)


def directed(directions: Any) -> tuple[Objective, ...]:
    """`value`, or `value_0`, `value_1`, …, each with its direction."""
    wanted = [directions] if isinstance(directions, str) else list(directions)
    for direction in wanted:
        if direction not in ("minimize", "maximize"):
            raise ConfigError(f"direction is {direction!r}; choose minimize or maximize")
    names = ["value"] if len(wanted) == 1 else [f"value_{k}" for k in range(len(wanted))]
    better = {"minimize": "lower", "maximize": "higher"}
    return tuple(Objective(name, better[direction]) for name, direction in zip(names, wanted, strict=True))
