"""A run of a task without a network of ours: a function of a person's own, called once."""

import ctypes
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ablate.config.identity import run_identity, setting_of, short_hash
from ablate.config.resolved import Resolved
from ablate.config.schema import to_dict
from ablate.config.validation import FUNCTION
from ablate.data.corpora import Corpus
from ablate.records.environment import environment
from ablate.records.record import Record
from ablate.tasks import task_of
from ablate.tasks.facts import measures
from ablate.training.trajectory import Stopped, Watched

LOOK_S = 0.2
"""How often to look whether a function should end."""


@contextmanager
def ended_by(stop: Callable[[], bool]) -> Iterator[None]:
    """Raise Stopped in what this thread executes, soon after `stop()` became true: a function need not report.

    Python hears of it between two of its own instructions, not within a call of a library.
    """
    thread, over, turn = threading.get_ident(), threading.Event(), threading.Lock()

    def look() -> None:
        while not over.wait(LOOK_S):
            with turn:
                if not over.is_set() and stop():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Stopped))
                    return

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        with turn:
            over.set()
        looking.join()


@dataclass(frozen=True)
class Reported:
    """A function that has just reported an epoch."""

    config: Resolved
    measured: Mapping[str, float]

    def reading(self, epoch: int) -> dict[str, float] | None:
        return {name: value for name, value in self.measured.items() if math.isfinite(value)} or None


def called(
    config: Resolved,
    corpus: Corpus,
    *,
    on_epoch: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[int, Sequence[Watched]], Sequence[bool]] | None = None,
) -> Record:
    """The record of one run. `on_epoch(epoch, main metric)` after each epoch that the function reports.

    Raises what the function raises, and Stopped from its report after `stop()` became true, or where `watch` tells not
    to go on.
    """
    task: Any = task_of(config, corpus)
    facts = config.task.thing
    started, clock = datetime.now(UTC), time.perf_counter()

    def reported(epoch: int, measured: Mapping[str, float]) -> None:
        going_on = [True] if watch is None else watch(epoch, [Reported(config, measured)])
        if stop() or not all(going_on):
            raise Stopped
        if on_epoch and facts.main in measured:
            on_epoch(epoch, measured[facts.main])

    with ended_by(stop):
        final, curve = task.call(reported)
    epochs = int(curve["epoch"][-1] or 0) if curve["epoch"] else 0
    sound = math.isfinite(final[facts.main])
    identity = run_identity(config, corpus.sha256)
    return Record(
        run_id=short_hash(identity),
        setting_id=setting_of(identity),
        seed=config.seed,
        status="ok" if sound else "diverged",
        config=to_dict(config),
        identity=identity,
        corpus={"name": corpus.name, "sha256": corpus.sha256, "unit": corpus.unit},
        metrics={name: value if sound and math.isfinite(value) else None for name, value in final.items()},
        counts={"epochs_done": epochs},
        text={},
        engine=FUNCTION,
        timing={
            "started": started.isoformat(timespec="seconds"),
            "wall_s": round(time.perf_counter() - clock, 3),
            "threads": 1,
            "device": "cpu",
        },
        environment=environment("cpu"),
        measures=measures(config.task),
        divergence=None if sound else {"epoch": epochs, "last_finite_loss": None, "cause": facts.main},
        curve=curve,
    )
