"""What is known of the jobs of a sweep: by what they say, and by what the cluster says of them. Loads no torch."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

from ablate.config.errors import UserError, counted, listing
from ablate.records.files import entries
from ablate.records.jobs import DONE, Batch, State, batches, jobs_dir
from ablate.records.reading import RecordError
from ablate.sweeping.launching import slurm
from ablate.sweeping.launching.queues import IN_QUEUE, LEAVING, RUNNING, WAITING, Queue

GONE = "gone from the queue"
SILENT = "silent"
FAILED = "FAILED"
"""SLURM's word for a job that ended with an error, or could not begin."""


def known_states(batch: Batch, queue: Queue | None = None) -> Mapping[str, str] | None:
    """What is known of a batch's jobs; `queue`: the one that submitted it in this program."""
    if queue is not None:
        return queue.states(batch)
    if batch.launcher != "slurm":
        return None if batch.has_submitter() else {}  # its jobs end with the program that submitted them
    if not slurm.reachable():
        return None
    return slurm.states_of(ids_of(batch))


def ids_of(batch: Batch) -> list[str]:
    """The ids of a batch's jobs; nothing where none is known.

    Where the program that submitted them was ended too early to write them, one that any of them has told itself tells
    those of all: they are an array, in the order of the jobs.
    """
    if batch.ids:
        return batch.ids
    said = next((one for job in range(batch.jobs) if (one := batch.state(job).id)), None)
    if said is None:
        return []
    array, _, _ = said.partition("_")
    batch.ids = [said] if batch.jobs == 1 else [f"{array}_{job}" for job in range(batch.jobs)]
    return batch.ids


def why_waiting(batch: Batch, queue: Queue | None = None) -> Mapping[str, str]:
    """Id → why a job waits, as far as the cluster says so; `queue`: the one that submitted it in this program."""
    if queue is not None:
        return queue.why_waiting(batch)
    ids = ids_of(batch)
    return slurm.why_waiting(ids) if ids and batch.launcher == "slurm" and slurm.reachable() else {}


def fate(batch: Batch, job: int, state: State, known: Mapping[str, str] | None, silent_s: float) -> str:
    """`waiting`, `running`, `leaving`, `done`, or how else the job has ended."""
    if state.ended is not None:
        return state.ended
    if known is None:
        how = WAITING if not state.begun else RUNNING if silent_s < batch.silent_s else SILENT
    else:
        ids = ids_of(batch) if known else []  # which may have to be looked for in the words of all jobs
        how = known.get(ids[job], GONE) if ids else GONE
    return LEAVING if how == RUNNING and state.leaving else how


def at_work(folder: Path) -> list[str]:
    """The jobs of a sweep that wait or run, for a line that says why it cannot be trained here meanwhile."""
    found = []
    for batch in batches(folder):
        known = known_states(batch)
        for job in range(batch.jobs):
            state = batch.state(job)
            if fate(batch, job, state, known, state.silent_s) in IN_QUEUE:
                found.append(batch.id_of(job))
    return found


def refuse_beside_jobs(folder: Path) -> None:
    """Raise UserError where jobs of a cluster train for this folder."""
    if found := at_work(folder):
        raise UserError(
            f"{counted(len(found), 'job')} of a cluster ({listing(found[:3])}{', …' * (len(found) > 3)}) train for "
            f"{folder}; give the command with which they were submitted, which collects them, or, where there are none "
            f"any more, remove {jobs_dir(folder)}"
        )


def runs_of_order(batch: Batch, job: int) -> list[dict[str, Any]]:
    """The runs of a job: `run_id`, and `old`, when a record of it was written that is to be replaced."""
    try:
        return [run for setting in batch.order(job)["settings"] for run in setting["runs"]]
    except (RecordError, KeyError, TypeError):
        return []


@dataclass
class Followed:
    """A job, as far as it is known."""

    batch: Batch
    job: int
    runs: dict[str, int | None]
    """The runs that are not on disk yet; with when a record of it was written that is to be replaced."""
    queue: Queue | None = None
    state: State = field(default_factory=State)
    heard: float = field(default_factory=time.monotonic)
    ended: float | None = None
    failures: int = 0
    """How many of its failures have been told."""
    how: str = ""
    """Its fate, when last asked for."""

    @property
    def id(self) -> str:
        return self.batch.id_of(self.job)

    def look(self) -> str | None:
        """Read what it says of itself; a line, where it has been begun again since."""
        before, self.state = self.state, self.batch.state(self.job)
        if self.state.beat != before.beat:
            self.heard = time.monotonic()
        if not 0 < before.begins < self.state.begins or self.state.ended is not None:
            return None
        why = before.stopped or "it was lost"
        return f"job {self.id} on {before.host}: {why}; it continues on {self.state.host} from its checkpoints"

    def fate(self, known: Mapping[str, str] | None, silent_s: float | None = None) -> str:
        """Its `fate`; `silent_s` where that is known better than here."""
        silent = time.monotonic() - self.heard if silent_s is None else silent_s
        self.how = fate(self.batch, self.job, self.state, known, silent)
        return self.how

    def why(self, how: str) -> str:
        """In a line, that it has ended so, and has not done all that it was given."""
        at = f" on {self.state.host}" if self.state.host else ""
        job = f"job {self.id}{at}"
        if self.state.ended == DONE:
            return f"{job} is done, and what it did is not in {self.batch.sweep}: do both see the same folder?"
        if self.state.ended is not None:
            return f"{job}: {self.state.ended}"
        if how == SILENT:
            what = f"has said nothing for {self.batch.silent_s / 60:g} min"
        else:
            what = "is gone from the queue" if how == GONE else f"ended, and the cluster says {how}"
            what += "" if self.state.begun else ", before it had begun"
        then = f" ({self.state.stopped})" if self.state.stopped else ""
        if any(path.name.startswith(f"{self.id}_") and path.suffix == ".out" for path in entries(self.batch.log)):
            log = f"; its log is in {self.batch.log}"
        elif self.batch.launcher == "slurm" and not self.state.begun and how == FAILED:
            log = f"; it left no log in {self.batch.log}: its node has to see this folder"
        else:  # Ray keeps its own elsewhere
            log = ""
        remedy = "resume it from its checkpoints" if self.state.begun else "submit it"
        return f"{job} {what}{then}{log}; run the same command again to {remedy}"


class Waiting:
    """Tells why jobs wait, each reason once, when they have waited for a while: some would wait for ever."""

    EVERY_S = 30.0

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.asked = time.monotonic()
        self.told: set[str] = set()

    def tell(self, jobs: Sequence[Followed]) -> None:
        if time.monotonic() - self.asked < self.EVERY_S:
            return
        self.asked = time.monotonic()
        waiting = [one for one in jobs if one.how == WAITING]
        of_batch = {one.batch.path: one for one in waiting}
        known = {path: why_waiting(one.batch, one.queue) for path, one in of_batch.items()}
        by_reason: dict[str, list[Followed]] = {}
        for one in waiting:
            if why := known[one.batch.path].get(one.id):
                by_reason.setdefault(why, []).append(one)
        for why in by_reason.keys() - self.told:
            self.say(f"{counted(len(by_reason[why]), 'job')} waiting in the queue: {escape(why)}")
        self.told |= by_reason.keys()


def clear(folder: Path, still: Sequence[Followed], lost: Sequence[Batch], keep_logs: bool) -> None:
    """Batches that are collected leave nothing but the log of what was lost; with `keep_logs` those of before, too."""
    open_now, gone = {one.batch.path for one in still}, {batch.path for batch in lost}
    for batch in batches(folder):
        if batch.path not in open_now:
            batch.remove(keep_log=batch.path in gone)
    if not open_now and not gone and not keep_logs:
        for path in entries(jobs_dir(folder)):
            Batch(path, "", 0).remove()
        with suppress(OSError):
            jobs_dir(folder).rmdir()
