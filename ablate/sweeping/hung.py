"""Programs that give no sign any more: noticed, ended, and begun again once.

A sign is a minibatch that begins, or an epoch that ends. The time that counts is that in which this process runs: one
that was stopped (SIGSTOP, a suspended machine) finds no program hung when it goes on.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from typing import Any

from ablate.config.resolved import Resolved
from ablate.engines.cohort.threads import TrainingThreads
from ablate.sweeping.devices import STOP_S
from ablate.sweeping.schedule import RunGroup
from ablate.training.called import ended_by

STALLED_MIN = 30.0
"""Minutes without a sign after which a network's training is hung, where `stalled_min` does not say."""
MOST_STEP_S = 1.0
"""More than this between two looks was no time in which anything could train."""
END_S = 10.0
"""So long a program that was given up has to end; then its thread is left behind."""
MOST_HUNG = 1
"""So often a program that hung is begun again."""


class Hung(Exception):
    """A program gave no sign for longer than is allowed."""

    def __init__(self, program: RunGroup) -> None:
        again = " again" if program.hung else ""
        super().__init__(f"no progress for {limit_min(program.config):g} min{again}, and ended (stalled_min)")


def limit_min(config: Resolved) -> float | None:
    """Minutes without a sign; None of a function of a person's own, of whose progress nothing is known."""
    if config.stalled_min is not None:
        return config.stalled_min
    return STALLED_MIN if config.task.thing.has_network else None


class Signs:
    """When each program that trains has last given a sign. Called from several threads."""

    def __init__(self) -> None:
        self.clock, self.looked = 0.0, time.monotonic()
        self.last: dict[int, float] = {}
        self.given_up: dict[int, tuple[float, RunGroup]] = {}
        """Program → when it was told to end; with itself, so that no other gets its id."""
        self.lock = threading.Lock()

    @contextmanager
    def of(self, program: RunGroup, here: bool) -> Iterator[Callable[[], bool]]:
        """While a program is trained, by this thread where `here`: what tells that it has to end.

        Stopped is raised in a network's training then, wherever it is; a function is ended by what calls it.
        """
        key = id(program)
        with self.lock:
            self.last[key] = self.clock
        try:
            interrupted = here and program.config.task.thing.has_network
            with ended_by(lambda: key in self.given_up) if interrupted else nullcontext():
                yield lambda: key in self.given_up
        finally:
            with self.lock:
                self.last.pop(key, None)

    def sign(self, program: RunGroup) -> None:
        with self.lock:
            if id(program) in self.last:
                self.last[id(program)] = self.clock

    def look(self, programs: list[RunGroup]) -> list[RunGroup]:
        """Of these programs, those to be given up now. Called every now and then."""
        now = time.monotonic()
        with self.lock:
            self.clock += min(now - self.looked, MOST_STEP_S)
            self.looked = now
            found = []
            for program in programs:
                limit, since = limit_min(program.config), self.last.get(id(program))
                if limit is None or since is None or id(program) in self.given_up:
                    continue
                if self.clock - since > 60 * limit:
                    self.given_up[id(program)] = self.clock, program
                    found.append(program)
        return found

    def is_hung(self, program: RunGroup) -> bool:
        return id(program) in self.given_up

    def stuck(self, program: RunGroup) -> bool:
        """Whether a program does not even end."""
        with self.lock:
            return id(program) in self.given_up and self.clock - self.given_up[id(program)][0] > END_S


def end_stopped(pool: TrainingThreads, futures: Mapping[Future[Any], RunGroup]) -> None:
    """Programs were told to stop: wait for them; threads in which a network's training does not are left behind.

    A function of a person's own does not hear of it: it is waited for as long as it takes.
    """
    pool.shutdown(wait=False, cancel_futures=True)
    begun = {future: program.config.task.thing.has_network for future, program in futures.items() if not future.done()}
    # A process for a device is killed after STOP_S, and ends what waits for it here.
    TrainingThreads.leave(wait([one for one, network in begun.items() if network], STOP_S + END_S).not_done)
    wait([one for one, network in begun.items() if not network])


def end_process(status: int) -> None:
    """End this process at once, as a program's last act, where a thread hangs in it: what Python does when it ends
    would crash beside one that goes on amid a product."""
    if TrainingThreads.hanging:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
