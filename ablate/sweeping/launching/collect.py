"""Jobs of a cluster, submitted and followed until what they were given is on disk, or known to be lost.

What a job has finished is read from the sweep's folder, what it says of itself from its state there. Whether it is
still to be waited for is asked of the cluster and, where that does not answer, told by its silence.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from ablate.config.errors import UserError, counted
from ablate.records import results
from ablate.records.files import entries
from ablate.records.jobs import DONE, Batch
from ablate.records.places import runs_dir
from ablate.records.reading import RecordError
from ablate.records.record import Record
from ablate.records.timings import timings
from ablate.sweeping import schedule
from ablate.sweeping.launching import follower
from ablate.sweeping.launching.following import Followed, runs_of_order
from ablate.sweeping.launching.options import Options
from ablate.sweeping.launching.orders import dealt, order_of, timing_order, written_at
from ablate.sweeping.launching.queues import Queue, queue_of
from ablate.sweeping.plan import Plan, Run, Setting, write_failure
from ablate.sweeping.progress import Progress
from ablate.sweeping.schedule import RunGroup

if TYPE_CHECKING:
    from ablate.sweeping.summary import Summary


class JobLost(UserError):
    """A job that ended without having done what it was given."""


class SweepJobs(follower.Follower):
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
            return not self._owes(one) or one.state.silent_s >= follower.LATE_S or ended_s >= follower.LATE_S
        return (how == DONE and not self._expected(one)) or ended_s > follower.LATE_S

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
                said = program["perplexity"]  # None where it was not finite, for which JSON has no word
                perplexity = math.nan if said is None else said
                self.progress.epoch(group, group.title(self.names), program["epoch"], perplexity)

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


def over_queue(
    plan: Plan,
    names: Mapping[str, str],
    progress: Progress,
    summary: "Summary",
    options: Options,
    speed_s: float | None,
) -> None:
    """Have what is missing trained by a cluster: collect what was submitted before, submit the rest and, unless it is
    to be left, wait for all of it; then, with `speed_s`, the same of the timings of its settings.

    Raises UserError where the cluster cannot be had or refuses, KeyboardInterrupt once its jobs have ended.
    """
    queue = queue_of(options)
    following = SweepJobs(plan, names, progress, summary)
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
        progress.say(follower.ENDING)
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


def submit(orders: Sequence[Mapping[str, Any]], queue: Queue, options: Options, following: SweepJobs) -> None:
    """A batch with a job for each order. Raises UserError, and leaves nothing then."""
    batch = follower.hand_over(following.plan.folder, orders, queue, options)
    following.add(batch, queue)
    runs = sum(len(setting["runs"]) for order in orders for setting in order["settings"])
    what = counted(runs, "run") if runs else "the speed lane"
    following.progress.say(f"{queue.name}: {counted(len(orders), 'job')} for {what}: {batch.span}")
