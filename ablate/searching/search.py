"""The loop of a search: ask, evaluate, prune, tell. Nothing waits for a batch; everything is in the study.

What a process decides, it decides from the study, so that any number of processes can work on one: the values of
every configuration by seed, who holds which trial, what came out the same as what.
"""

import math
import time
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.markup import escape

from ablate.analysis.study import readings_of
from ablate.analysis.trials import SPEED
from ablate.config.columns import as_typed
from ablate.config.errors import ConfigError, counted
from ablate.searching.evaluation import Candidate, Evaluator, Event, Failed, Finished, Reading, Timed
from ablate.searching.progress import SearchProgress
from ablate.searching.pruning import should_prune, store_reading
from ablate.searching.race import estimate, ladder, spread, worse
from ablate.searching.settings import Settings
from ablate.searching.space import Space
from ablate.searching.standings import COPIED, best_so_far, facts_of, ranked, seeds_of, values_text
from ablate.searching.storage import mark, now, takes_slot, told
from ablate.searching.tried import Tried
from ablate.searching.workers import Worker, release

POLL_S = 0.2
"""How long to wait for the next event, so that other processes are looked at meanwhile."""
ORPHANS_S = 20.0
"""How often to look for trials of processes that died."""
REPEATS = 4
"""So many configurations in a row that were tried before; then one that was not is drawn at random."""
TIMINGS = 3
"""So often a configuration is timed before it fails for lack of a clean number."""


class Search:
    """One process's share of a study, up to `n_trials` of all processes together."""

    def __init__(
        self,
        space: Space,
        settings: Settings,
        evaluator: Evaluator,
        study: Study,
        worker: Worker,
        progress: SearchProgress,
    ) -> None:
        self.space, self.settings, self.evaluator = space, settings, evaluator
        self.study, self.worker, self.progress = study, worker, progress
        racing = settings.race is not None and settings.race.p > 0 and len(settings.objectives) == 1 and settings.trains
        self.race = settings.race if racing else None
        k = len(settings.seeds)
        self.steps = ladder(self.race.first, k) if self.race else [k]
        self.prunes = settings.pruner not in ("none", "wilcoxon") and settings.trains
        self.flying: dict[int, Candidate] = {}
        self.asked: dict[int, Trial] = {}
        self.untimed: dict[int, Candidate] = {}
        self.twins: dict[int, int] = {}  # trial → the one that is the same and not finished yet
        self.repeats = 0
        self.exhausted = False
        self.looked = time.monotonic()
        self.leading, self.scale = settings.leading, settings.leading.scale
        self.tried = Tried(space, evaluator, np.random.default_rng([settings.seed, len(self.trials())]))

    def run(self) -> None:
        """Until the study has its trials. However this ends, no trial of this process stays RUNNING."""
        try:
            self.give_back()  # of an earlier search in this process that lost its study
            self.worker.release_orphans()
            if self.counted() < self.settings.n_trials and self.has_tried_all():
                self.exhaust()  # before another trial is asked for, only to find that it was tried
            while True:
                self.fill()
                if not self.flying and self.untimed:
                    self.measure_speed()
                elif not self.flying and not self.worker.release_orphans():
                    break  # and nobody has died in the meantime whose trials are ours now
                events = self.evaluator.poll(POLL_S)
                ended = {event.ticket for event in events if isinstance(event, Finished)}
                for event in events:
                    self.handle(event, ended)
                self.settle_twins()
                self.look_for_orphans()
            self.settle_twins(last=True)
        except BaseException:
            self.give_back()
            raise

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    # --- ask --------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Ask for trials until enough are in flight, or the study has all that it wants."""
        while len(self.flying) + len(self.untimed) < self.settings.parallel:
            if self.counted() >= self.settings.n_trials or (self.exhausted and not self.queued()):
                return
            self.ask()

    def queued(self) -> bool:
        """Whether trials wait for a process: those that another one gave back, too."""
        return any(trial.state == TrialState.WAITING for trial in self.trials())

    def has_tried_all(self) -> bool:
        """Whether nothing is left of a space that can be gone through."""
        trials = self.trials()
        return bool(self.tried.among(trials)) and self.space.grid() is not None and self.tried.untried(trials) is None

    def counted(self) -> int:
        """The trials of all processes that take a slot."""
        return sum(takes_slot(t) and t.state != TrialState.WAITING for t in self.trials())

    def ask(self) -> None:
        """Begin one trial: train it, or take what its twin came out as."""
        trial = self.study.ask()
        number = trial.number
        trial.set_user_attr("worker", self.worker.id)
        trial.set_user_attr("began_at", now())
        others = self.trials()
        before = sum(takes_slot(t) and t.state != TrialState.WAITING and t.number < number for t in others)
        if before >= self.settings.n_trials:  # another process was quicker
            self.exclude(number, "surplus", "the study had its trials")
            return
        values = self.space.suggest(trial)
        overrides = self.space.written(values)
        try:
            key = self.tried.key(overrides)
        except ConfigError as error:
            self.fail(number, str(error))
            return
        trial.set_user_attr("key", key)
        twin = self.tried.twin(key, number, self.trials())
        if twin is not None:
            mark(self.study, number, excluded="duplicate", duplicate_of=twin.number)
            self.asked[number] = trial
            self.twins[number] = twin.number
            self.settle_twins()
            self.repeats += 1
            if self.repeats > REPEATS:
                self.go_elsewhere()
            return
        self.repeats = 0
        candidate = Candidate(number, values, overrides, key, target=self.steps[0], began=time.monotonic())
        self.asked[number] = trial
        self.flying[number] = candidate
        if not self.settings.trains:
            self.conclude(candidate)
            return
        self.submit(candidate, self.settings.seeds[: candidate.target])

    def settle_twins(self, last: bool = False) -> None:
        """Tell the trials whose twins have come out, what those came out as."""
        if not self.twins:
            return
        trials = {trial.number: trial for trial in self.trials()}
        for number, original in list(self.twins.items()):
            twin = trials[original]
            if twin.state == TrialState.RUNNING and not last:
                continue
            del self.twins[number]
            trial = self.asked.pop(number)
            copied = {k: twin.user_attrs[k] for k in COPIED if k in twin.user_attrs}
            mark(self.study, number, **copied, reason=f"the same as trial {original}")
            if twin.state == TrialState.COMPLETE:
                told(self.study, number, TrialState.COMPLETE, twin.values)
            elif twin.state == TrialState.PRUNED:
                for step, value in readings_of(twin).items():
                    store_reading(trial, self.settings, step, value)
                told(self.study, number, TrialState.PRUNED)
            else:
                told(self.study, number, TrialState.FAIL)

    def go_elsewhere(self) -> None:
        """Queue a configuration that nobody has tried, at random; none left: the space is exhausted."""
        self.repeats = 0
        values = self.tried.untried(self.trials())
        if values is None:
            self.exhaust()
        else:
            self.study.enqueue_trial(values)

    def exhaust(self) -> None:
        """Ask for no more trials."""
        self.exhausted = True
        different = counted(len(self.tried.among(self.trials())), "different one")
        self.progress.say(f"every configuration of the space has been tried: {different}")

    # --- evaluate ---------------------------------------------------------------------------------------

    def submit(self, candidate: Candidate, seeds: Sequence[int]) -> None:
        try:
            self.evaluator.submit(candidate.number, candidate.overrides, seeds)
        except ConfigError as error:
            self.fail(candidate.number, str(error))

    def handle(self, event: Event, ended: Container[int]) -> None:
        candidate = self.flying.get(event.ticket)
        if candidate is None:
            return
        if isinstance(event, Failed):
            self.fail(candidate.number, event.reason)
        elif isinstance(event, Reading):
            self.read(candidate, event, may_prune=event.ticket not in ended)
        elif isinstance(event, Finished) and (why := event.lacks(self.settings.measured)):
            self.fail(candidate.number, why)
        elif isinstance(event, Finished):
            candidate.runs |= event.runs
            candidate.trained |= event.trained
            self.judge(candidate)

    def read(self, candidate: Candidate, reading: Reading, may_prune: bool) -> None:
        """Report the mean over the first seeds as soon as all have measured an epoch, and ask the pruner."""
        if not self.prunes or candidate.runs or self.settings.primary not in reading.metrics:
            return
        epoch = candidate.curve.setdefault(reading.epoch, {})
        epoch[reading.seed] = reading.metrics[self.settings.primary]
        if len(epoch) < candidate.target or reading.epoch in candidate.reported:
            return
        candidate.reported.add(reading.epoch)
        trial = self.asked[candidate.number]
        store_reading(trial, self.settings, reading.epoch, estimate(epoch, self.scale))
        if may_prune and should_prune(trial, self.settings):
            mark(self.study, candidate.number, **facts_of(candidate), reason=f"pruned after epoch {reading.epoch}")
            told(self.study, candidate.number, TrialState.PRUNED)
            self.evaluator.abandon(candidate.number)
            self.land(candidate, f"pruned after epoch {reading.epoch}")

    def judge(self, candidate: Candidate) -> None:
        """After a step of the ladder: enough seen, or more seeds."""
        results = candidate.results(self.settings.primary)
        given, k = len(results), len(self.settings.seeds)
        if given < k and all(map(math.isfinite, results.values())):
            if not self.drops(candidate, results):
                candidate.target = next(step for step in self.steps if step > given)
                self.submit(candidate, self.settings.seeds[given : candidate.target])
                return
            mark(self.study, candidate.number, dropped=True)
        self.conclude(candidate)

    def drops(self, candidate: Candidate, results: Mapping[int, float]) -> bool:
        """Whether this configuration is surely enough worse than the best one to spend no more seeds on it."""
        assert self.race is not None
        if self.settings.pruner == "wilcoxon":
            trial = self.asked[candidate.number]
            for seed, value in results.items():
                store_reading(trial, self.settings, seed, value)
            return should_prune(trial, self.settings)
        whole = ranked(self.trials(), self.settings)
        if not whole:
            return False
        best, *others = (seeds_of(trial, self.leading) for trial in whole)
        noise = spread(best, others, self.scale)
        return worse(results, best, noise, self.scale, self.race.p) < self.race.p

    def conclude(self, candidate: Candidate) -> None:
        """No more seeds: tell, or first measure the speed of what did not diverge."""
        if not self.settings.speed:
            self.tell(candidate)
        elif self.settings.trains and any(map(math.isinf, candidate.results(self.settings.primary).values())):
            self.tell(candidate, Timed(0.0, why="not timed, as it diverged"))
        else:
            self.untimed[candidate.number] = self.flying.pop(candidate.number)

    def measure_speed(self) -> None:
        """In the speed lane, together, while nothing trains."""
        timings = self.evaluator.measure_speed({number: c.overrides for number, c in self.untimed.items()})
        for number, timed in timings.items():
            candidate = self.untimed[number]
            candidate.timings += 1
            if timed.tokens_per_s is None and candidate.timings < TIMINGS:
                self.progress.say(f"trial {number} is timed again: {escape(timed.why)}")
                continue  # with those that come next, when what disturbed it may have gone
            self.flying[number] = self.untimed.pop(number)
            if timed.tokens_per_s is None:
                self.fail(number, f"no clean timing in {TIMINGS} attempts: {timed.why}")
            else:
                self.tell(candidate, timed)

    # --- tell -------------------------------------------------------------------------------------------

    def tell(self, candidate: Candidate, timed: Timed | None = None) -> None:
        """The values: infinite where a run diverged; what a sampler sees then, `ScaledStudy` says."""
        values = []
        for objective in self.settings.objectives:
            if objective.name == SPEED:
                assert timed is not None
                values.append(float(timed.tokens_per_s or 0.0))
            else:
                values.append(estimate(candidate.results(objective.name), objective.scale))
        facts = facts_of(candidate)
        diverged = sum(any(map(math.isinf, run.values())) for run in candidate.runs.values())
        if diverged:
            facts |= {"diverged": diverged, "reason": f"{diverged} of {counted(len(candidate.runs), 'run')} diverged"}
        if timed is not None and timed.tokens_per_s:
            facts["speed"] = {"tokens_per_s": timed.tokens_per_s, "low": timed.low, "high": timed.high}
        if self.settings.trains and not candidate.trained:
            facts |= {"excluded": "reused", "reason": "every run was there from another sweep"}
        mark(self.study, candidate.number, **facts)
        told(self.study, candidate.number, TrialState.COMPLETE, values)
        shown = values_text(self.settings, values)
        self.land(candidate, f"{shown} ({counted(len(candidate.runs), 'seed')})" if candidate.runs else shown)

    def fail(self, number: int, reason: str) -> None:
        """A configuration without a value."""
        candidate = self.flying.get(number)
        facts: dict[str, Any] = {"reason": reason.splitlines()[0]}
        mark(self.study, number, **facts, **({"seconds": candidate.seconds} if candidate else {}))
        told(self.study, number, TrialState.FAIL)
        if candidate is None:
            self.progress.say(f"[red]failed:[/] trial {number}: {escape(reason)}")
            self.asked.pop(number, None)
        else:
            self.land(candidate, f"failed: {reason}")

    def exclude(self, number: int, kind: str, reason: str) -> None:
        mark(self.study, number, excluded=kind, reason=reason)
        told(self.study, number, TrialState.FAIL)

    def land(self, candidate: Candidate, news: str) -> None:
        """A trial has ended."""
        self.flying.pop(candidate.number, None)
        self.asked.pop(candidate.number, None)
        values = " ".join(map(as_typed, candidate.overrides))
        trials = self.trials()
        self.progress.show(trials, best_so_far(trials, self.settings), f"trial {candidate.number}: {values}: {news}")

    # --- other processes --------------------------------------------------------------------------------

    def look_for_orphans(self) -> None:
        if time.monotonic() - self.looked >= ORPHANS_S:
            self.looked = time.monotonic()
            self.worker.release_orphans()

    def give_back(self) -> None:
        """Stopped in the middle: fail what this process holds, and queue it for whoever goes on."""
        try:
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.number in self.twins:
                    self.exclude(trial.number, "duplicate", "stopped")
                elif trial.user_attrs.get("worker") == self.worker.id or trial.number in self.flying:
                    release(self.study, trial, f"stopped at {now()}", excluded="stopped")
        except Exception as error:  # the study itself may be what failed: its orphans are found on resuming
            optuna.logging.get_logger(__name__).debug(str(error))
