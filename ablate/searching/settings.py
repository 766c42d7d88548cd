"""What `hydra.sweeper.…` says of a search, checked: objective, trials, sampler, pruner, race, storage."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ablate.analysis.trials import SPEED, leading
from ablate.config import former_names
from ablate.config.errors import ConfigError, listing, nearest
from ablate.config.knobs import is_knob, no_knob, no_knob_of
from ablate.config.metrics import METRICS
from ablate.config.overrides import Override
from ablate.config.registry import TASKS
from ablate.config.schema import Config
from ablate.searching.race import LIMIT, Scale
from ablate.tasks.facts import TaskFacts

if TYPE_CHECKING:
    from hydra_plugins.ablate_hydra.optuna_sweeper import OptunaSweeper

ALIASES = {"tokens_per_sec": SPEED}
"""Other spellings of objectives."""
LEAST_REPORTED = 6
"""Fresh seeds that report, unless the search is told otherwise: what this project asks of any comparison."""


@dataclass(frozen=True)
class Objective:
    """One number that a search makes small or large."""

    name: str
    better: str = "lower"

    @property
    def direction(self) -> str:
        return "minimize" if self.better == "lower" else "maximize"

    @property
    def scale(self) -> Scale:
        """On which its values are averaged and compared."""
        return Scale.of(self.name, self.better)


@dataclass(frozen=True)
class Race:
    """How seeds are spent: `first` on every configuration, all of them on those that may yet be the best.

    A configuration is dropped once the evidence that it is worse than the best one reaches `p`; 0 races nobody.
    The `best` few of a search are trained again on `fresh` seeds, which the search has not seen: one half of them
    chooses the winner, the other half, on which nothing has been chosen, reports it.
    """

    first: int = 2
    p: float = LIMIT
    best: int = 3
    fresh: int | None = None


@dataclass(frozen=True)
class Settings:
    """A search, apart from its space."""

    objectives: tuple[Objective, ...]
    n_trials: int
    seeds: tuple[int, ...]  # of every configuration that is not dropped, the first ones first
    race: Race | None = field(default_factory=Race)  # None: every seed at once
    sampler: str = "tpe"
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    pruner: str = "none"
    pruner_options: Mapping[str, Any] = field(default_factory=dict)
    storage: str | None = None
    study: str | None = None
    seed: int = 0
    parallel: int = 4
    baseline: tuple[str, ...] | None = None
    confirm: bool = True  # whether the best few are evaluated again on fresh seeds

    @property
    def leading(self) -> Objective:
        """The objective by which runs are pruned and configurations raced."""
        names = [objective.name for objective in self.objectives]
        return self.objectives[names.index(leading(names))]

    @property
    def primary(self) -> str:
        return self.leading.name

    @property
    def speed(self) -> bool:
        return any(objective.name == SPEED for objective in self.objectives)

    @property
    def trains(self) -> bool:
        return any(objective.name != SPEED for objective in self.objectives)

    @property
    def measured(self) -> tuple[str, ...]:
        """The objectives that every run has to have."""
        return tuple(objective.name for objective in self.objectives if objective.name != SPEED)

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Seeds right after those of the search: those that choose the winner, then those that report it."""
        count = (self.race.fresh if self.race else None) or max(2 * LEAST_REPORTED, len(self.seeds))
        return tuple(range(self.seeds[-1] + 1, self.seeds[-1] + 1 + count))

    @property
    def choosing_seeds(self) -> tuple[int, ...]:
        """The fresh seeds by which the winner among the best few is chosen; none where there is one fresh seed."""
        return self.fresh_seeds[: len(self.fresh_seeds) // 2]

    @property
    def reporting_seeds(self) -> tuple[int, ...]:
        """The other fresh seeds: those that choose nothing, and give every number that is reported of the winner."""
        return self.fresh_seeds[len(self.fresh_seeds) // 2 :]


def objectives(value: Any, measured: Collection[str] | None = None) -> tuple[Objective, ...]:
    """Of `perplexity` or `[val_perplexity, tokens_per_s]`. Raises ConfigError for what no search looks for; of the
    choices it names those that are `measured`."""
    found = []
    quality = [metric.name for metric in METRICS if metric.searchable]
    for written in value if isinstance(value, list | tuple) else [value]:
        name = former_names.METRICS.get(str(written), ALIASES.get(str(written), str(written)))
        known = [*quality, SPEED]
        if name not in known:
            offered = [one for one in known if measured is None or one in measured]
            near = nearest(name, offered)
            raise ConfigError(f"objective is {written!r}, for which no search looks; choose {listing(offered)}{near}")
        found.append(Objective(name, "higher" if name == SPEED else METRICS[name].better))
    if len({objective.name for objective in found}) < len(found) or not found:
        raise ConfigError(f"objective is {plain(value)}; name one or several different ones")
    return tuple(found)


def searched_for(facts: TaskFacts) -> list[str]:
    """What a search of a task can look for: of tokens there are none where it has no network of ours."""
    return [*(name for name in facts.measured if METRICS[name].searchable), *[SPEED] * facts.has_network]


def check_produced(settings: Settings, config: Config) -> None:
    """Raise ConfigError for an objective that runs of this config do not measure, or that cannot be pruned by."""
    task, facts = config.task.name, TASKS[config.task.name]
    for objective in settings.objectives:
        if objective.name not in searched_for(facts):
            raise ConfigError(
                f"objective is {objective.name}, which task={task} does not measure; "
                f"choose {listing(searched_for(facts))}"
            )
    for wanted in (objective.name for objective in settings.objectives):
        if lacking := facts.not_held_out(wanted, config):
            raise ConfigError(f"objective is {wanted}, but {lacking}, or search for perplexity")
    if config.match is not None:
        raise ConfigError(
            f"match={config.match} makes models as large as the first one of a sweep, and a search has no first one; "
            "leave it out, and give num_hiddens or search for it"
        )
    if settings.pruner not in ("none", "wilcoxon") and settings.primary in facts.measured_finally:
        raise ConfigError(
            f"pruner={settings.pruner} stops runs by their epochs, but {settings.primary} is measured of the trained "
            "network alone; choose pruner=none or wilcoxon"
        )


def named(value: Any, what: str) -> tuple[str, dict[str, Any]]:
    """Name and options: `tpe`, or `{name: tpe, n_startup_trials: 20}`."""
    value = plain(value)
    if value is None:
        return "none", {}
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return value["name"], {str(key): option for key, option in value.items() if key != "name"}
    raise ConfigError(f"{what} is {value!r}; write a name, or {{name: NAME, OPTION: VALUE}}")


def race_of(value: Any) -> Race | None:
    """`null` for no race; else the options that differ from the defaults."""
    value = plain(value)
    if value is None or value is False:
        return None
    if not isinstance(value, Mapping) or set(value) - set(Race.__dataclass_fields__):
        raise ConfigError(f"race is {value!r}; its options are {listing(Race.__dataclass_fields__)}, or null for none")
    race = Race(**value)
    for name in ("first", "best", "fresh"):
        if name != "fresh" or race.fresh is not None:
            whole(getattr(race, name), f"race.{name}")
    if not is_of(race.p, float) or not 0 <= race.p < 0.5:
        raise ConfigError(f"race.p is {race.p!r}; it must be from 0 up to, not including, 0.5")
    return race


def whole(value: Any, name: str, least: int = 1) -> int:
    """A whole number, of `least` or more. Raises ConfigError for anything else."""
    if not is_of(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, {least} or more")
    return int(value)


def is_of(value: Any, kind: type) -> bool:
    """Whether a value that was typed is of a kind: a whole number is a number, too, but true and false are none."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def plain(value: Any) -> Any:
    """Dicts and lists for what Hydra passes as nodes of its own."""
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Knobs with their values, also of a table of tables: `model: {activation: relu}` is model.activation."""
    for key, item in table.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{above}{key}.")
        else:
            yield f"{above}{key}", item


def overrides_of(value: Any) -> tuple[str, ...] | None:
    """The baseline: `{}` for the defaults, `{model: rnn, lr: 1}` for others, `null` for none."""
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, Mapping):
        return tuple(f"{key}={'null' if item is None else item}" for key, item in _flat(value))
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise ConfigError(f"baseline is {value!r}; write knobs with values, such as {{model: rnn, lr: 1}}, or null")


def settings_of(
    sweeper: "OptunaSweeper",
    found: tuple[Objective, ...],
    seeds: tuple[int, ...],
    parallel: int,
    task: TaskFacts | None = None,
) -> Settings:
    """The options of the plugin, checked; `parallel` where they do not say. `task` is none of another program."""
    sampler, sampler_options = named(sweeper.sampler, "sampler")
    pruner, pruner_options = named(sweeper.pruner, "pruner")
    baseline = overrides_of(sweeper.baseline)
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
        seed=whole(sweeper.seed, "hydra.sweeper.seed", least=0),
        parallel=parallel if sweeper.parallel is None else whole(sweeper.parallel, "parallel"),
        baseline=None if baseline is None else tuple(_of_baseline(word, task) if task else word for word in baseline),
    )


def _of_baseline(word: str, task: TaskFacts) -> str:
    """A knob of the baseline by its full name. Raises ConfigError for what is no knob of the task."""
    override, own = Override.read(word), [knob.name for knob in task.knobs]
    if task.has_network:
        if not is_knob(override.key):
            raise ConfigError(f"baseline: {no_knob(override.key)}")
        return word
    if override.key.removeprefix("task.") not in own:
        raise ConfigError(f"baseline: {no_knob_of(task.name, override.key, own)}")
    return str(replace(override, key=full_name(task, override.key)))


def full_name(task: TaskFacts, name: str) -> str:
    """`task.lr` for `lr` where that is a knob of an experiment's own: `lr` alone is that of recurrent networks."""
    return f"task.{name}" if not task.has_network and name in {knob.name for knob in task.knobs} else name
