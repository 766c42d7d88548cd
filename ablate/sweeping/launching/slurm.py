"""Jobs of SLURM: an array for each batch, submitted by submitit, asked for by squeue.

Nothing here needs SLURM's accounting: without it a job that was killed is simply not in the queue any more.
"""

import math
import shlex
import shutil
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

from ablate.config.errors import UserError, listing, reason
from ablate.records.asking import NO_ANSWER, ask, output_of
from ablate.records.jobs import Batch
from ablate.sweeping.launching.options import Slurm
from ablate.sweeping.launching.queues import LEAVING, RUNNING, WAITING, imports_from_here, not_installed

if TYPE_CHECKING:
    from ablate.sweeping.launching.worker import CarryOut, Work

OF_SLURM = {
    "PENDING": WAITING,
    "CONFIGURING": WAITING,
    "REQUEUED": WAITING,
    "REQUEUE_FED": WAITING,
    "REQUEUE_HOLD": WAITING,
    "SPECIAL_EXIT": WAITING,
    "RUNNING": RUNNING,
    "COMPLETING": LEAVING,  # from the moment of scancel on, before the job itself has heard of it
    "SUSPENDED": RUNNING,
    "STOPPED": RUNNING,
    "SIGNALING": RUNNING,
    "STAGE_OUT": RUNNING,
    "RESIZING": RUNNING,
    "PREEMPTED": RUNNING,  # it is queued again, or is killed: then the queue has it no more
}
"""SLURM's word for the state of a job that is in the queue → ours."""


def states_of(ids: Iterable[str]) -> dict[str, str] | None:
    """Job → its state, of those that SLURM still knows; None where it does not answer."""
    asked = sorted({one.partition("_")[0] for one in ids})
    found: dict[str, str] = {}
    for first in range(0, len(asked), 100):
        answer = _ask(asked[first : first + 100])
        if answer is None:
            return None
        found |= answer
    return found


def _ask(jobs: list[str]) -> dict[str, str] | None:
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", f"--jobs={','.join(jobs)}"]
    try:
        done = ask(*command, check=False)
    except NO_ANSWER:
        return None
    if done.returncode and "Invalid job id" in done.stderr:
        # Of one job alone: it has left the queue. Of several SLURM leaves those out that it does not know any more.
        return {} if len(jobs) == 1 else _each(jobs)
    if done.returncode:
        return None
    rows = (line.split("|") for line in done.stdout.splitlines() if "|" in line)
    return {job: OF_SLURM.get(state, state) for job, state in rows}


def _each(jobs: list[str]) -> dict[str, str] | None:
    answers = [_ask([job]) for job in jobs]
    if any(one is None for one in answers):
        return None
    return {job: state for one in answers if one for job, state in one.items()}


PASSES_NEVER = {
    "PartitionTimeLimit": "the partition has a shorter time limit: give a smaller hydra.launcher.time_min",
    "PartitionConfig": "no node of the partition is so large: give less of hydra.launcher.cpus, gpus and mem_gb",
    "PartitionNodeLimit": "the partition has too few nodes: give another one",
    "BadConstraints": "no node is as asked for: change hydra.launcher.sbatch",
    "JobHeldUser": "somebody holds it: scontrol release",
    "JobHeldAdmin": "an administrator holds it: ask",
    "launch failed requeued held": "it could not be started: see the log of its node, then scontrol release",
    "DependencyNeverSatisfied": "what it depends on has failed: scancel it",
    "InvalidAccount": "give another hydra.launcher.account",
    "InvalidQOS": "give another hydra.launcher.qos",
    "AccountNotAllowed": "the partition is not for this account: give another hydra.launcher.account",
    "QOSNotAllowed": "the partition is not for this quality of service: give another hydra.launcher.qos",
}
"""SLURM's word for why a job waits that will wait for ever → what can be done about it."""


def why_waiting(ids: Iterable[str]) -> dict[str, str]:
    """Job → why it waits, in SLURM's words, with the remedy where it would for ever; nothing without an answer."""
    asked = sorted({one.partition("_")[0] for one in ids})
    command = ["squeue", "--noheader", "--array", "--states=PENDING", "--format=%i|%r", f"--jobs={','.join(asked)}"]
    found = {}
    for line in output_of(*command, check=False).splitlines():
        job, _, why = line.partition("|")
        if why not in ("", "None"):
            found[job] = f"{why}: {PASSES_NEVER[why]}" if why in PASSES_NEVER else why
    return found


def reachable() -> bool:
    return shutil.which("squeue") is not None


class SlurmQueue:
    """A `Queue`."""

    name = "SLURM"

    def __init__(self, options: Slurm) -> None:
        try:
            import submitit
        except ImportError as error:
            raise not_installed("submitit", "slurm") from error
        for program in ("sbatch", "srun", "squeue"):
            if shutil.which(program) is None:
                raise UserError(
                    f"there is no {program} on this machine; hydra/launcher=slurm is given where SLURM's commands are, "
                    "as on the login node of a cluster"
                )
        self.submitit, self.options = submitit, options

    def submit(self, batch: Batch, carry_out: "CarryOut") -> list[str]:
        from ablate.sweeping.launching.worker import Work

        own = self.options
        python = None if own.python is None else shlex.join(own.python)
        executor = self.submitit.SlurmExecutor(batch.log, max_num_timeout=own.requeues, python=python)
        executor.update_parameters(**self._parameters())
        works = [Work(str(batch.path.absolute()), job, carry_out) for job in range(batch.jobs)]
        try:
            with redirect_stderr(StringIO()):  # where submitit prints what sbatch says, which is said below
                return self._submit(executor, works)
        except (self.submitit.core.utils.FailedJobError, self.submitit.core.utils.FailedSubmissionError) as error:
            raise UserError(f"SLURM refuses the jobs: {_said(error)}") from error
        except NO_ANSWER as error:
            raise UserError(f"SLURM cannot be given the jobs: {error}") from error

    def _submit(self, executor: Any, works: Sequence["Work"]) -> list[str]:
        if len(works) == 1:
            return [str(executor.submit(works[0]).job_id)]
        with executor.batch():
            jobs = [executor.submit(work) for work in works]
        return [str(job.job_id) for job in jobs]

    def _parameters(self) -> dict[str, Any]:
        own = self.options
        found: dict[str, Any] = {
            "job_name": "ablate",
            "time": own.time_min,
            "cpus_per_task": own.cpus,
            "nodes": 1,
            "ntasks_per_node": 1,
            "signal_delay_s": own.notice_s,
            "setup": [*own.setup, *["export PYTHONSAFEPATH=1"] * (not imports_from_here())] or None,
            "srun_args": ["--cpu-bind=none"],
            "stderr_to_stdout": True,
            "wckey": None,  # submitit's own is refused by a cluster that keeps account of them
        }
        found |= {"gpus_per_node": own.gpus} if own.gpus else {}
        found |= {} if own.mem_gb is None else {"mem": f"{math.ceil(own.mem_gb * 1024)}MB"}
        found |= {"partition": own.partition, "account": own.account, "qos": own.qos}
        found |= {"exclusive": True} if own.exclusive else {}
        found |= {"array_parallelism": own.at_once or 1_000_000}
        extra = {"requeue": True, **own.sbatch}
        if extra["requeue"] is False or extra.get("no_requeue"):
            extra |= {"requeue": False, "no_requeue": True}
        # A flag that is false is one that is not given.
        given = {name: value for name, value in extra.items() if value is not None and value is not False}
        return {**found, "additional_parameters": given}

    def states(self, batch: Batch) -> dict[str, str] | None:
        return states_of(batch.ids or ())

    def why_waiting(self, batch: Batch) -> dict[str, str]:
        return why_waiting(batch.ids or ())

    def cancel(self, batch: Batch) -> None:
        jobs = sorted({one.partition("_")[0] for one in batch.ids or ()})
        if not jobs:
            return
        try:
            done = ask("scancel", *jobs, check=False)
        except NO_ANSWER as error:
            raise UserError(f"SLURM cannot be told to end job {', '.join(jobs)}: {reason(error)}") from error
        if done.returncode and "Invalid job id" not in done.stderr:  # one that has ended is as it should be
            said = (done.stderr.strip().splitlines() or [f"scancel ended with status {done.returncode}"])[-1]
            raise UserError(f"SLURM does not end job {', '.join(jobs)}: {said}")


REFUSED = (
    ("account/partition", "give another hydra.launcher.account or another hydra.launcher.partition"),
    (
        "policy",
        "so many jobs, or such large ones, are not allowed: give fewer hydra.launcher.jobs, or less of "
        "hydra.launcher.cpus, gpus, mem_gb and time_min, or wait until others have ended",
    ),
    ("usage threshold", "give another hydra.launcher.account or hydra.launcher.qos"),
    ("partition", "give another hydra.launcher.partition"),
    ("account", "give another hydra.launcher.account"),
    ("qos", "give another hydra.launcher.qos"),
    ("wckey", "give another hydra.launcher.sbatch.wckey"),
    ("memory specification", "no node has so much: give less hydra.launcher.mem_gb"),
    ("memory required", "no node has so much: give less hydra.launcher.mem_gb"),
    ("gres", "no node has such a GPU: give fewer hydra.launcher.gpus"),
    ("job array", "the cluster takes no array of so many jobs: give fewer hydra.launcher.jobs"),
    ("feature", "no node is as hydra.launcher.sbatch.constraint asks"),
    ("time limit", "give a smaller hydra.launcher.time_min"),
    ("node configuration", "no node is so large: give less of hydra.launcher.cpus, gpus and mem_gb"),
)
"""Words of sbatch's that tell why it refuses → what can be done about it; the first that it says, so that those that
stand in one text alone come before those that stand in several."""


def _said(error: Exception) -> str:
    """What sbatch itself says, of all that submitit does, and what can be done about it."""
    lines = [line for line in str(error).splitlines() if "sbatch: error" in line]
    said = (lines[0].partition("sbatch: error:")[2] if lines else str(error).partition("\n")[0]).strip()
    remedy = next((remedy for word, remedy in REFUSED if word in said.lower()), None)
    if remedy is None:
        return said
    there = _partitions() if "partition" in remedy else ""
    return f"{said}; {remedy}{there and f', of {there}'}"


def _partitions() -> str:
    """The names of those that there are, or nothing without an answer."""
    names = list(dict.fromkeys(output_of("sinfo", "--noheader", "--format=%R", check=False).split()))
    return listing(names) if names else ""
