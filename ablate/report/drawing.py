"""Parts of a report made by several processes: figures, which take most of its time, and what else stands alone."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

from ablate.records.environment import cores
from ablate.records.forks import can_fork, end_with_parent

Job = Callable[[], Any]
"""Makes something that can be pickled."""

_jobs: Mapping[str, Job] = {}


@contextmanager
def at_once(jobs: Mapping[str, Job], own: int = 0) -> Iterator[Mapping[str, Job]]:
    """The same jobs, begun in as many processes as there are cores; called, each returns or raises what it did.

    `own`: cores that are left for what this process does meanwhile.

    The children are forks, which have the data and the loaded modules already; they use no torch. An exception within
    the context, of which Ctrl-C is one, ends them at once. Elsewhere than on Linux, with one core, or where other
    threads of this program could hold a lock at that moment, each job is done when it is called.
    """
    workers = min(cores() - own, len(jobs))
    if cores() < 2 or workers < 1 or not can_fork():
        yield jobs
        return
    forks, others = multiprocessing.get_context("fork"), set(multiprocessing.active_children())
    # Arguments of the initializer are inherited by a fork, not pickled.
    with ProcessPoolExecutor(workers, forks, initializer=_remember, initargs=(jobs, os.getpid())) as pool:
        try:
            yield begun(pool, jobs)
        except BaseException:
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


def begun(pool: Executor, jobs: Mapping[str, Job]) -> dict[str, Job]:
    futures = {name: pool.submit(_do, name) for name in jobs}

    def outcome(name: str) -> Any:
        try:
            return futures[name].result()
        except BrokenProcessPool:  # a child was killed, for memory say; here is more of it
            return jobs[name]()

    return {name: partial(outcome, name) for name in jobs}


def _remember(jobs: Mapping[str, Job], parent: int) -> None:
    global _jobs
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _jobs = jobs


def _do(name: str) -> Any:
    return _jobs[name]()
