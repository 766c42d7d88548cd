"""Which process holds which trial, and whether it still lives: a killed one leaves its trials RUNNING for ever.

Every process writes into the study where it runs and, every half minute, that it lives. On the same machine the
process table tells at once; on another machine, and on Windows, a process that was silent for some minutes is taken
for dead. Clocks of two machines need not agree for that, nor stay as they are: what counts is how long nothing new has
been heard, by the monotonic clock of who listens, and another machine's time only where it is off by much.
"""

import threading
import time
from contextlib import suppress
from typing import Any, Self

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from ablate.config.errors import counted
from ablate.records.processes import runs_here, this_process
from ablate.searching.storage import mark, told

BEAT_S = 30.0
SILENT_S = 300.0
"""A process on another machine that has not been heard of for so long is dead."""
OLD_S = 900.0
"""So is one whose last word is as old as this when it is first listened to: clocks that differ by less are common."""
UNCLAIMED_S = 60.0
"""A trial gets its owner right after it is asked for; one without an owner for so long has none."""
RETRIES = 2
"""How often a trial is begun again whose process died; perhaps it is what kills them."""
PREFIX = "worker:"
FACTS: dict[str, Any] = {"place": str, "pid": int, "started": int | None, "beat": float, "left": bool}
"""What a process writes of itself, each with its type."""


class Worker:
    """This process in the study: registered on entry, heard of until exit."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.facts = this_process()
        self.id = f"{self.facts['place']}:{self.facts['pid']}:{self.facts['started']}"
        self._unclaimed: dict[int, float] = {}  # trial without an owner → when it was first seen, monotonic
        self._heard: dict[str, tuple[float, float]] = {}  # process → its last word, and when that was first read
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gone.set()
        self._thread.join()
        with suppress(Exception):  # the study may be what failed
            self._beat(left=True)

    def _keep_beating(self) -> None:
        while not self._gone.wait(BEAT_S):
            with suppress(Exception):  # the search itself will notice a lost database
                self._beat()

    def _beat(self, left: bool = False) -> None:
        self.study.set_user_attr(PREFIX + self.id, self.facts | {"beat": time.time(), "left": left})

    def others(self) -> int:
        """Other processes that work on this study now."""
        return len(self._living() - {self.id})

    def orphans(self) -> list[FrozenTrial]:
        """Running trials whose process has died."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if not running:
            return []
        living = self._living() | {self.id}
        return [trial for trial in running if not self._owned(trial, living)]

    def _living(self) -> set[str]:
        workers = {k.removeprefix(PREFIX): v for k, v in self.study.user_attrs.items() if k.startswith(PREFIX)}
        return {worker for worker, facts in workers.items() if lives(facts, self._silent_s(worker, facts))}

    def _silent_s(self, worker: str, facts: dict[str, Any]) -> float:
        """For how long nothing new has been heard of a process, as far as this one knows."""
        word, now = float(facts.get("beat", 0.0)), time.monotonic()
        if worker not in self._heard or self._heard[worker][0] != word:
            first = worker not in self._heard and time.time() - word > OLD_S
            self._heard[worker] = word, now - (OLD_S if first else 0.0)
        return now - self._heard[worker][1]

    def _owned(self, trial: FrozenTrial, living: set[str]) -> bool:
        owner = trial.user_attrs.get("worker")
        if owner is not None:
            return owner in living
        # Optuna's own stamp is local time without its zone: another machine, or a change of the clocks, misleads.
        seen = self._unclaimed.setdefault(trial.number, time.monotonic())
        return time.monotonic() - seen < UNCLAIMED_S and living != {self.id}

    def release_orphans(self) -> list[int]:
        """Fail the trials of dead processes and put them into the queue again, with the same parameters."""
        return [trial.number for trial in self.orphans() if release(self.study, trial, "its process died")]


def release(study: Study, trial: FrozenTrial, reason: str, excluded: str = "orphan") -> bool:
    """Fail a running trial and queue its parameters again, unless that was done too often; False if told already."""
    tries = int(trial.user_attrs.get("tries", 0)) + 1
    again = tries <= RETRIES or excluded == "stopped"
    attributes: dict[str, Any] = {"reason": reason if again else f"{reason}, {counted(tries, 'time')}"}
    if again:
        attributes["excluded"] = excluded
    if not mark(study, trial.number, **attributes) or not told(study, trial.number, TrialState.FAIL):
        return False
    if again and trial.params:
        tried = {} if excluded == "stopped" else {"tries": tries}
        study.enqueue_trial(trial.params, user_attrs={"again": trial.number, **tried})
    return True


def lives(facts: dict[str, Any], silent_s: float) -> bool:
    """Whether a process still runs that wrote these facts, and of which nothing new was heard for so long."""
    if facts.get("left"):
        return False
    known = runs_here(facts)
    if known is not None:
        return known
    return silent_s < SILENT_S
