"""What a cluster computes for a sweep, as its folder keeps it until it has been collected.

results/<sweep>/jobs/<batch>/batch.json        what was submitted together: the launcher, the id of each job
results/<sweep>/jobs/<batch>/<n>.order.json    the work order of job n: settings, their runs, the version of the code
results/<sweep>/jobs/<batch>/<n>.state.json    what job n last said of itself: where it is, how far it is, what failed
results/<sweep>/jobs/<batch>/log/              what the cluster keeps of it

A job writes its records into the folder of the sweep as any program does; they alone tell what is finished.
"""

import math
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ablate.config.errors import span
from ablate.records.files import entries, exact_json, remove, write_json, write_text
from ablate.records.kinds import misfit
from ablate.records.processes import runs_here, this_process
from ablate.records.reading import RecordError, read_json

BEAT_S = 10.0
"""So often a job says that it is still there."""
HEARD_S = 6 * BEAT_S
"""A job that ends with a process of another machine is heard of for at least so long after its last word."""
DONE = "done"
"""How a job has ended that did all that it was given."""


@dataclass
class Batch:
    """Jobs that were submitted together."""

    path: Path
    launcher: str
    jobs: int
    ids: list[str] | None = None
    """The id of each job, as the cluster calls it; None until it has answered."""
    silent_s: float = 600.0
    """A job of which the cluster says nothing is lost once it has said nothing for so long."""
    submitter: dict[str, Any] | None = None
    """The process that submitted it, where its jobs end with that."""

    def write(self) -> None:
        """Raises StorageError."""
        facts = {name: value for name, value in asdict(self).items() if name != "path"}
        write_json(self.path / "batch.json", facts)

    def id_of(self, job: int) -> str:
        return self.ids[job] if self.ids else f"{self.path.name}/{job}"

    @property
    def span(self) -> str:
        """`12_0 … 12_7`"""
        return span(self.id_of(0), self.id_of(self.jobs - 1), " … ")

    def has_submitter(self) -> bool:
        """Whether another process than this one submitted it, and lives; on another machine its jobs tell, and until
        one of them has begun, when it was submitted."""
        if self.submitter is None or self.submitter == this_process():
            return False
        if (known := runs_here(self.submitter)) is not None:
            return known
        states = [self.state(job) for job in range(self.jobs)]
        if not any(state.begun for state in states):
            return self._age_s() < self.silent_s
        return any(state.silent_s < max(HEARD_S, self.silent_s) for state in states)

    def _age_s(self) -> float:
        """Seconds since it was submitted, as far as two clocks agree."""
        try:
            return time.time() - (self.path / "batch.json").stat().st_mtime
        except OSError:
            return math.inf

    def order_path(self, job: int) -> Path:
        return self.path / f"{job}.order.json"

    def state_path(self, job: int) -> Path:
        return self.path / f"{job}.state.json"

    @property
    def sweep(self) -> Path:
        """The folder of the sweep."""
        return self.path.parent.parent

    @property
    def log(self) -> Path:
        return self.path / "log"

    def order(self, job: int) -> dict[str, Any]:
        """Raises RecordError."""
        return read_json(self.order_path(job))

    def write_order(self, job: int, order: Mapping[str, Any]) -> None:
        """Raises StorageError."""
        write_text(self.order_path(job), exact_json(order))

    def state(self, job: int) -> "State":
        try:
            return State.of(read_json(self.state_path(job)))
        except RecordError:
            return State()

    def remove(self, keep_log: bool = False) -> None:
        """All of it; a job that has not begun finds no order then, and ends."""
        if not keep_log:
            shutil.rmtree(self.path, ignore_errors=True)
        for path in entries(self.path):
            if path != self.log:
                remove(path)


@dataclass
class State:
    """What a job last said of itself; nothing of one that has not begun."""

    id: str | None = None
    host: str | None = None
    begins: int = 0
    """How often the cluster has begun it."""
    beat: int = 0
    """How often it has been written: a reader whose clock is another's sees that it goes on."""
    at: float = 0.0
    """When, by the clock of its own machine: seconds since 1970."""
    programs: list[dict[str, Any]] = field(default_factory=list)
    """What trains now: its runs, how many epochs are done, the perplexity."""
    trained: int = 0
    failures: list[list[str]] = field(default_factory=list)
    """The settings that failed in it, each by its label, and why."""
    warnings: list[str] = field(default_factory=list)
    leaving: bool = False
    """Whether it was told to go, and saves its checkpoints, or has."""
    stopped: str | None = None
    """Why it has saved its checkpoints and gone."""
    worker: str | None = None
    """The process of a search that it is, as the study calls it."""
    ended: str | None = None
    """`done`, or what ended it as a whole."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "State":
        """Raises RecordError."""
        wrong = _wrong(stored, STATE) or next(
            (why for one in stored.get("programs", ()) if (why := _wrong(one, PROGRAM, PROGRAM))), ""
        )
        if wrong or any(len(failure) != 2 for failure in stored.get("failures", ())):
            raise RecordError(f"no state of a job of ablate ({wrong or 'failures'})")
        return cls(**{name: stored[name] for name in STATE if name in stored})

    @property
    def begun(self) -> bool:
        return self.beat > 0

    @property
    def silent_s(self) -> float:
        """Seconds since it was last heard of, as far as two clocks agree."""
        return max(0.0, time.time() - self.at)


BATCH = {
    "launcher": str,
    "jobs": int,
    "ids": list[str] | None,
    "silent_s": float,
    "submitter": dict[str, Any] | None,
}
SUBMITTER = {"place": str, "pid": int, "started": int | None}
STATE = {
    "id": str | None,
    "host": str | None,
    "begins": int,
    "beat": int,
    "at": float,
    "programs": list[dict[str, Any]],
    "trained": int,
    "failures": list[list[str]],
    "warnings": list[str],
    "leaving": bool,
    "stopped": str | None,
    "worker": str | None,
    "ended": str | None,
}
PROGRAM = {"runs": list[str], "epoch": int, "perplexity": float | None}
"""What the files hold, checked where they are read."""
MOST_JOBS = 1_000_000


def jobs_dir(sweep: Path) -> Path:
    return sweep / "jobs"


def batches(sweep: Path) -> list[Batch]:
    """What has been submitted for a sweep and is not collected yet, from the first on."""
    found = []
    for path in entries(jobs_dir(sweep)):
        try:
            found.append(read_batch(path))
        except RecordError:
            continue
    return found


def read_batch(path: Path) -> Batch:
    """Raises RecordError where there is none."""
    stored = read_json(path / "batch.json")
    wrong = _wrong(stored, BATCH, ("launcher", "jobs"))
    if not wrong and (submitter := stored.get("submitter")) is not None:
        wrong = _wrong(submitter, SUBMITTER, SUBMITTER)
    if not wrong and not 0 <= stored["jobs"] <= MOST_JOBS:
        wrong = "jobs"
    if not wrong and stored.get("ids") and len(stored["ids"]) != stored["jobs"]:
        wrong = "ids"
    if wrong:
        raise RecordError(f"{path}: no batch of jobs of ablate ({wrong})")
    return Batch(path, **{name: stored[name] for name in BATCH if name in stored})


def _wrong(stored: Mapping[str, Any], kinds: Mapping[str, Any], needed: Iterable[str] = ()) -> str:
    """The first entry that is of another type, or lacking; empty where there is none."""
    return misfit(stored, kinds) or next((name for name in needed if name not in stored), "")


def new_batch(sweep: Path, launcher: str, jobs: int, silent_s: float, outlives_us: bool) -> Batch:
    """A place for what is to be submitted, after all that are there; `outlives_us`: its jobs do not end with us."""
    numbers = [int(path.name) for path in entries(jobs_dir(sweep)) if path.name.isdigit()]
    return Batch(
        jobs_dir(sweep) / f"{max(numbers, default=0) + 1:04d}",
        launcher,
        jobs,
        silent_s=silent_s,
        submitter=None if outlives_us else this_process(),
    )
