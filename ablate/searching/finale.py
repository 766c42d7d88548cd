"""The end of a search: the best few again on fresh seeds, on which nothing has been chosen, and only then a winner.

The best value of a search is too good to be true: it was the luckiest of many. What is reported are the fresh seeds
alone, the same ones for every finalist and for the baseline.
"""

import fcntl
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from ablate.errors import ConfigError
from ablate.searching.evaluation import Evaluator, Failed, Finished, Overrides
from ablate.searching.race import Ratio, estimate, interval, ratio_to
from ablate.searching.search import POLL_S, Search, front, ranked
from ablate.searching.settings import SPEED, Settings
from ablate.searching.space import Space, Values


@dataclass
class Finalist:
    """A configuration with its fresh seeds. The baseline has no trial."""

    number: int | None
    values: Values
    overrides: Overrides
    told: list[float] = field(default_factory=list)  # as the search saw it
    runs: dict[int, dict[str, float]] = field(default_factory=dict)  # fresh seed → metric → value
    speed: dict[str, float] | None = None
    failure: str = ""

    def results(self, metric: str) -> dict[int, float]:
        return {seed: run[metric] for seed, run in sorted(self.runs.items())}

    def estimate(self, metric: str) -> float:
        return estimate(self.results(metric)) if self.runs else math.nan

    def interval(self, metric: str) -> tuple[float, float]:
        return interval(self.results(metric)) if self.runs else (math.nan, math.nan)

    @property
    def sound(self) -> bool:
        return not self.failure and all(math.isfinite(value) for run in self.runs.values() for value in run.values())


@dataclass
class Outcome:
    """What a search found. No `winner` while others are still at it, or where nothing finished."""

    finalists: list[Finalist] = field(default_factory=list)  # best first
    winner: Finalist | None = None
    front: list[Finalist] = field(default_factory=list)  # of several objectives
    baseline: Finalist | None = None
    against_baseline: Ratio | None = None
    confirmed: bool = False  # whether the numbers are those of fresh seeds
    note: str = ""
    waits: bool = False  # for other processes


def conclude(search: Search, evaluator: Evaluator, folder: Path | None) -> Outcome:
    """Evaluate the best few and the baseline on the fresh seeds; the last process of a study does it."""
    study, settings, space = search.study, search.settings, search.space
    living = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if trial.user_attrs.get("worker") != search.worker.id
    ]
    if living:
        return Outcome(
            note=f"{len(living)} trials are still running in other processes; the last one names the winner", waits=True
        )
    several = len(settings.objectives) > 1
    trials = study.get_trials(deepcopy=False)
    chosen = front(trials, settings) if several else best_few(trials, settings)
    finalists = [finalist(trial, space) for trial in chosen]
    if not finalists:
        return Outcome(note="no configuration has a value yet")
    baseline = Finalist(None, {}, settings.baseline) if settings.baseline is not None else None
    if not (settings.confirm and settings.trains):
        return named(Outcome(finalists, baseline=None), settings)
    with alone(folder) as first:
        if not first:
            return Outcome(note="another process names the winner", waits=True)
        everyone = [*finalists, *([baseline] if baseline else [])]
        search.progress.say(
            f"{len(finalists)} of the best{' and the baseline' if baseline else ''} "
            f"on {len(settings.fresh_seeds)} fresh seeds"
        )
        evaluate(everyone, settings.fresh_seeds, evaluator)
    for one in everyone:
        if one.failure:
            search.progress.say(f"[red]failed:[/] {' '.join(one.overrides) or 'the baseline'}: {one.failure}")
    return named(Outcome(finalists, baseline=baseline, confirmed=True), settings)


def best_few(trials: Sequence[FrozenTrial], settings: Settings) -> list[FrozenTrial]:
    return ranked(trials, settings)[: settings.race.best if settings.race else 3]


def finalist(trial: FrozenTrial, space: Space) -> Finalist:
    return Finalist(
        trial.number,
        dict(trial.params),
        space.written(trial.params),
        list(trial.values),
        speed=trial.user_attrs.get("speed"),
    )


def evaluate(everyone: Sequence[Finalist], seeds: Sequence[int], evaluator: Evaluator) -> None:
    """Fill in the runs of all on these seeds."""
    waiting = {-1 - position: one for position, one in enumerate(everyone)}
    for ticket, one in waiting.items():
        try:
            evaluator.submit(ticket, one.overrides, seeds)
        except ConfigError as error:
            one.failure = str(error)
    waiting = {ticket: one for ticket, one in waiting.items() if not one.failure}
    while waiting:
        for event in evaluator.poll(POLL_S):
            if event.ticket in waiting and isinstance(event, Finished):
                waiting.pop(event.ticket).runs = {seed: dict(run) for seed, run in event.runs.items()}
            elif event.ticket in waiting and isinstance(event, Failed):
                waiting.pop(event.ticket).failure = event.reason


def named(outcome: Outcome, settings: Settings) -> Outcome:
    """Best first, by the fresh seeds where there are some; the winner, or the front of several objectives."""
    sound = [one for one in outcome.finalists if one.sound]
    if len(settings.objectives) > 1:
        signs = [1 if objective.better == "lower" else -1 for objective in settings.objectives]
        points = {id(one): [s * v for s, v in zip(signs, values(one, settings), strict=True)] for one in sound}
        outcome.front = [
            one
            for one in sound
            if not any(
                all(o <= m for o, m in zip(points[id(other)], points[id(one)], strict=True))
                and points[id(other)] != points[id(one)]
                for other in sound
            )
        ]
        return outcome
    sign = 1 if settings.objectives[0].better == "lower" else -1
    sound.sort(key=lambda one: sign * values(one, settings)[0])
    outcome.finalists = [*sound, *(one for one in outcome.finalists if not one.sound)]
    outcome.winner = next(iter(sound), None)
    if outcome.winner and outcome.baseline and outcome.baseline.runs:
        metric = settings.primary
        outcome.against_baseline = ratio_to(outcome.winner.results(metric), outcome.baseline.results(metric))
    return outcome


def values(one: Finalist, settings: Settings) -> list[float]:
    """One number per objective: fresh where it can be."""
    return [
        one.estimate(objective.name) if one.runs and objective.name != SPEED else told
        for objective, told in zip(settings.objectives, one.told, strict=True)
    ]


@contextmanager
def alone(folder: Path | None) -> Iterator[bool]:
    """Whether this is the only process that names the winner in this folder now."""
    if folder is None:
        yield True
        return
    with (folder / ".finale.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
