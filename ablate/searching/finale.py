"""The end of a search: the best few again on fresh seeds, which the search has not seen, and only then a winner.

The best value of a search is biased: it is the luckiest of many (winner's curse). The same holds of the best few on
whatever seeds choose among them. So one half of the fresh seeds chooses the winner, and the other half, on which
nothing has been chosen, reports it, and the baseline with it.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from ablate.analysis.trials import SPEED
from ablate.config.errors import ConfigError, counted
from ablate.config.metrics import reported_as
from ablate.records.locks import InUse, held, warn
from ablate.searching.evaluation import Evaluator, Failed, Overrides, Reading
from ablate.searching.progress import causes
from ablate.searching.race import SeedComparison, compare, estimate, interval, same
from ablate.searching.search import POLL_S, Search
from ablate.searching.settings import Objective, Settings
from ablate.searching.space import Space, Values
from ablate.searching.standings import front, ranked, with_values
from ablate.searching.storage import takes_slot

Runs = dict[int, dict[str, float]]
"""Seed → metric → value."""

FEW = 3
"""How many of the best go on where there is no race to say so."""


@dataclass
class Finalist:
    """A configuration with its fresh seeds. The baseline has no trial."""

    number: int | None
    values: Values
    overrides: Overrides
    told: list[float] = field(default_factory=list)  # as the search saw it
    choosing: Runs = field(default_factory=dict)  # on the fresh seeds by which the winner is chosen
    runs: Runs = field(default_factory=dict)  # on those that report
    speed: dict[str, float] | None = None
    failure: str = ""

    @property
    def title(self) -> str:
        return "the baseline" if self.number is None else f"trial {self.number}"

    def results(self, metric: str) -> dict[int, float]:
        """Seed → metric, on the seeds that report."""
        return by_seed(self.runs, metric)

    def reported(self, objective: Objective) -> Objective:
        """The objective as it is reported: measured on the test data, by which nothing was chosen, where every run on
        the seeds that report has that."""
        name = reported_as(objective.name)
        on_test = bool(self.runs) and all(name in run for run in self.runs.values())
        return Objective(name, objective.better) if on_test else objective

    def estimate(self, objective: Objective) -> float:
        """On the seeds that report."""
        return estimate(self.results(objective.name), objective.scale) if self.runs else math.nan

    def interval(self, objective: Objective) -> tuple[float, float]:
        return interval(self.results(objective.name), objective.scale) if self.runs else (math.nan, math.nan)

    @property
    def sound(self) -> bool:
        return not self.failure and not diverged(self.choosing) and not diverged(self.runs)

    @property
    def trouble(self) -> str:
        """Why it cannot win; nothing where it can."""
        if self.failure:
            return f"{self.title} failed: {self.failure}"
        for runs, seeds in ((self.choosing, "choosing"), (self.runs, "reporting")):
            if diverged(runs):
                return f"{self.title} diverged on {diverged(runs)} of {counted(len(runs), f'{seeds} seed')}"
        return ""


@dataclass
class Outcome:
    """What a search found. No `winner` while others are still at it, or where there is none, which `notes` explain."""

    finalists: list[Finalist] = field(default_factory=list)  # best first
    winner: Finalist | None = None
    front: list[Finalist] = field(default_factory=list)  # of several objectives
    baseline: Finalist | None = None
    against_baseline: SeedComparison | None = None
    compared_by: str = ""  # the metric of that comparison
    confirmed: bool = False  # whether the numbers are those of fresh seeds
    concluded: bool = False  # whether all trials are done, and this is what came of them
    notes: list[str] = field(default_factory=list)
    waits: bool = False  # for other processes


def by_seed(runs: Runs, metric: str) -> dict[int, float]:
    return {seed: run[metric] for seed, run in sorted(runs.items()) if metric in run}


def diverged(runs: Runs) -> int:
    """How many of these runs diverged."""
    return sum(any(not math.isfinite(value) for value in run.values()) for run in runs.values())


def conclude(search: Search, evaluator: Evaluator, folder: Path | None) -> Outcome:
    """Evaluate the best few and the baseline on the fresh seeds; the last process of a study does it."""
    study, settings, space = search.study, search.settings, search.space
    living = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if trial.user_attrs.get("worker") != search.worker.id
    ]
    if living:
        note = (
            f"{counted(len(living), 'trial')} still running in other processes; the last one names the winner. Where "
            "they have died, the same command does it"
        )
        return Outcome(notes=[note], waits=True)
    several = len(settings.objectives) > 1
    trials = study.get_trials(deepcopy=False)
    chosen = front(trials, settings) if several else best_few(trials, settings)
    if not chosen:
        return Outcome(
            notes=[why_none(trials, space, study.user_attrs.get("design", {}).get("fixed", {}))],
            concluded=True,
        )
    equal = all_equal(trials, settings)
    if equal:
        return Outcome(notes=[equal], concluded=True)
    notes = tied_at_the_cut(trials, chosen, settings)
    finalists = [finalist(trial, space) for trial in chosen]
    if not (settings.confirm and settings.trains):
        return named(Outcome(finalists, concluded=True, notes=notes), settings)
    baseline = Finalist(None, {}, settings.baseline) if settings.baseline is not None else None
    with alone(folder, search.progress.say) as first:
        if not first:
            return Outcome(notes=["another process names the winner; if it dies, the same command does"], waits=True)
        return Finale(settings, evaluator, search.progress.say).run(finalists, baseline, notes)


def best_few(trials: Sequence[FrozenTrial], settings: Settings) -> list[FrozenTrial]:
    return ranked(trials, settings)[: settings.race.best if settings.race else FEW]


def finalist(trial: FrozenTrial, space: Space) -> Finalist:
    return Finalist(
        trial.number,
        dict(trial.params),
        space.written(trial.params),
        list(trial.values),
        speed=trial.user_attrs.get("speed"),
    )


# --- where there is nothing to choose -------------------------------------------------------------------


def why_none(trials: Sequence[FrozenTrial], space: Space, fixed: Mapping[str, Any]) -> str:
    """One line for a search without any configuration that could win: what became of its trials, and what to do.

    `fixed`: the knobs that are not searched.
    """
    ended = [trial for trial in trials if takes_slot(trial) and trial.state.is_finished()]
    if not ended:
        return "no trial has ended: there is no configuration with a value"
    found = causes(ended)
    told = "; ".join(f"{count} {what}: {reason}" if reason else f"{count} {what}" for what, reason, count in found)
    line = f"none of {counted(len(ended), 'trial')} has a value on all its seeds ({told})"
    if any(what == "diverged" for what, _, _ in found):
        line += f"; search {against_divergence(space, fixed)}"
    elif any(what == "pruned" for what, _, _ in found):
        line += "; prune less, or raise hydra.sweeper.n_trials"
    return line


def against_divergence(space: Space, fixed: Mapping[str, Any]) -> str:
    """What to search where everything diverged: lower values of lr and clip than those that there were."""
    searched = next((d for d in space.dimensions if d.name.rpartition(".")[2] == "lr"), None)
    lr = "a lower lr" if searched is None else f"lower values of lr than {min(numbers(searched.ends())):g}"
    clips = next((d.ends() for d in space.dimensions if d.name == "clip"), [fixed["clip"]] if "clip" in fixed else [])
    limits = [float(value) for value in clips if isinstance(value, int | float)]
    if limits:
        return f"{lr}, or lower values of clip than {min(limits):g}"
    return f"{lr}, or limit the gradients, which nothing does now: clip=1" if clips else lr


def numbers(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float)] or [math.nan]


def all_equal(trials: Sequence[FrozenTrial], settings: Settings) -> str:
    """A line where several configurations have values and none differs from the others; nothing where one does."""
    told = with_values(trials)
    first = told[0].values if told else []
    if len(told) < 2 or not all(same(a, b) for t in told for a, b in zip(t.values, first, strict=True)):
        return ""
    values = " and ".join(f"{o.name} {value:.6g}" for o, value in zip(settings.objectives, first, strict=True))
    return (
        f"no trial differs from the others: all {len(told)} with a value have {values}, so there is no winner; search "
        "knobs that have an effect, or wider ranges"
    )


def tied_at_the_cut(trials: Sequence[FrozenTrial], chosen: Sequence[FrozenTrial], settings: Settings) -> list[str]:
    """A line where trials that do not go on are as good as one that does."""
    if len(settings.objectives) > 1:
        return []
    last = chosen[-1].values[0]
    left = [trial for trial in ranked(trials, settings)[len(chosen) :] if same(trial.values[0], last)]
    if not left:
        return []
    tied = [trial.number for trial in [*chosen, *left] if same(trial.values[0], last)]
    return [f"trials {listed(tied)} are equal in the search ({last:.4g}); the first of them go on"]


def listed(found: Sequence[int | None]) -> str:
    """`3, 5 and 8`"""
    names = [str(number) for number in found]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


# --- fresh seeds ----------------------------------------------------------------------------------------


class Finale:
    """The best few on the seeds that choose, then what they chose on those that report."""

    def __init__(self, settings: Settings, evaluator: Evaluator, say: Callable[[str], None]) -> None:
        self.settings, self.evaluator, self.say = settings, evaluator, say
        self.tickets = itertools.count(-1, -1)  # never those of a trial
        self.beside: list[Finalist] = []  # the baseline, until something is evaluated on the reporting seeds

    def run(self, finalists: list[Finalist], baseline: Finalist | None, notes: list[str]) -> Outcome:
        settings = self.settings
        outcome = Outcome(finalists, baseline=baseline, confirmed=True, concluded=True, notes=notes)
        seeds, reporting = settings.choosing_seeds, settings.reporting_seeds
        if seeds:
            self.say(f"the best {len(finalists)} on fresh seeds that choose: {listed(seeds)}")
            self.evaluate(finalists, seeds, "choosing")
        which = "what is chosen and the baseline" if baseline else "what is chosen"
        self.say(f"{which} on fresh seeds that report: {listed(reporting)}")
        self.beside = [baseline] if baseline else []
        outcome = self.choose_front(outcome) if len(settings.objectives) > 1 else self.choose_winner(outcome)
        if not (outcome.winner or outcome.front):
            told = "; ".join(one.trouble for one in outcome.finalists)
            outcome.notes.append(f"none of the best {len(finalists)} survived the fresh seeds: {told}")
        if baseline is not None and baseline.trouble:
            outcome.notes.append(baseline.trouble)
        if outcome.winner and baseline and self._same(outcome.winner, baseline):
            outcome.notes.append("what is chosen is the baseline itself")
        elif outcome.winner and baseline and baseline.runs:
            leading = outcome.winner.reported(settings.leading)
            if baseline.reported(settings.leading) != leading:  # it holds out no test data
                leading = settings.leading
            outcome.compared_by = leading.name
            mine, theirs = outcome.winner.results(leading.name), baseline.results(leading.name)
            outcome.against_baseline = compare(mine, theirs, leading.scale)
        return outcome

    def choose_winner(self, outcome: Outcome) -> Outcome:
        """The best on the choosing seeds that does not diverge on the reporting ones either."""
        objective = self.settings.objectives[0]
        sign = 1 if objective.better == "lower" else -1
        order = sorted(outcome.finalists, key=lambda one: (not one.sound, sign * self.chosen_by(one, objective)))
        for place, one in enumerate(order):
            if not one.sound:
                break
            self.report_on([one])
            if one.trouble:
                outcome.notes.append(f"the best on the choosing seeds is passed over: {one.trouble}")
                continue
            value = self.chosen_by(one, objective)
            tied = [o.number for o in order[place:] if o.sound and same(self.chosen_by(o, objective), value)]
            if len(tied) > 1:
                outcome.notes.append(f"trials {listed(tied)} are equal on the choosing seeds; the first is taken")
            outcome.winner = one
            break
        outcome.finalists = sorted(order, key=lambda one: (one is not outcome.winner, not one.sound))
        return outcome

    def choose_front(self, outcome: Outcome) -> Outcome:
        """Those that none of the others beats on the choosing seeds, and that do not diverge on the reporting ones."""
        while True:
            points = {id(one): self.point(one) for one in outcome.finalists if one.sound}
            sound = [one for one in outcome.finalists if one.sound]
            kept = [one for one in sound if not any(beats(points[id(o)], points[id(one)]) for o in sound)]
            new = [one for one in kept if not one.runs]
            if not new:
                outcome.front = kept
                return outcome
            self.report_on(new)
            outcome.notes += [f"not on the front: {one.trouble}" for one in new if not one.sound]

    def chosen_by(self, one: Finalist, objective: Objective) -> float:
        """Its value on the choosing seeds; as the search saw it where there are none, and of its speed."""
        found = by_seed(one.choosing, objective.name)
        if found and objective.name != SPEED:
            return estimate(found, objective.scale)
        return one.told[self.settings.objectives.index(objective)]

    def point(self, one: Finalist) -> list[float]:
        """One number per objective, the lower the better."""
        return [
            (1 if objective.better == "lower" else -1) * self.chosen_by(one, objective)
            for objective in self.settings.objectives
        ]

    def report_on(self, chosen: Sequence[Finalist]) -> None:
        """Evaluate what was chosen, and with the first of it the baseline, on the reporting seeds."""
        everyone, self.beside = [*chosen, *self.beside], []
        self.evaluate(everyone, self.settings.reporting_seeds, "runs")

    def _same(self, one: Finalist, other: Finalist) -> bool:
        """Whether the same would come out."""
        try:
            return self.evaluator.identify(one.overrides) == self.evaluator.identify(other.overrides)
        except ConfigError:
            return False

    def evaluate(self, everyone: Sequence[Finalist], seeds: Sequence[int], part: str) -> None:
        """Fill in `part`, choosing or runs, of all of them."""
        alike: dict[str, list[Finalist]] = {}  # the baseline may be what was chosen: its runs are computed once
        for one in everyone:
            try:
                alike.setdefault(self.evaluator.identify(one.overrides), []).append(one)
            except ConfigError as error:
                one.failure = str(error)
        waiting: dict[int, list[Finalist]] = {}
        for those in alike.values():
            ticket = next(self.tickets)
            try:
                self.evaluator.submit(ticket, those[0].overrides, seeds)
                waiting[ticket] = those
            except ConfigError as error:
                _fail(those, str(error))
        while waiting:
            for event in self.evaluator.poll(POLL_S):
                if event.ticket not in waiting or isinstance(event, Reading):
                    continue
                those = waiting.pop(event.ticket)
                if isinstance(event, Failed):
                    _fail(those, event.reason)
                elif why := event.lacks(self.settings.measured):
                    _fail(those, why)
                else:
                    for one in those:
                        getattr(one, part).update({s: dict(run) for s, run in event.runs.items()})


def _fail(those: Sequence[Finalist], reason: str) -> None:
    for one in those:
        one.failure = reason


def beats(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a point, of which less is better, is no worse in anything and better in something."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and list(a) != list(b)


def named(outcome: Outcome, settings: Settings) -> Outcome:
    """The winner or the front as the search saw them, where nothing is evaluated on fresh seeds."""
    if len(settings.objectives) > 1:
        outcome.front = list(outcome.finalists)
        return outcome
    outcome.winner = outcome.finalists[0]
    value = outcome.winner.told[0]
    tied = [one.number for one in outcome.finalists if same(one.told[0], value)]
    if len(tied) > 1 and not outcome.notes:
        outcome.notes.append(f"trials {listed(tied)} are equal; the first is taken")
    return outcome


@contextmanager
def alone(folder: Path | None, say: Callable[[str], None] = warn) -> Iterator[bool]:
    """Whether this is the only process that names the winner in this folder now.

    Where a file system has no locks, nobody can tell: the winner is named all the same, perhaps twice.
    """
    if folder is None:
        yield True
        return
    try:
        with held(folder / ".finale.lock", "other processes of this search may train the same fresh seeds", say=say):
            yield True
    except InUse:
        yield False
