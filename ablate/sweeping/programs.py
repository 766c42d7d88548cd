"""The programs of a sweep while they train: submitted, watched, tried again otherwise, and their records stored."""

import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from ablate.config.errors import StorageError, reason
from ablate.engines.cohort import training_threads
from ablate.engines.cohort.memory import within_memory
from ablate.engines.cohort.threads import TrainingThreads
from ablate.records import results, weights
from ablate.records.engines import keep_engines, kept_engines
from ablate.records.files import remove
from ablate.records.places import failure_path
from ablate.records.record import Record
from ablate.sweeping import schedule
from ablate.sweeping.devices import Job, Lost, Processes, devices
from ablate.sweeping.hung import MOST_HUNG, Hung, Signs, end_stopped
from ablate.sweeping.packing import packed
from ablate.sweeping.plan import Plan, Run, Setting, write_failure
from ablate.sweeping.progress import Listener
from ablate.sweeping.schedule import RunGroup
from ablate.sweeping.summary import Summary
from ablate.training.checkpoints import Checkpoints, path_of
from ablate.training.choice import left_out, make_kernels
from ablate.training.loop import resolve_device, train_together
from ablate.training.trajectory import Stopped

MOST_LOST = 2
"""Processes that may end in the middle of a program before it has failed."""


class Programs:
    """The programs of a sweep in flight."""

    def __init__(
        self,
        plan: Plan,
        names: Mapping[str, str],
        progress: Listener,
        summary: Summary,
        stop: threading.Event | None = None,
    ) -> None:
        self.plan, self.names, self.progress, self.summary = plan, names, progress, summary
        self.stop = stop or threading.Event()
        self.full: StorageError | None = None
        self.waiting: list[RunGroup] = []  # to be submitted
        self.alone: list[RunGroup] = []  # and when nothing else is in flight
        self.futures: dict[Future[list[Record]], RunGroup] = {}
        self.processes: Processes | None = None  # one for each of several devices
        self.signs = Signs()
        self.pool: TrainingThreads
        self.anew: Callable[[], TrainingThreads]

    def train_all(
        self, side_by_side: int, ahead: Callable[[Sequence[RunGroup], Executor, int], str | None] = lambda *_: None
    ) -> None:
        """Train what is missing, so many programs side by side on each device.

        `ahead` makes a line to be said before that, of the programs, what runs them, and how many at once.
        """
        configs = [setting.config for setting in self.plan.settings]
        places = devices(configs)
        at_once = len(places) * side_by_side
        device = resolve_device(configs[0].device)
        with ExitStack() as stack:
            self.pool = pool = stack.enter_context(training_threads(at_once, device))
            self.anew = lambda: stack.enter_context(training_threads(at_once, device))
            try:
                # In a worker, set up as all are: engines are timed against each other while nothing else runs.
                cut = schedule.cut_for(configs, side_by_side, len(places))
                programs = pool.submit(self.programs, side_by_side, cut).result()
                if (line := ahead(programs, pool, at_once)) is not None:
                    self.progress.say(line)
                if len(places) > 1 and programs:
                    self.processes = stack.enter_context(Processes(places, side_by_side).running())
                    for name in self.processes.absent:
                        self.progress.warn(f"the process for {name} did not start; the others train")
                self.wait(programs)
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                end_stopped(self.pool, self.futures)
                self.harvest([future for future in self.futures if future.done()])
                raise

    def programs(self, side_by_side: int, cut: int) -> list[RunGroup]:
        """All that is to be trained; where a group cannot be, its settings have failed."""
        groups = packed(schedule.groups(self.plan, self.progress.warn), side_by_side)
        self.progress.preparing("compiling kernels")
        make_kernels(group.config for group in groups)
        self.progress.preparing("choosing engines")
        for line in left_out(group.config for group in groups):
            self.progress.warn(line)
        threads, before = schedule.share_of(cut, len(groups)), kept_engines(self.plan.folder)
        chosen = dict(before)
        programs = self._cut(groups, side_by_side, threads, chosen)
        if chosen != before:
            anew = any(group.config.fresh for group in groups)
            agreed = keep_engines(self.plan.folder, chosen, anew)
            if any(agreed[shape] != engine for shape, engine in chosen.items()):  # another job was quicker to choose
                programs = self._cut(groups, side_by_side, threads, agreed)
        self.progress.preparing("")
        return programs

    def _cut(
        self, groups: Sequence[RunGroup], side_by_side: int, threads: int, engines: MutableMapping[str, str]
    ) -> list[RunGroup]:
        programs: list[RunGroup] = []
        for group in groups:
            if self.stop.is_set():
                break
            try:
                programs += schedule.programs(group, side_by_side, threads, engines)
            except StorageError:
                raise
            except Exception as error:  # out of memory, or an engine that breaks: the others go on
                self.failed(group.settings, error)
        return programs

    def train(self, program: RunGroup) -> list[Record]:
        """In a worker: train one program's runs and store them. Raises MemoryError, all of it given back."""
        return within_memory(partial(self._train, program), resolve_device(program.config.device))

    def _train(self, program: RunGroup) -> list[Record]:
        with self.signs.of(program, here=self.processes is None) as given_up:
            return self._trained(program, given_up)

    def _trained(self, program: RunGroup, given_up: Callable[[], bool]) -> list[Record]:
        assert program.choice is not None
        name = program.title(self.names)
        run_ids = [run.run_id for run in program.runs]
        configs = [run.config for run in program.runs]
        checkpoints = Checkpoints(self.plan.folder, run_ids, say=self.warn)

        def stop() -> bool:
            if program.config.task.thing.has_network:
                self.signs.sign(program)
            return self.stop.is_set() or given_up()

        def on_epoch(epoch: int, perplexity: float) -> None:
            self.signs.sign(program)
            self.progress.epoch(program, name, epoch, perplexity)

        if self.processes is not None:
            job = Job(configs, run_ids, program.corpus, program.choice, self.plan.folder)
            sign = partial(self.signs.sign, program)
            records = self.processes.train(job, on_epoch, self.warn, self.stop.is_set, sign, given_up)
        else:
            if program.config.fresh:
                checkpoints.remove()
            records = train_together(
                configs,
                program.corpus,
                program.choice,
                on_epoch=on_epoch,
                checkpoints=checkpoints,
                stop=stop,
                keep=partial(weights.keep, self.plan.folder) if program.config.keep else None,
            )
        if given_up():  # it came back when another one trains the same
            raise Stopped
        for record in records:
            if program.too_many:
                record.timing["out_of_memory_with"] = list(program.too_many)
            results.save(self.plan.folder, record)
        if records and (why := str(records[0].timing.get("cuda_graphs", ""))).startswith("failed"):
            self.warn(f"{name}: no CUDA graphs, each operation was launched by itself ({why})")
        drop_older(self.plan.folder, program.runs)
        checkpoints.remove()
        return records

    def warn(self, line: str) -> None:
        """In a worker; not after the disk has failed, which is said at the end."""
        if not self.full:
            self.progress.warn(line)

    def wait(self, programs: Iterable[RunGroup]) -> None:
        """Train these, until every program has ended; here so that Ctrl-C is heard at once."""
        self.waiting += programs
        while self.futures or self.waiting or self.alone:
            if not self.futures and not self.waiting:
                self.waiting.append(self.alone.pop(0))
            self.futures |= {self.pool.submit(self.train, program): program for program in self.waiting}
            self.waiting = []
            self.harvest(wait(self.futures, timeout=0.2, return_when=FIRST_COMPLETED).done)
            self.look_for_hung()
            if self.full:
                raise self.full

    def look_for_hung(self) -> None:
        """End programs that give no sign; a thread that even so does not end is left behind, and new ones begun."""
        self.signs.look(list(self.futures.values()))
        stuck = [future for future, program in self.futures.items() if self.signs.stuck(program) and not future.done()]
        if not stuck:
            return
        TrainingThreads.leave(stuck)
        for future in [future for future in self.futures if future.cancel()]:  # had not begun
            self.waiting.append(self.futures.pop(future))
        for future in stuck:
            self._ended_hung(self.futures.pop(future))
        self.pool = self.anew()

    def _ended_hung(self, program: RunGroup) -> None:
        error = Hung(program)
        self.progress.ended(program)
        if program.hung >= MOST_HUNG:
            self.progress.dropped(program)
            self.failed(program.settings, error)
            return
        self.waiting.append(replace(program, hung=program.hung + 1))
        self.warn(f"{program.title(self.names)}: {error}; it is begun again, from its last checkpoint")

    def again(self, program: RunGroup, error: BaseException) -> bool:
        """Train otherwise what was too large for the memory, or elsewhere what lost its process; whether that goes."""
        if isinstance(error, Lost):
            if program.lost >= MOST_LOST or not (self.processes and self.processes.left):
                return False
            self.waiting.append(replace(program, lost=program.lost + 1))
            self.warn(f"{error}; what it trained is trained by another")
            return True
        if not isinstance(error, MemoryError):
            return False
        name = program.title(self.names)
        if len(program.runs) > 1:
            self.waiting += schedule.halves(program)
            self.warn(
                f"{name}: {len(program.runs)} runs at once are too much for the memory, trained as two halves ({error})"
            )
            return True
        if self.futures and not program.waited:
            self.alone.append(replace(program, waited=True))
            self.warn(f"{name}: too much for the memory that others leave, trained after them ({error})")
            return True
        return False

    def harvest(self, ended: Iterable[Future[list[Record]]]) -> None:
        """Count and show what has ended."""
        for future in ended:
            program = self.futures.pop(future)
            error = None if future.cancelled() else future.exception()
            if isinstance(error, StorageError):  # no fault of these settings, and no other run could be kept
                self.progress.dropped(program)
                self.full = self.full or error
            elif self.signs.is_hung(program) and error is not None and not self.stop.is_set():
                self._ended_hung(program)
            elif future.cancelled() or isinstance(error, Stopped):
                self.progress.dropped(program)
            elif error and self.again(program, error):
                self.progress.ended(program)
            elif error:
                self.progress.dropped(program)
                self.failed(program.settings, error)
            else:
                self.summary.trained += len(program.runs)
                self.progress.done(program, future.result(), self.names)

    def failed(self, settings: Sequence[Setting], error: BaseException) -> None:
        """Record and show a failure, once per setting."""
        why = reason(error)
        for setting in settings:
            name = self.names[setting.setting_id]
            if (name, why) not in self.summary.failures:
                write_failure(self.plan.folder, setting, error)
                self.summary.failures.append((name, why))
                self.progress.failed(name, why)

    def clear_failure(self, setting: Setting) -> None:
        for one in (setting.setting_id, *setting.former_ids):
            remove(failure_path(self.plan.folder, one))


def drop_older(folder: Path, runs: Iterable[Run]) -> None:
    """Of runs that are stored now: delete what is kept under a former id, or a run would be there twice."""
    for run in runs:
        for one in run.former:
            if one != run.run_id:
                results.discard(folder, one)
                remove(path_of(folder, one))  # by an older version: no run can go on from that
