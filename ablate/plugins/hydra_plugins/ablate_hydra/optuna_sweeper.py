"""`hydra/sweeper=ablate_optuna`: a search with Optuna's samplers instead of the product of all values.

In a command of ablate `hydra/sweeper=optuna` is another name of it (`ablate.config.overrides.SWEEPERS`). To programs of
others that name means whatever they have installed for it.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class OptunaSweeperConf:
    """The options of a search. `sampler` and `pruner` are names, or `{name: NAME, OPTION: VALUE}`."""

    _target_: str = "hydra_plugins.ablate_hydra.optuna_sweeper.OptunaSweeper"
    params: Any = None  # knob: values, as on the command line
    conditions: Any = None  # knob: {other knob: [values for which it exists]}
    objective: Any = "val_perplexity"  # a metric that the task measures, or a list for a Pareto front
    n_trials: int = 60  # number of trials, of all processes and invocations together
    sampler: Any = "tpe"  # tpe, gp, cmaes, qmc, random, grid, nsga2
    pruner: Any = "none"  # by epoch: none, median, percentile, halving, hyperband; by seed: wilcoxon
    # `fresh` seeds of the best few: one half chooses, the other reports; null: 12, or as many as a configuration has
    race: Any = field(default_factory=lambda: {"first": 2, "p": 0.1, "best": 3, "fresh": None})  # null: no racing
    storage: str | None = None  # sqlite (null), journal, or a URL such as postgresql://user@host/database
    study: str | None = None  # its name in the storage; null: that of the sweep
    seed: int = 0  # seed of the sampler
    parallel: int | None = None  # trials at the same time in this process; null: two per core
    baseline: Any = None  # {knob: value} of a configuration to compare the winner with; {} for the defaults
    direction: Any = None  # for programs other than ablate: minimize, maximize, or a list
    zipped: Any = None  # refused: a search draws each knob by itself


ConfigStore.instance().store(group="hydra/sweeper", name="ablate_optuna", node=OptunaSweeperConf, provider="ablate")


class OptunaSweeper(Sweeper):
    """Asks, evaluates and tells; a task with `run_search(problem)` gets the whole search."""

    def __init__(
        self,
        params: Any,
        conditions: Any,
        objective: Any,
        n_trials: int,
        sampler: Any,
        pruner: Any,
        race: Any,
        storage: str | None,
        study: str | None,
        seed: int,
        parallel: int | None,
        baseline: Any,
        direction: Any,
        zipped: Any = None,
    ) -> None:
        self.params, self.conditions, self.objective, self.n_trials = params, conditions, objective, n_trials
        self.sampler, self.pruner, self.race, self.seed = sampler, pruner, race, seed
        self.storage, self.study, self.parallel = storage, study, parallel
        self.baseline, self.direction, self.zipped = baseline, direction, zipped
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from ablate.searching.hydra_search import search

        return search(self, arguments)
