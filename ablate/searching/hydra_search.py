"""What the Hydra plugin calls: from the typed overrides to a search, of ablate or of any other Hydra program."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.core.override_parser.types import Override as Parsed
from hydra.core.utils import setup_globals
from hydra.types import RunMode

from ablate.config import presets
from ablate.config.composing import Composer, to_config
from ablate.config.errors import ConfigError
from ablate.config.knobs import GROUPS
from ablate.config.overrides import Override, check_size
from ablate.config.registry import TASKS
from ablate.config.schema import Config
from ablate.records.environment import cores
from ablate.searching.settings import full_name, objectives, plain, searched_for, settings_of
from ablate.searching.space import Problem, build
from ablate.sweeping.hydra_jobs import cluster_of, table, written
from ablate.sweeping.labels import knobs_of
from ablate.sweeping.naming import decides, folder_name

if TYPE_CHECKING:
    from hydra_plugins.ablate_hydra.optuna_sweeper import OptunaSweeper


def search(sweeper: "OptunaSweeper", arguments: Sequence[str]) -> Any:
    """Search with the plugin's options; knobs on the command line replace those of the preset."""
    assert sweeper.hydra_context is not None
    setup_globals()
    params, zipped = table("hydra.sweeper.params", plain(sweeper.params)), plain(sweeper.zipped)
    if together := [
        *(zipped if isinstance(zipped, list | dict) else [zipped] * bool(zipped)),
        *(key for key in params if ":" in key),
    ]:
        raise ConfigError(f"{together[0]}: a search draws each knob by itself; give the knobs one by one")
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    typed = parser.parse_overrides(list(arguments))
    taken = {name_of(override) for override in typed}
    words = [f"{key}={written(value)}" for key, value in params.items()]
    for word in words:
        check_size(Override.read(word))
    preset = parser.parse_overrides(words)
    overrides = [override for override in preset if name_of(override) not in taken] + typed
    run_search = getattr(sweeper.task_function, "run_search", None)
    if run_search is not None:
        return search_runs(sweeper, overrides, run_search)
    if not any(override.is_sweep_override() for override in overrides):  # one configuration: one job
        assert sweeper.launcher is not None
        return [sweeper.launcher.launch([[str(override.input_line) for override in overrides]], initial_job_idx=0)]
    from ablate.searching.jobs import search_jobs  # torch, which a search of ablate loads behind its checks

    return search_jobs(sweeper, overrides)


def name_of(override: Parsed) -> str:
    return str(override.get_key_element()).lstrip("+~")


def search_runs(sweeper: "OptunaSweeper", overrides: Sequence[Parsed], run_search: Any) -> Any:
    """A search of ablate: configurations over paired seeds. `run_search` gets the problem."""
    context, config = sweeper.hydra_context, sweeper.config
    assert context is not None
    assert config is not None
    cluster = cluster_of(config)
    for override in overrides:
        check_searchable(override)

    composed = Composer(lambda job: context.config_loader.load_sweep_config(config, list(job))).config
    base = composed([str(override.input_line) for override in overrides if not override.is_sweep_override()])
    task = base.task.thing
    space, fixed = build(overrides, plain(sweeper.conditions), knobs_of(base), partial(full_name, task))

    def compose(trial: tuple[str, ...]) -> Config:
        own = {override.partition("=")[0] for override in trial}
        return composed([*(override for override in fixed if override.partition("=")[0] not in own), *trial])

    def defaults(groups: Sequence[str]) -> Config:
        return to_config(context.config_loader.load_configuration("config", list(groups), RunMode.RUN))

    settings = settings_of(
        sweeper,
        objectives(plain(sweeper.objective), searched_for(TASKS[base.task.name])),
        seeds=tuple(range(base.seed, base.seed + base.seeds)),
        parallel=2 * (base.threads or (cores() if cluster is None else cluster.cpus)),
        task=task,
    )
    typed = [str(override) for override in config.hydra.overrides.task]
    preset = config.hydra.runtime.choices.get("sweeps")
    given = presets.given_knobs([*typed, *(str(override.input_line) for override in overrides)], preset)
    name = folder_name(typed, preset)
    return run_search(Problem(space, settings, compose, defaults, name, preset, given, cluster))


def check_searchable(override: Parsed) -> None:
    """Raise ConfigError for a knob that cannot be searched, or values that would be mixed into one."""
    key, typed = override.get_key_element(), str(override.input_line)
    if key in GROUPS and isinstance(override.value(), list):
        raise ConfigError(f"{typed} would mix several into one; write {key}=choice(A,B) to search them")
    if not override.is_sweep_override():
        return
    if isinstance(override.value(), Glob) and not list(override.sweep_string_iterator()):
        raise ConfigError(f"{typed} matches nothing; write {key}=choice(A,B)")
    if name_of(override) in ("seed", "seeds"):
        raise ConfigError(f"{typed}: seeds are not searched, every configuration has the same; give one number")
    if key == "sweeps" or not decides(name_of(override)):
        raise ConfigError(f"{typed}: {key} does not change what comes out of a run, so there is nothing to search")
