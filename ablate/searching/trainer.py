"""The runs of a search: as many programs side by side as there are cores, filled as soon as one is free.

Runs that wait and are of the same shape train together, whichever trials they belong to. What is on disk, in this
folder or in another sweep's, is not trained again.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from rich.markup import escape

from ablate.config.composing import fallback_data
from ablate.config.errors import StorageError, UserError, own_line, reason
from ablate.config.identity import cohort_key
from ablate.config.metrics import METRICS, FailedMetrics, metrics_of, reported_as
from ablate.config.registry import TASKS, task_name
from ablate.config.schema import Config
from ablate.config.validation import engines_for, validate
from ablate.engines.cohort import chunk_size, chunks, prepare_thread, training_threads
from ablate.engines.cohort.memory import within_memory
from ablate.engines.cohort.threads import TrainingThreads
from ablate.records import results, weights
from ablate.searching import speeds
from ablate.searching.evaluation import Event, Failed, Finished, Overrides, Reading, Timed
from ablate.sweeping import schedule
from ablate.sweeping.hung import MOST_HUNG, Hung, Signs, end_stopped
from ablate.sweeping.launch import take_over
from ablate.sweeping.manifest import write_manifest
from ablate.sweeping.plan import Plan, Setting, make_plan, write_failure
from ablate.sweeping.programs import drop_older
from ablate.sweeping.schedule import RunGroup
from ablate.sweeping.summary import Summary
from ablate.sweeping.texts import Texts
from ablate.timing.machine import quality_jobs
from ablate.training.checkpoints import Checkpoints
from ablate.training.choice import Choice, choose
from ablate.training.determinism import trains_alone
from ablate.training.loop import resolve_device, train_together
from ablate.training.trajectory import Stopped, Watched

REST_S = 0.05
"""How often to look whether a program has ended that should stand still."""


class Trainer:
    """An evaluator for configurations of ablate; records are kept in `folder` as those of any sweep."""

    def __init__(
        self,
        folder: Path,
        compose: Callable[[Overrides], Config],
        command: str,
        side_by_side: int,
        say: Callable[[str], None] = lambda _: None,
        preset: str | None = None,
        interrupted: threading.Event | None = None,
    ) -> None:
        self.interrupted = interrupted or threading.Event()
        self.folder, self.compose, self.command, self.say = folder, compose, command, say
        self.side_by_side, self.preset = side_by_side, preset
        self.fallback = fallback_data()
        self.configs: dict[Overrides, Config] = {}
        self.texts: Texts = {}
        self.told: set[str] = set()
        self.untold: list[str] | None = []  # until all is checked: a mistake that is found before is one line
        self.fits: dict[str, int] = {}  # shape → how many runs of it the memory holds
        self.too_many: dict[str, tuple[int, ...]] = {}  # shape → how many runs of it it did not hold, as was found
        self.pending: dict[int, Setting] = {}  # ticket → its setting; `missing` are the runs that nobody trains yet
        self.former_keys: dict[str, tuple[str, ...]] = {}
        self.asked: dict[int, dict[str, tuple[str, ...]]] = {}  # ticket → runs that it waits for, and former ids
        self.owner: dict[str, int] = {}  # run → ticket
        self.free_of_charge: dict[int, bool] = {}  # ticket → whether every run was there before
        self.abandoned: set[int] = set()
        self.futures: dict[Future[None], RunGroup] = {}
        self.signs = Signs()
        self.readings: SimpleQueue[Reading] = SimpleQueue()
        self.ready: list[Event] = []
        self.stop = threading.Event()
        self.news = threading.Event()  # something was read, or a program has ended
        self.engines: MutableMapping[str, str] = {}  # shape → the engine that engine=auto has come to
        self.timed: dict[str, Choice] = {}
        self.turn = threading.Condition()
        self.halted, self.resting = False, 0  # whether programs should stand still; how many do
        self.manifest_written = False
        self._machine = ExitStack()
        self._threads = ExitStack()

    def __enter__(self) -> Self:
        self._machine.enter_context(quality_jobs())
        self.pool = self._threads.enter_context(training_threads(self.side_by_side))
        for line in self.untold or ():
            self.say(line)
        self.untold = None
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        end_stopped(self.pool, self.futures)
        self._threads.close()
        self._machine.close()

    # --- what the search asks ---------------------------------------------------------------------------

    def config(self, overrides: Overrides) -> Config:
        """The config of these overrides, composed once."""
        if overrides not in self.configs:
            config = self.compose(overrides)
            validate(config)
            self.configs[overrides] = config
        return self.configs[overrides]

    def identify(self, overrides: Overrides) -> str:
        """The id of the setting: irrelevant knobs do not count."""
        setting = self.plan(self.config(overrides).but(seeds=1)).settings[0]
        self.former_keys[setting.setting_id] = setting.former_ids
        return setting.setting_id

    def plan(self, config: Config) -> Plan:
        plan = make_plan([config], self.folder, self.fallback, self.texts)
        for note in plan.notes:
            self.say_once(escape(note))
        for warning in plan.warnings:
            self.warn(warning)
        return plan

    def warn(self, line: str) -> None:
        self.say_once(f"[yellow]warning:[/] {escape(line)}")

    def say_once(self, line: str) -> None:
        """Say it, unless a trial before has led to it, too."""
        if line not in self.told:
            self.told.add(line)
            (self.say if self.untold is None else self.untold.append)(line)

    def submit(self, ticket: int, overrides: Overrides, seeds: Sequence[int]) -> None:
        plan = self.plan(self.config(overrides).but(seed=seeds[0], seeds=len(seeds)))
        if not self.manifest_written:
            write_manifest(plan, self.command, self.preset, whole=False)
            self.manifest_written = True
        take_over(plan, Summary(self.folder))
        [setting] = plan.settings
        self.pending[ticket] = setting
        self.asked[ticket] = {run.run_id: run.former for run in setting.runs}
        self.owner |= dict.fromkeys(self.asked[ticket], ticket)
        self.free_of_charge[ticket] = self.free_of_charge.get(ticket, True) and not setting.missing
        for run in setting.runs:
            if run not in setting.missing:
                record = results.read(self.folder, run.run_id, run.former)
                if record.get("reused_from") is None:
                    self.free_of_charge[ticket] = False  # trained for this search, before it was interrupted
        if not setting.missing:
            self._finish(ticket)
        self._dispatch()

    def poll(self, timeout_s: float) -> list[Event]:
        """Raises KeyboardInterrupt once `interrupted` is set, as Ctrl-C does."""
        if self.interrupted.is_set():
            raise KeyboardInterrupt
        if self.futures and not self.ready:
            self.news.wait(timeout_s)
        self.news.clear()
        self._look_for_hung()
        self._harvest()
        self._dispatch()
        found: list[Event] = []
        while not self.readings.empty():
            found.append(self.readings.get())
        found += self.ready
        self.ready = []
        return found

    def abandon(self, ticket: int) -> None:
        self.abandoned.add(ticket)
        self.pending.pop(ticket, None)

    def measure_speed(self, configurations: Mapping[int, Overrides]) -> dict[int, Timed]:
        """In the lane, which has the machine to itself; waits while others train on it."""
        settings = {
            ticket: self.plan(self.config(overrides)).settings[0] for ticket, overrides in configurations.items()
        }
        limit_s = next(iter(self.configs.values())).speed_s
        self._machine.close()  # our own training has ended
        speeds.time_when_free(self.folder, settings.values(), limit_s, self.say, self.stop)
        speeds.train_when_free(self._machine, self.stop)
        return {ticket: speeds.timed(self.folder, setting) for ticket, setting in settings.items()}

    # --- programs ---------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Fill the workers: runs of one shape together, those that have waited longest first."""
        while len(self.futures) < self.side_by_side:
            groups = schedule.groups(Plan(self.folder, list(self.pending.values())), self.warn)
            if not groups:
                return
            group = groups[0]
            try:
                size = self._together(group, self.side_by_side - len(self.futures) if len(groups) == 1 else 1)
            except MemoryError as error:
                for ticket in {self.owner[run.run_id] for run in group.runs}:
                    self._fail(ticket, error)
                continue
            try:
                choice = self._choice(group, size)
            except Exception as error:
                if not isinstance(error, UserError) and not own_line(error):
                    raise
                for ticket in {self.owner[run.run_id] for run in group.runs}:
                    self._fail(ticket, error)
                continue
            runs = group.runs[:size]
            chosen = {run.run_id for run in runs}
            for setting in self.pending.values():
                setting.missing = [run for run in setting.missing if run.run_id not in chosen]
            too_many = self.too_many.get(cohort_key(group.config, group.corpus.sha256), ())
            self._begin(RunGroup(group.settings, runs, group.corpus, choice, group.begun_with, too_many=too_many))

    def _begin(self, program: RunGroup) -> None:
        future = self.pool.submit(within_memory, partial(self._train, program), resolve_device(program.config.device))
        self.futures[future] = program
        future.add_done_callback(lambda _: self.news.set())

    def _together(self, group: RunGroup, idle: int) -> int:
        """How many of a group's runs make one program: what fits the cache, a share for each idle worker."""
        config, device = group.config, resolve_device(group.config.device)
        if not config.task.thing.has_network or not group.extent.same_count_every_epoch:
            return 1
        if trains_alone(config, device):
            return 1
        size = len(chunks(group.runs, chunk_size(config, device), idle)[0])
        shape = cohort_key(config, group.corpus.sha256)
        if shape not in self.fits:
            self.fits[shape] = schedule.runs_that_fit(config, group.extent.sizes, device, self.side_by_side)
        return max(1, min(size, self.fits[shape]))

    def _choice(self, group: RunGroup, replicas: int) -> Choice:
        """The engine of a group. engine=auto is timed once for each shape, while all programs rest, and then kept."""
        config, device = group.config, resolve_device(group.config.device)
        candidates = engines_for(config)
        if group.begun_with in candidates:
            return Choice(str(group.begun_with), {})  # another one would lose what is done
        if len(candidates) == 1:
            return Choice(candidates[0], {})
        shape = cohort_key(config, group.corpus.sha256)
        if self.engines.get(shape) not in candidates:
            with self._resting():
                self.timed[shape] = choose(config, group.extent.sizes, device, replicas)
            self.engines[shape] = self.timed[shape].engine
        known = self.timed.get(shape)
        return known if known and known.engine == self.engines[shape] else Choice(self.engines[shape], {})

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """While the programs of this process stand still, each between two minibatches."""
        try:
            with self.turn:
                self.halted = True
                while self.resting < sum(not future.done() for future, program in self._not_stuck()):
                    self.turn.wait(REST_S)
            yield
        finally:
            with self.turn:
                self.halted = False
                self.turn.notify_all()

    def _not_stuck(self) -> list[tuple[Future[None], RunGroup]]:
        self.signs.look(list(self.futures.values()))
        return [(future, program) for future, program in self.futures.items() if not self.signs.stuck(program)]

    def _look_for_hung(self) -> None:
        """End programs that give no sign; a thread that even so does not end is left behind, and new ones begun."""
        alive = dict(self._not_stuck())
        stuck = [future for future in self.futures if future not in alive and not future.done()]
        if stuck:
            TrainingThreads.leave(stuck)
            self.pool = self._threads.enter_context(training_threads(self.side_by_side))
        for future in stuck:
            self._ended_hung(self.futures.pop(future))

    def _ended_hung(self, program: RunGroup) -> None:
        """Begin it again, once, for those who still want it."""
        error = Hung(program)
        wanted = [run for run in program.runs if self.owner[run.run_id] not in self.abandoned]
        if program.hung >= MOST_HUNG:
            for ticket in {self.owner[run.run_id] for run in wanted}:
                self._fail(ticket, error)
        elif wanted:
            self.warn(f"trial {self.owner[wanted[0].run_id]}: {error}; it is begun again, from its last checkpoint")
            self._begin(replace(program, runs=wanted, hung=program.hung + 1))

    def _rest(self) -> None:
        """In a worker: stand still while an engine is timed."""
        with self.turn:
            if self.halted:
                self.resting += 1
                self.turn.notify_all()
                self.turn.wait_for(lambda: not self.halted)
                self.resting -= 1

    def _train(self, program: RunGroup) -> None:
        """In a worker: train one program's runs, and tell of each epoch that is measured."""
        with self.signs.of(program, here=True) as hung:
            self._train_together(program, hung)

    def _train_together(self, program: RunGroup, hung: Callable[[], bool]) -> None:
        config, choice = program.config, program.choice
        assert choice is not None
        prepare_thread(resolve_device(config.device))
        together = [program.runs] if choice.engine == "cohort" else [[run] for run in program.runs]
        for runs in together:
            if self._given_up([run.run_id for run in runs]):
                continue
            checkpoints = Checkpoints(self.folder, [run.run_id for run in runs], say=self.warn)
            if config.fresh:
                checkpoints.remove()
            records = train_together(  # what was given up for good leaves no checkpoint
                [run.config for run in runs],
                program.corpus,
                choice,
                checkpoints=checkpoints,
                stop=partial(self._ends, program, [run.run_id for run in runs], hung),
                resumes=self.stop.is_set,
                watch=partial(self._watch, program, {id(run.config): self.owner[run.run_id] for run in runs}),
                keep=partial(weights.keep, self.folder) if config.keep else None,
            )
            if hung():  # it came back when another one trains the same
                raise Stopped
            for record in records:
                if program.too_many:
                    record.timing["out_of_memory_with"] = list(program.too_many)
                results.save(self.folder, record)
            drop_older(self.folder, [run for run in runs if run.former and results.finished(self.folder, run.run_id)])
            checkpoints.remove()

    def _given_up(self, run_ids: Sequence[str]) -> bool:
        """In a worker, before each minibatch: whether nobody wants these runs any more."""
        if self.halted:
            self._rest()
        return self.stop.is_set() or all(self.owner[run_id] in self.abandoned for run_id in run_ids)

    def _ends(self, program: RunGroup, run_ids: Sequence[str], hung: Callable[[], bool]) -> bool:
        """In a worker, before each minibatch."""
        if program.config.task.thing.has_network:
            self.signs.sign(program)
        return self._given_up(run_ids) or hung()

    def _watch(
        self, program: RunGroup, tickets: Mapping[int, int], epoch: int, replicas: Sequence[Watched]
    ) -> list[bool]:
        """In a worker, after an epoch: what each run has measured; which of them to go on with."""
        self.signs.sign(program)
        own = [tickets[id(replica.config)] for replica in replicas]
        for ticket, replica in zip(own, replicas, strict=True):
            if (metrics := replica.reading(epoch)) is not None:
                self.readings.put(Reading(ticket, replica.config.seed, epoch, metrics))
                self.news.set()
        return [ticket not in self.abandoned for ticket in own]

    def _harvest(self) -> None:
        """Take in the programs that have ended."""
        for future in [future for future in self.futures if future.done()]:
            program = self.futures.pop(future)
            error = None if future.cancelled() else future.exception()
            tickets = {self.owner[run.run_id] for run in program.runs}
            if isinstance(error, StorageError):  # no fault of these settings, and no other run could be kept
                raise error
            if self.signs.is_hung(program) and error is not None and not self.stop.is_set():
                self._ended_hung(program)
                continue
            if isinstance(error, MemoryError) and len(program.runs) > 1:
                self._fewer(program, error)
                continue
            if error is not None and not isinstance(error, Stopped):
                for ticket in tickets:
                    self._fail(ticket, error)
                continue
            for ticket in tickets - self.abandoned:
                left = self.asked.get(ticket)
                if left is not None and all(
                    results.finished(self.folder, run_id, former=former) for run_id, former in left.items()
                ):
                    self._finish(ticket)

    def _fewer(self, program: RunGroup, error: MemoryError) -> None:
        """These runs are to be trained again, no more than half of them at once, as are others of their shape."""
        shape = cohort_key(program.config, program.corpus.sha256)
        self.fits[shape] = (len(program.runs) + 1) // 2
        self.too_many[shape] = (*self.too_many.get(shape, ()), len(program.runs))
        for run in reversed(program.runs):
            if (setting := self.pending.get(self.owner[run.run_id])) is not None:
                setting.missing.insert(0, run)
        self.warn(
            f"{program.config.model.name}: {len(program.runs)} runs at once are too much for the memory, trained as "
            f"programs of {self.fits[shape]} ({error})"
        )

    def _finish(self, ticket: int) -> None:
        """Everything that the ticket waits for is on disk."""
        runs = {}
        failed = FailedMetrics()
        for run_id, former in self.asked.pop(ticket).items():
            record = results.read(self.folder, run_id, former)
            runs[int(record["seed"])] = measured(record, partial(results.load_curve, self.folder, run_id), failed)
        for line in failed.said:
            self.warn(line)
        self.pending.pop(ticket, None)
        self.ready.append(Finished(ticket, dict(sorted(runs.items())), not self.free_of_charge[ticket]))

    def _fail(self, ticket: int, error: BaseException) -> None:
        setting = self.pending.pop(ticket, None)
        if setting is not None:
            write_failure(self.folder, setting, error)
        self.abandoned.add(ticket)
        if self.asked.pop(ticket, None) is not None:
            self.ready.append(Failed(ticket, reason(error)))


def measured(
    record: Mapping[str, Any], curve: Callable[[], Any] | None = None, failed: FailedMetrics | None = None
) -> dict[str, float]:
    """Metric → value; of a run that diverged the worst of each that its task measures."""
    if record["status"] == "diverged":
        task = TASKS.known(task_name(record["config"]))
        names = dict.fromkeys((*record["metrics"], *task.measured))
        if task.held_out.tested(record["config"]):
            names |= dict.fromkeys(map(reported_as, names))
        return {name: -math.inf if METRICS[name].better == "higher" else math.inf for name in names}
    values = metrics_of(record, curve, failed)
    return {name: value for name, value in values.items() if value is not None}
