"""Jobs of a cluster, handed over and followed until they have ended, whatever they are for."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ablate.config.errors import UserError, counted
from ablate.records.jobs import Batch, batches, jobs_dir, new_batch
from ablate.sweeping.launching.following import Followed, Waiting, clear, known_states
from ablate.sweeping.launching.options import Options
from ablate.sweeping.launching.queues import IN_QUEUE, LEAVING, Queue
from ablate.sweeping.launching.worker import CarryOut, train_order

LATE_S = 20.0
"""So long the last words and records of a job may take to be seen on this machine, by a network file system."""
LOOK_S = 1.0
LOOK_LATEST_S = 15.0
"""Jobs are looked after so often, or less often where a look takes long, but never less often than the latter."""
CANCELLED_S = 60.0
"""So long jobs that were cancelled are waited for: they save their checkpoints."""
LEAVES_S = 200.0
"""So long a job that was told to go may take to save its checkpoints and to leave the queue, or to be in it anew."""

ENDING = "ending the jobs: they save their checkpoints (Ctrl-C again does not wait for that)"
"""What is said before jobs are cancelled."""


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
