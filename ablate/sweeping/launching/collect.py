"""Jobs of a cluster, submitted and followed until what they were given is on disk, or known to be lost.

What a job has finished is read from the sweep's folder, what it says of itself from its state there. Whether it is
still to be waited for is asked of the cluster and, where that does not answer, told by its silence.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.markup import escape

from ablate.config.errors import UserError, counted
from ablate.records import results
from ablate.records.files import entries
from ablate.records.jobs import DONE, Batch, batches, jobs_dir, new_batch
from ablate.records.places import runs_dir
from ablate.records.reading import RecordError
from ablate.records.record import Record
from ablate.records.timings import timings
from ablate.sweeping import schedule
from ablate.sweeping.launching.following import Followed, Waiting, clear, known_states, runs_of_order
from ablate.sweeping.launching.options import Options
from ablate.sweeping.launching.orders import dealt, order_of, timing_order, written_at
from ablate.sweeping.launching.queues import IN_QUEUE, LEAVING, Queue, queue_of
from ablate.sweeping.launching.worker import CarryOut, train_order
from ablate.sweeping.plan import Plan, Run, Setting, write_failure
from ablate.sweeping.progress import Progress
from ablate.sweeping.schedule import RunGroup

if TYPE_CHECKING:
    from ablate.sweeping.summary import Summary

LATE_S = 20.0
"""So long the last words and records of a job may take to be seen on this machine, by a network file system."""
LOOK_S = 1.0
LOOK_LATEST_S = 15.0
"""Jobs are looked after so often, or less often where a look takes long, but never less often than the latter."""
CANCELLED_S = 60.0
"""So long jobs that were cancelled are waited for: they save their checkpoints."""
LEAVES_S = 200.0
"""So long a job that was told to go may take to save its checkpoints and to leave the queue, or to be in it anew."""


class JobLost(UserError):
    """A job that ended without having done what it was given."""


class Teller(Protocol):
    """What hears of jobs."""

    def say(self, text: str) -> None: ...

    def warn(self, line: str) -> None: ...


class Follower:
    """Jobs that work for a folder, until they have ended; `closed` says what becomes of what one leaves.

    The first looks are at those that were submitted before: of how long they have been silent nothing is known but by
    their clocks, and nothing is deleted before what is missing is submitted, which the cluster may refuse.
    """

    def __init__(self, folder: Path, progress: Teller) -> None:
        self.folder, self.progress = folder, progress
        self.jobs: list[Followed] = []
        self.lost: list[Batch] = []
        for batch in batches(folder):
            self.add(batch)
        self.look_at_all(first=True)
        see_off(self.jobs, partial(self.look_at_all, first=True), progress.say)

    def add(self, batch: Batch, queue: Queue | None = None) -> None:
        self.jobs += [Followed(batch, job, self.owed(batch, job), queue) for job in range(batch.jobs)]

    def owed(self, batch: Batch, job: int) -> dict[str, int | None]:
        """The runs that a job is to bring to disk; with when a record of it was written that is to be replaced."""
        return {}

    def heard(self, one: Followed, first: bool) -> None:
        """A job has been looked at."""

    def is_over(self, one: Followed, how: str, first: bool) -> bool:
        """Whether a job that has ended is waited for no more."""
        return True

    def closed(self, one: Followed, how: str, first: bool) -> None:
        """A job has ended, and is followed no more."""
        raise NotImplementedError

    def looked(self) -> None:
        """All jobs that are waited for have been looked at."""

    @property
    def keeps_logs(self) -> bool:
        """Whether the logs of jobs that were lost before are kept, too."""
        return False

    def look(self) -> None:
        """Once at everything: what is on disk, what the jobs say, what the cluster says of those that say nothing."""
        self.look_at_all()
        self.clear()

    def look_at_all(self, first: bool = False) -> None:
        known: dict[Path, Mapping[str, str] | None] = {}
        for one in list(self.jobs):
            if one.batch.path not in known:  # before it is read what the job says, which then is the later word
                known[one.batch.path] = known_states(one.batch, one.queue)
            if (line := one.look()) is not None:
                self.progress.warn(line)
            self.heard(one, first)
            how = one.fate(known[one.batch.path], one.state.silent_s if first else None)
            if how in IN_QUEUE:
                one.ended = None
                continue
            one.ended = time.monotonic() if one.ended is None else one.ended
            if self.is_over(one, how, first):
                self.jobs.remove(one)
                self.closed(one, how, first)

    def clear(self) -> None:
        """Delete what is collected."""
        clear(self.folder, self.jobs, self.lost, keep_logs=self.keeps_logs)

    def wait(self) -> None:
        """Until nothing is to be waited for."""
        waiting = Waiting(self.progress.say)
        while self.jobs:
            began = time.monotonic()
            self.look()
            waiting.tell(self.jobs)
            self.looked()
            if self.jobs:
                time.sleep(pause_after(time.monotonic() - began))

    def cancel(self) -> None:
        """End the jobs that this program has submitted, and wait until they have saved their checkpoints."""
        cancel(self.jobs, self.look, self.progress.warn)
        for one in [one for one in self.jobs if one.queue is not None]:
            self.jobs.remove(one)
        self.clear()


class Following(Follower):
    """The jobs of a sweep, from their submission until their runs are on disk or known to be lost."""

    progress: Progress

    def __init__(self, plan: Plan, names: Mapping[str, str], progress: Progress, summary: "Summary") -> None:
        self.plan, self.names, self.summary = plan, names, summary
        self.owner = {run.run_id: (setting, run) for setting in plan.settings for run in setting.missing}
        self.warned: set[str] = set()
        self.came: set[str] = set()
        """The runs that jobs have brought to disk."""
        self.there: set[str] = set()
        """The runs that are on disk."""
        super().__init__(plan.folder, progress)

    def owed(self, batch: Batch, job: int) -> dict[str, int | None]:
        return {run["run_id"]: run["old"] for run in runs_of_order(batch, job)}

    @property
    def keeps_logs(self) -> bool:
        return bool(self.summary.failures)

    @property
    def in_flight(self) -> set[str]:
        return {run_id for one in self.jobs for run_id in one.runs}

    def look_at_all(self, first: bool = False) -> None:
        self.there = {path.stem for path in entries(runs_dir(self.plan.folder))}
        super().look_at_all(first)

    def heard(self, one: Followed, first: bool) -> None:
        if not first:
            self._tell(one)
        self._count(one)

    def is_over(self, one: Followed, how: str, first: bool) -> bool:
        """Not while its last records may not be seen here yet."""
        assert one.ended is not None
        ended_s = time.monotonic() - one.ended
        if first:
            return not self._owes(one) or one.state.silent_s >= LATE_S or ended_s >= LATE_S
        return (how == DONE and not self._expected(one)) or ended_s > LATE_S

    def _owes(self, one: Followed) -> bool:
        return bool(one.runs) and not one.state.failures

    def _expected(self, one: Followed) -> bool:
        """Whether a job that is done still owes a record of a setting of which it does not say that it has failed."""
        failed = {name for name, _ in one.state.failures}
        owed = (self.owner[run_id][0] for run_id in one.runs if run_id in self.owner)
        return any(self.names[setting.setting_id] not in failed for setting in owed)

    def _tell(self, one: Followed) -> None:
        """What a job says: failures, warnings, how far its programs are."""
        for name, why in one.state.failures[one.failures :]:
            if (name, why) not in self.summary.failures:
                self.summary.failures.append((name, why))
                self.progress.failed(name, why)
        one.failures = len(one.state.failures)
        for line in one.state.warnings:
            if line not in self.warned:
                self.warned.add(line)
                self.progress.warn(line)
        for program in one.state.programs:
            if all(run_id in one.runs and run_id in self.owner for run_id in program["runs"]):
                group = self._group(program["runs"])
                name = " + ".join(self.names[setting.setting_id] for setting in group.settings)
                said = program["perplexity"]  # None where it was not finite, for which JSON has no word
                self.progress.epoch(group, name, program["epoch"], math.nan if said is None else said)

    def _count(self, one: Followed) -> None:
        """What has come to be on disk of a job."""
        came = [
            run_id
            for run_id, old in one.runs.items()
            if run_id in self.there and (old is None or written_at(self.plan.folder, run_id) != old)
        ]
        known = []
        self.came.update(came)
        for run_id in came:
            del one.runs[run_id]
            if run_id in self.owner:
                known.append(run_id)
        for setting_id in dict.fromkeys(self.owner[run_id][0].setting_id for run_id in known):
            own = [run_id for run_id in known if self.owner[run_id][0].setting_id == setting_id]
            self.progress.done(self._group(own), self._records(own), self.names)
            self.summary.trained += len(own)

    def _records(self, run_ids: Iterable[str]) -> list[Record]:
        found = []
        for run_id in run_ids:
            with suppress(RecordError):
                found.append(Record(**results.read(self.plan.folder, run_id)))
        return found

    def _group(self, run_ids: Sequence[str]) -> RunGroup:
        pairs = [self.owner[run_id] for run_id in run_ids]
        settings: list[Setting] = list({setting.setting_id: setting for setting, _ in pairs}.values())
        runs: list[Run] = [run for _, run in pairs]
        return RunGroup(settings, runs, settings[0].corpus)

    def closed(self, one: Followed, how: str, first: bool) -> None:
        """What a job leaves undone has failed, once per setting; of those submitted before it is to be done again."""
        if not first:
            self._fail_undone(one, how)
        elif self._owes(one) and how != DONE:
            self.progress.warn(one.why(how))
            self.lost.append(one.batch)

    def _fail_undone(self, one: Followed, how: str) -> None:
        owed = [self.owner[run_id] for run_id in one.runs if run_id in self.owner]
        failed = {name for name, _ in one.state.failures}
        settings = {setting.setting_id: setting for setting, _ in owed if self.names[setting.setting_id] not in failed}
        if how != DONE and not one.runs and not one.state.failures:
            return  # killed when all was done
        why = one.why(how)
        if settings and self.summary.interrupted and one.queue is not None:
            return  # we ended it
        for setting in settings.values():
            name = self.names[setting.setting_id]
            if (name, why) not in self.summary.failures:
                write_failure(self.plan.folder, setting, JobLost(why))
                self.summary.failures.append((name, why))
                self.progress.failed(name, why)
        if settings or (how != DONE and one.state.ended is not None):
            self.lost.append(one.batch)


def pause_after(look_s: float) -> float:
    """Seconds until the next look at jobs: ten times what the last one took, so that a cluster is not kept busy by
    questions; bounded, as one question that was not answered would otherwise leave its jobs alone for minutes."""
    return min(max(LOOK_S, 10 * look_s), LOOK_LATEST_S)


def see_off(jobs: Sequence[Followed], look: Callable[[], None], say: Callable[[str], None]) -> None:
    """Wait for those of the jobs submitted before that are about to leave: what was cancelled is then to be submitted
    again, and what is queued again is waited for. `look` leaves out of `jobs` those that have ended, once their last
    records can be seen here."""
    deadline, told = time.monotonic() + LEAVES_S, False
    while leaving := [one for one in jobs if one.ended is not None or one.how == LEAVING]:
        if time.monotonic() > deadline:
            still = counted(len(leaving), "job")
            say(f"{still} still in the queue; what is left undone there, the same command submits once they have left")
            return
        if not told:
            say(f"waiting for {counted(len(leaving), 'job')} to leave the queue with what has been trained saved")
            told = True
        time.sleep(LOOK_S)
        look()


def cancel(jobs: Sequence[Followed], look: Callable[[], None], warn: Callable[[str], None]) -> None:
    """End those of these jobs that this program has submitted; `look` is called until they have saved what they had.

    Those that the cluster does not end go on, which `warn` hears; they are then as those that another has submitted.
    """
    for one in {one.batch.path: one for one in jobs if one.queue is not None}.values():
        assert one.queue is not None
        try:
            one.queue.cancel(one.batch)
        except UserError as error:
            warn(f"{error}; its runs go on, and the same command collects them")
            for other in jobs:
                if other.batch.path == one.batch.path:
                    other.queue = None
    deadline = time.monotonic() + CANCELLED_S
    while time.monotonic() < deadline:
        try:
            look()
        except UserError as error:  # of the cluster: that the command was stopped counts more
            warn(str(error))
            break
        if all(one.state.stopped or one.state.ended for one in jobs if one.queue is not None and one.state.begun):
            break
        time.sleep(LOOK_S / 2)


def over_queue(
    plan: Plan,
    names: Mapping[str, str],
    progress: Progress,
    summary: "Summary",
    options: Options,
    speed_s: float | None = None,
) -> None:
    """Have what is missing trained by a cluster: collect what was submitted before, submit the rest and, unless it is
    to be left, wait for all of it; then, with `speed_s`, the same of the timings of its settings.

    Raises UserError where the cluster cannot be had or refuses, KeyboardInterrupt once its jobs have ended.
    """
    queue = queue_of(options)
    following = Following(plan, names, progress, summary)
    settled = following.in_flight | following.came
    groups = []
    for group in schedule.groups(plan, progress.warn):
        if runs := [run for run in group.runs if run.run_id not in settled]:
            groups.append(RunGroup(group.settings, runs, group.corpus, begun_with=group.begun_with))
    try:
        if groups:
            hands = dealt(groups, options.runs_per_job, options.jobs)
            orders = [order_of(plan, shares, names, options) for shares in hands]
            submit(orders, queue, options, following)
        following.clear()
        if not options.detach:
            following.wait()
        if speed_s is not None and not following.jobs and (settings := untimed(plan)):
            submit([timing_order(plan, settings, names, options, speed_s)], queue, options, following)
            if not options.detach:
                following.wait()
    except KeyboardInterrupt:
        summary.interrupted = True
        progress.say("ending the jobs: they save their checkpoints (Ctrl-C again does not wait for that)")
        following.cancel()
        if left := len(following.jobs):
            progress.say(
                f"{counted(left, 'job')} still at work; ablate status {escape(str(plan.folder))} tells how far they are"
            )
        raise
    summary.away = len(following.jobs)


def untimed(plan: Plan) -> list[Setting]:
    """The settings of which there is a timing of no machine: which one a job will get is not known beforehand."""
    there = {timing["setting_id"] for timing in timings(plan.folder)}
    return [one for one in plan.settings if not one.error and one.setting_id not in there]


def submit(orders: Sequence[Mapping[str, Any]], queue: Queue, options: Options, following: Following) -> None:
    """A batch with a job for each order. Raises UserError, and leaves nothing then."""
    batch = hand_over(following.plan.folder, orders, queue, options)
    following.add(batch, queue)
    runs = sum(len(setting["runs"]) for order in orders for setting in order["settings"])
    what = counted(runs, "run") if runs else "the speed lane"
    following.progress.say(f"{queue.name}: {counted(len(orders), 'job')} for {what}: {batch.span}")


def hand_over(
    folder: Path,
    orders: Sequence[Mapping[str, Any]],
    queue: Queue,
    options: Options,
    carry_out: CarryOut = train_order,
) -> Batch:
    """Submit a job for each order, which carries it out so. Raises UserError, and leaves nothing then."""
    batch = new_batch(folder, options.name, len(orders), 60 * options.silent_min, outlives_us=options.name != "ray")
    for job, order in enumerate(orders):
        batch.write_order(job, order)
    batch.write()
    try:
        batch.ids = queue.submit(batch, carry_out)
    except BaseException:
        batch.remove()
        with suppress(OSError):  # others are there
            jobs_dir(folder).rmdir()
        raise
    batch.write()
    return batch
