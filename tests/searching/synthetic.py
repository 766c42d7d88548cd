"""An evaluator that computes made-up objectives at once, and a study in memory: searches without any training."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import FrozenTrial

from ablate.config.errors import ConfigError
from ablate.config.metrics import METRICS
from ablate.searching.evaluation import Event, Failed, Finished, Overrides, Reading, Timed
from ablate.searching.progress import SearchProgress
from ablate.searching.race import Scale
from ablate.searching.samplers import make_pruner
from ablate.searching.search import Search
from ablate.searching.settings import Objective, Race, Settings
from ablate.searching.space import Space, build
from ablate.searching.storage import takes_slot
from ablate.searching.study import joined

Truth = Callable[[dict[str, str]], float]


def space_of(*overrides: str, conditions: Any = None, others: Mapping[str, Any] = MappingProxyType({})) -> Space:
    """The space that these overrides mean."""
    return build(OverridesParser.create().parse_overrides(list(overrides)), conditions, others)[0]


def knobs(overrides: Overrides) -> dict[str, str]:
    return dict(override.split("=", 1) for override in overrides)  # type: ignore[misc]


class Noisy:
    """`truth` of the knobs, times exp of noise that belongs to the seed, and of noise of its own.

    Counts what it is asked for. `breaks` and `diverges` say for which knobs, `diverges_on` for which seeds of them;
    `epochs` makes it report readings that fall towards the final value. `names` are the metrics that have the value.
    """

    def __init__(
        self,
        truth: Truth,
        *,
        common: float = 0.0,
        own: float = 0.0,
        epochs: int = 0,
        breaks: Callable[[dict[str, str]], bool] = lambda knobs: False,
        diverges: Callable[[dict[str, str]], bool] = lambda knobs: False,
        diverges_on: Callable[[dict[str, str], int], bool] = lambda knobs, seed: False,
        speed: Truth | None = None,
        noise: int = 0,
        names: Sequence[str] = ("perplexity", "val_perplexity"),
    ) -> None:
        self.truth, self.common, self.own, self.epochs = truth, common, own, epochs
        self.breaks, self.speed, self.noise, self.names = breaks, speed, noise, names
        self.diverges = lambda knobs, seed: diverges(knobs) or diverges_on(knobs, seed)
        self.events: list[Event] = []
        self.evaluated: list[tuple[Overrides, int]] = []
        self.abandoned: set[int] = set()
        self.former_keys: dict[str, tuple[str, ...]] = {}
        self.free: set[str] = set()  # configurations that another sweep has

    def identify(self, overrides: Overrides) -> str:
        if "illegal=1" in overrides:
            raise ConfigError("illegal is 1; it must be 0")
        return " ".join(sorted(overrides))

    def value(self, overrides: Overrides, seed: int) -> float:
        """The same for the same configuration and seed, whoever asks."""
        text = " ".join(sorted(overrides))
        mine = np.random.default_rng([self.noise, seed, *text.encode()])
        shared = np.random.default_rng([self.noise, seed])
        log = self.common * shared.standard_normal() + self.own * mine.standard_normal()
        return self.truth(knobs(overrides)) * math.exp(log)

    def submit(self, ticket: int, overrides: Overrides, seeds: Sequence[int]) -> None:
        chosen = knobs(overrides)
        if self.breaks(chosen):
            self.events.append(Failed(ticket, "RuntimeError: it broke"))
            return
        runs = {}
        for seed in seeds:
            self.evaluated.append((overrides, seed))
            value = self.value(overrides, seed)
            if self.diverges(chosen, seed):
                runs[seed] = {name: Scale.of(name, METRICS[name].better).worst for name in self.names}
                continue
            runs[seed] = dict.fromkeys(self.names, value)
            for epoch in range(1, self.epochs):
                now = value * (1 + 1 / epoch)
                self.events.append(Reading(ticket, seed, epoch, dict.fromkeys(self.names, now)))
        self.events.append(Finished(ticket, runs, self.identify(overrides) not in self.free))

    def poll(self, timeout_s: float) -> list[Event]:
        """One event at a time, as from programs that end one after the other."""
        while self.events:
            event = self.events.pop(0)
            if event.ticket not in self.abandoned:
                return [event]
        return []

    def abandon(self, ticket: int) -> None:
        self.abandoned.add(ticket)

    def measure_speed(self, configurations: Mapping[int, Overrides]) -> dict[int, Timed]:
        assert self.speed is not None
        found = {}
        for ticket, overrides in configurations.items():
            value = self.speed(knobs(overrides))
            found[ticket] = Timed(value, value, value) if value > 0 else Timed(None, why="too noisy")
        return found


def settings(**changes: Any) -> Settings:
    """One objective, 20 trials, seeds 0 to 5, raced; one trial at a time, so that it is the same each time."""
    usual: dict[str, Any] = {
        "objectives": (Objective("perplexity"),),
        "n_trials": 20,
        "seeds": tuple(range(6)),
        "race": Race(),
        "parallel": 1,
        "sampler": "random",
    }
    return Settings(**usual | changes)


@contextmanager
def searching(
    space: Space, wanted: Settings, evaluator: Noisy, folder: Path, epochs: int = 20
) -> Iterator[tuple[Search, optuna.Study]]:
    """A search in a study below this folder (or where the settings say)."""
    pruner = make_pruner(wanted.pruner, wanted.pruner_options, epochs, len(wanted.objectives) > 1)
    design = {
        "objectives": [objective.name for objective in wanted.objectives],
        "seeds": list(wanted.seeds),
        "fixed": {},
        "space": space.to_json(),
    }
    with joined(wanted, space, folder, "made-up", design, pruner) as (study, worker):
        yield Search(space, wanted, evaluator, study, worker, SearchProgress(wanted.n_trials)), study


def run(space: Space, wanted: Settings, evaluator: Noisy, folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials after this process's share of the search."""
    with searching(space, wanted, evaluator, folder) as (search, study):
        search.run()
        return study.get_trials()


def bowl(knobs: dict[str, str]) -> float:
    """Lowest, 5, at x = 0.3."""
    return 5 + (float(knobs["x"]) - 0.3) ** 2


def line(knobs: dict[str, str]) -> float:
    return 5 + float(knobs["x"])


LINE = space_of("x=range(0,10)")
BOWL = space_of("x=interval(-2,2)")


def counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if takes_slot(trial)]
