"""What `hydra.sweeper.…` says of a search, checked: objective, trials, sampler, pruner, race, storage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ablate.config import Config
from ablate.errors import ConfigError, listing, nearest
from ablate.metrics import METRICS

SPEED = "tokens_per_s"
ALIASES = {"tokens_per_sec": SPEED}
QUALITY = tuple(name for name in METRICS if name.endswith("perplexity"))


@dataclass(frozen=True)
class Objective:
    """One number that a search makes small or large."""

    name: str
    better: str = "lower"

    @property
    def direction(self) -> str:
        return "minimize" if self.better == "lower" else "maximize"


@dataclass(frozen=True)
class Race:
    """How seeds are spent: `first` on every configuration, all of them on those that may yet be the best.

    A configuration is dropped once the evidence that it is worse than the best one reaches `p`; 0 races nobody.
    The `best` few of a search are trained again on `fresh` seeds, on which nothing has been chosen yet.
    """

    first: int = 2
    p: float = 0.1
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
    def primary(self) -> str:
        """The metric on which runs are pruned and configurations raced: the first that training gives."""
        return next((o.name for o in self.objectives if o.name != SPEED), self.objectives[0].name)

    @property
    def speed(self) -> bool:
        return any(objective.name == SPEED for objective in self.objectives)

    @property
    def trains(self) -> bool:
        return any(objective.name != SPEED for objective in self.objectives)

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Seeds right after those of the search."""
        count = (self.race.fresh if self.race else None) or max(len(self.seeds), 5)
        return tuple(range(self.seeds[-1] + 1, self.seeds[-1] + 1 + count))


def objectives(value: Any) -> tuple[Objective, ...]:
    """Of `perplexity` or `[val_perplexity, tokens_per_s]`. Raises ConfigError for what no search looks for."""
    found = []
    for written in [value] if isinstance(value, str) else list(value):
        name = ALIASES.get(str(written), str(written))
        known = [*QUALITY, SPEED]
        if name not in known:
            raise ConfigError(
                f"objective is {written!r}, for which no search looks; choose {listing(known)}{nearest(name, known)}"
            )
        found.append(Objective(name, "higher" if name == SPEED else METRICS[name].better))
    if len({objective.name for objective in found}) < len(found) or not found:
        raise ConfigError(f"objective is {plain(value)}; name one or several different ones")
    return tuple(found)


def check_produced(settings: Settings, config: Config) -> None:
    """Raise ConfigError for an objective that runs of this config do not produce."""
    held_out = {"memory": 1, "translation": config.task.val_pairs}.get(config.task.name, config.val_tokens // 2)
    if not held_out and any(o.name in ("val_perplexity", "best_val_perplexity") for o in settings.objectives):
        nothing = f"task.val_pairs={config.task.val_pairs} holds out no pair; raise task.val_pairs"
        if config.task.name != "translation":
            nothing = f"val_tokens={config.val_tokens} holds out no text; raise val_tokens"
        raise ConfigError(f"objective is {settings.primary}, but {nothing}, or search for perplexity")


def named(value: Any, what: str) -> tuple[str, dict[str, Any]]:
    """Name and options: `tpe`, or `{name: tpe, n_startup_trials: 20}`."""
    value = plain(value)
    if value is None:
        return "none", {}
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return value["name"], {key: option for key, option in value.items() if key != "name"}
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
        count = getattr(race, name)
        if not (isinstance(count, int) and count >= 1) and not (name == "fresh" and count is None):
            raise ConfigError(f"race.{name} is {count!r}; it must be a whole number, 1 or more")
    if not 0 <= race.p < 0.5:
        raise ConfigError(f"race.p is {race.p!r}; it must be from 0 up to, not including, 0.5")
    return race


def whole(value: Any, name: str) -> int:
    """A count. Raises ConfigError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, 1 or more")
    return value


def plain(value: Any) -> Any:
    """Dicts and lists for what Hydra passes as nodes of its own."""
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value


def overrides_of(value: Any) -> tuple[str, ...] | None:
    """The baseline: `{}` for the defaults, `{model: rnn, lr: 1}` for others, `null` for none."""
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, Mapping):
        return tuple(f"{key}={'null' if item is None else item}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise ConfigError(f"baseline is {value!r}; write knobs with values, such as {{model: rnn, lr: 1}}, or null")
