"""Run a sweep: train what is missing, keep what is done, go on after a failure, stop cleanly."""

import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape

from ablate.config.composing import fallback_data
from ablate.config.errors import StorageError, UserError, reason
from ablate.config.schema import Config, to_dict
from ablate.config.terminal import lines
from ablate.engines.cohort import training_threads
from ablate.engines.cohort.capacity import within_memory
from ablate.engines.cohort.threads import TrainingThreads
from ablate.records import results, weights
from ablate.records.compaction import compact
from ablate.records.engines import keep_engines, kept_engines
from ablate.records.files import entries, remove, remove_unfinished
from ablate.records.locks import InUse, exclusive, held
from ablate.records.neighbours import reuse
from ablate.records.places import failure_path
from ablate.records.reading import RecordError
from ablate.records.record import Record
from ablate.sweeping import schedule
from ablate.sweeping.devices import Job, Lost, Processes, devices
from ablate.sweeping.hung import MOST_HUNG, Hung, Signs
from ablate.sweeping.hydra_jobs import one_name
from ablate.sweeping.launching.collect import over_queue
from ablate.sweeping.launching.following import refuse_beside_jobs
from ablate.sweeping.launching.options import Options, check_alone, options_of
from ablate.sweeping.manifest import check_same_question, write_manifest
from ablate.sweeping.packing import packed
from ablate.sweeping.plan import Plan, Run, Setting, label, make_plan, varying, write_failure
from ablate.sweeping.planning.estimate import what_is_ahead
from ablate.sweeping.progress import Listener, Progress
from ablate.sweeping.schedule import Task
from ablate.timing.lane import time_missing
from ablate.timing.machine import default_threads, quality_jobs
from ablate.timing.samples import protocol_within
from ablate.training.checkpoints import Checkpoints, path_of
from ablate.training.choice import left_out, make_kernels
from ablate.training.loop import check_device, resolve_device, train_together
from ablate.training.trajectory import Stopped


@dataclass
class Summary:
    """What a sweep did, for the last lines on the screen and the exit status."""

    folder: Path
    trained: int = 0
    reused: int = 0
    already: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    storage: str | None = None  # why records could not be kept any more: the sweep ended there
    lost: int = 0  # runs that were trained, and whose records are gone
    away: int = 0  # jobs of a cluster that go on
    report: bool = True  # whether one is wanted
    notes: list[str] = field(default_factory=list)  # what was said before the training began

    def __add__(self, later: "Summary") -> "Summary":
        """Both batches of a sweep that Hydra was told to launch in portions."""
        return Summary(
            self.folder,
            self.trained + later.trained,
            self.reused + later.reused,
            self.already + later.already,
            self.failures + later.failures,
            self.interrupted or later.interrupted,
            self.storage or later.storage,
            self.lost + later.lost,
            self.away + later.away,
            self.report and later.report,
            self.notes + later.notes,
        )

    @property
    def exit_status(self) -> int:
        return 130 if self.interrupted else 1 if self.failures or self.storage or self.lost else 0


def run_sweep(
    configs: Sequence[Config],
    default_name: str,
    command: str,
    preset: str | None = None,
    given: Sequence[str] = (),
    quiet: bool = False,
    launcher: Mapping[str, Any] | None = None,
    above: RenderableType | None = None,
) -> Summary:
    """Every missing run of every setting. Raises UserError, before anything is written, for input that cannot run.

    `given` are the knobs that the command line or the preset sets. `quiet` says nothing of its progress; `above`
    stands over it on a terminal. `launcher` is what trains it, with its options (`conf/hydra/launcher/`), this machine
    without.
    """
    folder = folder_of(configs, default_name)
    options = options_of(launcher or {})
    plan = make_plan(configs, folder, fallback_data(), given=given)
    for config in configs if options is None else ():
        check_device(config)
    if options is not None and configs[0].speed:
        check_alone(options)
    summary = Summary(folder, report=all(config.report for config in configs))
    with quality_jobs() if options is None else nullcontext(), exclusive(folder):
        if options is None:
            refuse_beside_jobs(folder)
        plan.warnings += check_same_question(plan, command, preset, given)
        write_manifest(plan, command, preset)
        take_over(plan, summary)
        summary.notes += [*plan.notes, *plan.warnings]
        with Progress(plan, summary.reused + summary.already, quiet, above) as progress:
            for note in plan.notes:
                progress.say(escape(note))
            for warning in plan.warnings:
                progress.warn(warning)
            try:
                run_settings(plan, configs, progress, summary, options)
            except KeyboardInterrupt:
                summary.interrupted = True
            except StorageError as error:
                summary.storage = str(error)
        count_lost(plan, summary)
    if configs[0].speed and options is None and not summary.interrupted and not summary.storage:
        time_settings(plan, configs[0].speed_s, summary, quiet)
    return summary


def compacted(folder: Path) -> None:
    """Put what a sweep that has ended left into its Parquet files; where that cannot be done, say why.

    While another process is at work in the folder, as in a search of several, it is left for the last one to do.
    """
    say = lines()
    try:
        with held(folder / ".lock", "start no other ablate on this folder meanwhile"):
            remove_unfinished(folder)
            compact(folder)
    except InUse:
        return
    except (StorageError, UserError) as error:
        say(f"the records stay in files of their own: {error}")


def folder_of(configs: Sequence[Config], default_name: str) -> Path:
    """Where a sweep is kept. Raises ConfigError where its settings have several names."""
    return Path(configs[0].results_dir).expanduser() / (one_name(configs) or default_name)


def time_settings(plan: Plan, limit_s: float, summary: Summary, quiet: bool = False) -> None:
    """The speed lane, once no run of ours is training any more."""
    settings = {setting.setting_id: setting.config for setting in plan.settings if not setting.error}
    say = lines(quiet=quiet, markup=True)
    try:
        if not time_missing(plan.folder, settings, default_threads(), protocol_within(limit_s), say):
            summary.failures.append(("speed lane", "no setting could be timed"))
    except KeyboardInterrupt:
        summary.interrupted = True
    except StorageError as error:
        summary.storage = str(error)
    except (UserError, RuntimeError) as error:  # the runs are safe; the settings stay without a timing
        say(f"[red]failed:[/] speed lane: {escape(reason(error))}")
        summary.failures.append(("speed lane", reason(error)))


def take_over(plan: Plan, summary: Summary) -> None:
    """Copy what other sweeps hold and count what this one has; a run that cannot be copied any more is missing."""
    for setting in plan.settings:
        for run in setting.runs:
            if run.reused_from:
                try:
                    if run.config.keep:
                        weights.copy(run.reused_from, plan.folder, run.run_id)
                    reuse(
                        plan.folder,
                        run.reused_from,
                        run.run_id,
                        to_dict(run.config),
                        {"name": setting.corpus.name},
                        run.former,
                    )
                    drop_older(plan.folder, [run])
                    summary.reused += 1
                except RecordError:
                    run.reused_from = None
                    setting.missing.append(run)
        summary.already += len(setting.runs) - len(setting.missing) - sum(bool(run.reused_from) for run in setting.runs)


def drop_older(folder: Path, runs: Iterable[Run]) -> None:
    """Of runs that are stored now: delete what is kept under a former id, or a run would be there twice."""
    for run in runs:
        for one in run.former:
            if one != run.run_id:
                results.discard(folder, one)
                remove(path_of(folder, one))  # by an older version: no run can go on from that


def count_lost(plan: Plan, summary: Summary) -> None:
    """What is on disk at the end counts: somebody may have moved or deleted the folder while its runs were trained."""
    wanted = [run for setting in plan.settings if not setting.error for run in setting.runs]
    stored = sum(results.holds(plan.folder, run.run_id, run.former) for run in wanted)
    summary.lost = max(0, summary.trained + summary.reused + summary.already - stored)


def run_settings(
    plan: Plan, configs: Sequence[Config], progress: Progress, summary: Summary, options: Options | None
) -> None:
    """Train what is missing, here or by a cluster; what goes wrong in a setting does not touch the others."""
    swept = varying(configs)
    names = {setting.setting_id: label(setting.config, swept) for setting in plan.settings}
    sweep = _Sweep(plan, names, progress, summary)
    failed_before = bool(entries(plan.folder / "failures"))
    for setting in plan.settings:
        if setting.error:
            sweep.failed([setting], setting.error)
        elif failed_before:
            sweep.clear_failure(setting)
    if options is not None:
        over_queue(plan, names, progress, summary, options, configs[0].speed_s if configs[0].speed else None)
        return
    side_by_side = schedule.workers(configs)
    sweep.train_all(side_by_side, lambda tasks, pool, at_once: what_is_ahead(plan, tasks, pool, at_once))


def train_job(
    plan: Plan, names: Mapping[str, str], progress: Listener, summary: Summary, stop: threading.Event, cores: int
) -> None:
    """In a job of a cluster, on so many cores: what is missing of its part of a sweep, until `stop` is set."""
    configs = [setting.config for setting in plan.settings]
    on_cpu = resolve_device(configs[0].device).type == "cpu"
    side_by_side = schedule.workers(configs)
    sweep = _Sweep(plan, names, progress, summary, stop)
    sweep.train_all(min(side_by_side, configs[0].threads or cores) if on_cpu else side_by_side)


MOST_LOST = 2
"""Processes that may end in the middle of a program before it has failed."""


class _Sweep:
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
        self.waiting: list[Task] = []  # to be submitted
        self.alone: list[Task] = []  # and when nothing else is in flight
        self.futures: dict[Future[list[Record]], Task] = {}
        self.processes: Processes | None = None  # one for each of several devices
        self.signs = Signs()
        self.pool: TrainingThreads
        self.anew: Callable[[], TrainingThreads]

    def train_all(
        self, side_by_side: int, ahead: Callable[[Sequence[Task], Executor, int], str | None] = lambda *_: None
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
                tasks = pool.submit(self.programs, side_by_side, cut).result()
                if (line := ahead(tasks, pool, at_once)) is not None:
                    self.progress.say(line)
                if len(places) > 1 and tasks:
                    self.processes = stack.enter_context(Processes(places, side_by_side).running())
                    for name in self.processes.absent:
                        self.progress.warn(f"the process for {name} did not start; the others train")
                self.wait(tasks)
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                self.pool.shutdown(cancel_futures=True)
                self.harvest([future for future in self.futures if future.done()])
                raise

    def programs(self, side_by_side: int, cut: int) -> list[Task]:
        """All that is to be trained; where a group cannot be, its settings have failed."""
        groups = packed(schedule.groups(self.plan, self.progress.warn), side_by_side)
        make_kernels(group.config for group in groups)
        for line in left_out(group.config for group in groups):
            self.progress.warn(line)
        threads, before = schedule.share_of(cut, len(groups)), kept_engines(self.plan.folder)
        chosen = dict(before)
        tasks = self._cut(groups, side_by_side, threads, chosen)
        if chosen != before:
            anew = any(group.config.fresh for group in groups)
            agreed = keep_engines(self.plan.folder, chosen, anew)
            if any(agreed[shape] != engine for shape, engine in chosen.items()):  # another job was quicker to choose
                tasks = self._cut(groups, side_by_side, threads, agreed)
        return tasks

    def _cut(
        self, groups: Sequence[Task], side_by_side: int, threads: int, engines: MutableMapping[str, str]
    ) -> list[Task]:
        tasks: list[Task] = []
        for group in groups:
            if self.stop.is_set():
                break
            try:
                tasks += schedule.programs(group, side_by_side, threads, engines)
            except StorageError:
                raise
            except Exception as error:  # out of memory, or an engine that breaks: the others go on
                self.failed(group.settings, error)
        return tasks

    def train(self, task: Task) -> list[Record]:
        """In a worker: train one program's runs and store them. Raises MemoryError, all of it given back."""
        return within_memory(partial(self._train, task), resolve_device(task.config.device))

    def _train(self, task: Task) -> list[Record]:
        with self.signs.of(task, here=self.processes is None) as given_up:
            return self._trained(task, given_up)

    def _trained(self, task: Task, given_up: Callable[[], bool]) -> list[Record]:
        assert task.choice is not None
        name = " + ".join(self.names[setting.setting_id] for setting in task.settings)
        run_ids = [run.run_id for run in task.runs]
        configs = [run.config for run in task.runs]
        checkpoints = Checkpoints(self.plan.folder, run_ids, say=self.warn)

        def stop() -> bool:
            if task.config.task.thing.has_network:
                self.signs.sign(task)
            return self.stop.is_set() or given_up()

        def on_epoch(epoch: int, perplexity: float) -> None:
            self.signs.sign(task)
            self.progress.epoch(task, name, epoch, perplexity)

        if self.processes is not None:
            job = Job(configs, run_ids, task.corpus, task.choice, self.plan.folder)
            sign = partial(self.signs.sign, task)
            records = self.processes.train(job, on_epoch, self.warn, self.stop.is_set, sign, given_up)
        else:
            if task.config.fresh:
                checkpoints.remove()
            records = train_together(
                configs,
                task.corpus,
                task.choice,
                on_epoch=on_epoch,
                checkpoints=checkpoints,
                stop=stop,
                keep=partial(weights.keep, self.plan.folder) if task.config.keep else None,
            )
        if given_up():  # it came back when another one trains the same
            raise Stopped
        for record in records:
            if task.too_many:
                record.timing["out_of_memory_with"] = list(task.too_many)
            results.save(self.plan.folder, record)
        if records and (why := str(records[0].timing.get("cuda_graphs", ""))).startswith("failed"):
            self.warn(f"{name}: no CUDA graphs, each operation was launched by itself ({why})")
        drop_older(self.plan.folder, task.runs)
        checkpoints.remove()
        return records

    def warn(self, line: str) -> None:
        """In a worker; not after the disk has failed, which is said at the end."""
        if not self.full:
            self.progress.warn(line)

    def wait(self, tasks: Iterable[Task]) -> None:
        """Train these, until every program has ended; here so that Ctrl-C is heard at once."""
        self.waiting += tasks
        while self.futures or self.waiting or self.alone:
            if not self.futures and not self.waiting:
                self.waiting.append(self.alone.pop(0))
            self.futures |= {self.pool.submit(self.train, task): task for task in self.waiting}
            self.waiting = []
            self.harvest(wait(self.futures, timeout=0.2, return_when=FIRST_COMPLETED).done)
            self.look_for_hung()
            if self.full:
                raise self.full

    def look_for_hung(self) -> None:
        """End programs that give no sign; a thread that even so does not end is left behind, and new ones begun."""
        self.signs.look(list(self.futures.values()))
        stuck = [future for future, task in self.futures.items() if self.signs.stuck(task) and not future.done()]
        if not stuck:
            return
        self.pool.leave(len(stuck))
        for future in [future for future in self.futures if future.cancel()]:  # had not begun
            self.waiting.append(self.futures.pop(future))
        for future in stuck:
            self._ended_hung(self.futures.pop(future))
        self.pool = self.anew()

    def _ended_hung(self, task: Task) -> None:
        error = Hung(task)
        self.progress.ended(task)
        if task.hung >= MOST_HUNG:
            self.progress.dropped(task)
            self.failed(task.settings, error)
            return
        self.waiting.append(replace(task, hung=task.hung + 1))
        names = " + ".join(self.names[setting.setting_id] for setting in task.settings)
        self.warn(f"{names}: {error}; it is begun again, from its last checkpoint")

    def again(self, task: Task, error: BaseException) -> bool:
        """Train otherwise what was too large for the memory, or elsewhere what lost its process; whether that goes."""
        if isinstance(error, Lost):
            if task.lost >= MOST_LOST or not (self.processes and self.processes.left):
                return False
            self.waiting.append(replace(task, lost=task.lost + 1))
            self.warn(f"{error}; what it trained is trained by another")
            return True
        if not isinstance(error, MemoryError):
            return False
        name = " + ".join(self.names[setting.setting_id] for setting in task.settings)
        if len(task.runs) > 1:
            self.waiting += schedule.halves(task)
            self.warn(
                f"{name}: {len(task.runs)} runs at once are too much for the memory, trained as two halves ({error})"
            )
            return True
        if self.futures and not task.waited:
            self.alone.append(replace(task, waited=True))
            self.warn(f"{name}: too much for the memory that others leave, trained after them ({error})")
            return True
        return False

    def harvest(self, ended: Iterable[Future[list[Record]]]) -> None:
        """Count and show what has ended."""
        for future in ended:
            task = self.futures.pop(future)
            error = None if future.cancelled() else future.exception()
            if self.signs.is_hung(task) and error is not None and not self.stop.is_set():
                self._ended_hung(task)
            elif future.cancelled() or isinstance(error, Stopped):
                self.progress.dropped(task)
            elif isinstance(error, StorageError):  # no fault of these settings, and no other run could be kept
                self.progress.dropped(task)
                self.full = self.full or error
            elif error and self.again(task, error):
                self.progress.ended(task)
            elif error:
                self.progress.dropped(task)
                self.failed(task.settings, error)
            else:
                self.summary.trained += len(task.runs)
                self.progress.done(task, future.result(), self.names)

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
