"""What is known of the jobs of a sweep: by what they say, and by what the cluster says of them. Loads no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.config.errors import UserError, counted, listing
from ablate.records.jobs import Batch, State, batches, jobs_dir
from ablate.records.reading import RecordError
from ablate.sweeping.launching import slurm
from ablate.sweeping.launching.queues import RUNNING, WAITING, Queue

GONE = "gone from the queue"
SILENT = "silent"


def known_states(batch: Batch, queue: Queue | None = None) -> Mapping[str, str] | None:
    """What is known of a batch's jobs; `queue`: the one that submitted it in this program."""
    if queue is not None:
        return queue.states(batch)
    if batch.launcher != "slurm":
        return {}  # its driver has ended, and its jobs with it
    if not slurm.reachable():
        return None
    return slurm.states_of([*(batch.ids or ()), *_said_ids(batch)])


def _said_ids(batch: Batch) -> list[str]:
    """The ids that jobs have told themselves, where the program that submitted them was ended too early to know."""
    return [] if batch.ids else [one for job in range(batch.jobs) if (one := batch.state(job).id)]


def fate(batch: Batch, job: int, state: State, known: Mapping[str, str] | None, silent_s: float) -> str:
    """`waiting`, `running`, `done`, or how else the job has ended."""
    if state.ended is not None:
        return state.ended
    if known is None:
        return WAITING if not state.begun else RUNNING if silent_s < batch.silent_s else SILENT
    return known.get(batch.ids[job] if batch.ids else state.id or "", GONE)


def at_work(folder: Path) -> list[str]:
    """The jobs of a sweep that wait or run, for a line that says why it cannot be trained here meanwhile."""
    found = []
    for batch in batches(folder):
        known = known_states(batch)
        for job in range(batch.jobs):
            state = batch.state(job)
            if fate(batch, job, state, known, state.silent_s) in (WAITING, RUNNING):
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
