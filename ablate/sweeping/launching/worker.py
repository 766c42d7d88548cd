"""A job of a cluster: it trains what its order asks for as a sweep on one machine does, and says how far it is.

What it was given and what it says are files of the sweep's folder (`ablate.records.jobs`). It may be killed at any
moment: records are written whole, and training goes on from the last checkpoint in the next job that is given the runs.
"""

import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.config.errors import StorageError, UserError, reason
from ablate.records.files import write_json
from ablate.records.jobs import BEAT_S, DONE, Batch, State, read_batch
from ablate.records.reading import RecordError

if TYPE_CHECKING:  # what is loaded here is loaded before a job can hear that it has to go
    from ablate.records.record import Record
    from ablate.sweeping.schedule import RunGroup

SAVE_S = 60.0
"""So long a job that is to go waits for its checkpoints."""
KILLED_WITHIN_S = 120.0
"""So long a job that was asked to end, and has saved its checkpoints, waits for its end: of a job that ends by itself
a queue that preempts it would say that it is done."""


CarryOut = Callable[[Mapping[str, Any], "Beacon", threading.Event], None]
"""A function of a module that does what an order asks for, tells the beacon of it, and stops once the event is set."""


def train_order(order: Mapping[str, Any], beacon: "Beacon", stop: threading.Event) -> None:
    """Train the runs of an order, or time its settings."""
    from ablate.sweeping.launch import time_settings, train_job
    from ablate.sweeping.launching.orders import plan_of
    from ablate.sweeping.summary import Summary
    from ablate.timing.machine import quality_jobs

    plan = plan_of(order)
    summary = Summary(plan.folder)
    if limit_s := order.get("speed_s"):
        time_settings(plan, limit_s, summary, quiet=True)
        beacon.failures(summary.failures)
    else:
        names = {entry["setting_id"]: entry["name"] for entry in order["settings"]}
        with quality_jobs():
            train_job(plan, names, beacon, summary, stop, order["cpus"])
    if summary.storage:
        raise StorageError(None, summary.storage)


class Work:
    """Job number `job` of a batch, as submitit and Ray call it, and pickle it; begun `most` times at most."""

    def __init__(self, batch: str, job: int, carry_out: CarryOut = train_order, most: int | None = None) -> None:
        self.batch, self.job, self.carry_out, self.most = batch, job, carry_out, most

    def __call__(self) -> None:
        Running(Path(self.batch), self.job, self.carry_out, self.most).run()

    def checkpoint(self) -> Any:
        """Called by submitit shortly before the time limit: what the job is submitted again as."""
        from submitit.helpers import DelayedSubmission

        if Running.here is not None:
            Running.here.leave("its time was up, and it is queued again")
        return DelayedSubmission(self)


class Running:
    """The job of this process."""

    here: "Running | None" = None

    def __init__(self, batch: Path, job: int, carry_out: CarryOut = train_order, most: int | None = None) -> None:
        self.path, self.job, self.carry_out, self.most = batch, job, carry_out, most
        self.stop = threading.Event()
        self.asked_to_end = False
        self.trained: threading.Thread | None = None
        self.beacon: Beacon | None = None

    def run(self) -> None:
        """Until all is done, or the job has to go. Errors are told in the job's state, not raised."""
        try:
            batch = read_batch(self.path)
            order = batch.order(self.job)
            if batch.state(self.job).ended is not None:  # begun again by a cluster that did not hear of its end
                return
        except RecordError:  # collected, or given up, before it began
            return
        with suppress(OSError):
            os.chdir(order["cwd"])
        Running.here = self
        self.beacon = Beacon(batch, self.job)
        if self.most is not None and self.beacon.state.begins > self.most:
            self.beacon.say_ended(
                f"its process was killed {self.most} times, perhaps for its memory; give it more "
                "(hydra.launcher.mem_gb), or train fewer programs side by side (hydra.launcher.cpus)"
            )
            return
        self.trained = threading.Thread(target=self._train, args=(order, self.beacon))
        with self.beacon, _asked_to_end(self):
            self.trained.start()
            try:
                while self.trained.is_alive():
                    self.trained.join(0.2)  # here so that signals are heard at once
                    if self.asked_to_end:
                        self.beacon.say_leaving()
            except KeyboardInterrupt:  # by which Ray cancels a task
                self.leave("it was cancelled")
            if self.asked_to_end:
                self.beacon.say_stopped("it was asked to end")
                deadline = time.monotonic() + KILLED_WITHIN_S
                while os.environ.get("SLURM_JOB_ID") and time.monotonic() < deadline:
                    time.sleep(0.5)
        from ablate.sweeping.hung import end_process

        end_process(0)

    def leave(self, why: str) -> None:
        """Stop training and save checkpoints; returns once that is done, or after `SAVE_S`."""
        self.stop.set()
        assert self.trained is not None
        assert self.beacon is not None
        self.beacon.say_leaving()
        self.trained.join(SAVE_S)
        self.beacon.say_stopped(why)

    def _train(self, order: Mapping[str, Any], beacon: "Beacon") -> None:
        from ablate.sweeping.launching.orders import check_code

        try:
            check_code(order)
            self.carry_out(order, beacon, self.stop)
        except StorageError as error:
            beacon.say_ended(str(error))
        except (Exception, SystemExit) as error:
            if not isinstance(error, UserError):
                traceback.print_exc()  # for the log of the cluster
            beacon.say_ended(reason(error))
        else:
            if not self.stop.is_set():
                beacon.say_ended(DONE)


@contextmanager
def _asked_to_end(running: Running) -> Iterator[None]:
    """SIGTERM, as a queue sends it before it kills: checkpoints are saved. Not where this is no main thread."""
    if threading.current_thread() is not threading.main_thread() or "SLURM_JOB_ID" not in os.environ:
        yield
        return

    def end(*_: object) -> None:
        running.asked_to_end = True
        running.stop.set()

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Beacon:
    """What a job says of itself, every `BEAT_S` seconds and when something ends. Called from several threads."""

    def __init__(self, batch: Batch, job: int) -> None:
        self.path = batch.state_path(job)
        last = batch.state(job)  # of the same job, before it was queued again
        here = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        own = "_".join(filter(None, here)) or os.environ.get("SLURM_JOB_ID") or str(os.getpid())
        self.state = State(own, socket.gethostname(), begins=last.begins + 1, beat=last.beat)
        self.running: dict[str, dict[str, Any]] = {}
        self.lock = threading.RLock()  # a signal's handler may say something in the middle of what its own thread says
        self.gone = threading.Event()
        self.thread = threading.Thread(target=self._keep_beating, daemon=True)

    def __enter__(self) -> "Beacon":
        self.beat()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gone.set()
        self.thread.join()

    def _keep_beating(self) -> None:
        while not self.gone.wait(BEAT_S):
            self.beat()

    def beat(self) -> None:
        """A state that cannot be written is no reason to end: the records may have room."""
        with self.lock, suppress(StorageError):
            self.state.beat += 1
            self.state.at = time.time()
            self.state.programs = list(self.running.values())
            written = None
            while written != self.state.beat and self.path.parent.is_dir():  # else given up, and not to be made again
                written = self.state.beat
                write_json(self.path, asdict(self.state))  # once more where a signal's handler has said more meanwhile

    def say_leaving(self) -> None:
        if not self.state.leaving:
            self.state.leaving = True
            self.beat()

    def say_stopped(self, why: str) -> None:
        self.state.leaving = True
        self.state.stopped = why
        self.beat()

    def say_ended(self, how: str) -> None:
        self.state.ended = how
        self.beat()

    def failures(self, found: Sequence[tuple[str, str]]) -> None:
        for name, why in found:
            self.failed(name, why)

    def say(self, text: str) -> None:
        pass

    def warn(self, line: str) -> None:
        if line not in self.state.warnings:
            self.state.warnings.append(line)

    def preparing(self, what: str) -> None:
        pass

    def epoch(self, program: "RunGroup", name: str, epoch: int, perplexity: float) -> None:
        runs = [run.run_id for run in program.runs]
        begins = runs[0] not in self.running
        self.running[runs[0]] = {"runs": runs, "epoch": epoch, "perplexity": perplexity}
        if begins:  # a short training would have ended before the next beat, and never have been seen
            self.beat()

    def ended(self, program: "RunGroup") -> None:
        self.running.pop(program.runs[0].run_id, None)

    def dropped(self, program: "RunGroup") -> None:
        self.ended(program)

    def done(self, program: "RunGroup", records: Sequence["Record"], names: Mapping[str, str]) -> None:
        self.ended(program)
        self.state.trained += len(records)
        self.beat()

    def failed(self, name: str, reason: str) -> None:
        self.state.failures.append([name, reason])
        self.beat()
