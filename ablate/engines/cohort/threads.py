"""Threads to train cohorts in, each prepared alike."""

import atexit
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from typing import Any
from weakref import WeakSet

import torch

CPU = torch.device("cpu")
LOOK_S = 0.1
"""So often it is looked whether all but those that hang have ended."""


def prepare_thread(device: torch.device = CPU) -> None:
    """Call first in each thread that trains cohorts: one thread for torch's own loops, denormals are zero, and on a GPU
    a stream of its own, beside which those of other threads run. Another call keeps that stream, whose memory torch
    has for it alone."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        if torch.cuda.current_stream(device) == torch.cuda.default_stream(device):
            torch.cuda.set_stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


Work = tuple["Future[Any]", Callable[[], Any]]


class TrainingThreads(Executor):
    """Threads of which some may have to be left behind.

    They are daemons: Python waits for those of a ThreadPoolExecutor when it ends, and so for ever for one that hangs.
    What is not left behind is waited for by `shutdown`, as any executor does.
    """

    hanging = 0
    """How many do, of this process."""

    def __init__(self, count: int, prepare: Callable[[], None] = lambda: None) -> None:
        """`prepare` is called in each thread before its first work; what it raises is raised by that work."""
        self.count, self.prepare = count, prepare
        self._left: set[Thread] = set()  # they hang: no end waits for them
        self._by: dict[Future[Any], Thread] = {}  # what carries out which work now
        self._work: SimpleQueue[Work | None] = SimpleQueue()  # None: there is no more
        self._threads: list[Thread] = []
        self._lock = Lock()
        self._shut = False
        self._busy = 0  # works submitted and not ended: with fewer threads than these another one is begun
        _ALL.add(self)

    def submit(self, function: Callable[..., Any], /, *of: Any, **how: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._lock:
            if self._shut:
                raise RuntimeError("these threads take no more work")
            self._busy += 1
            self._work.put((future, partial(function, *of, **how)))
            if len(self._threads) < min(self._busy, self.count):
                self._threads.append(Thread(target=self._serve, daemon=True))
                self._threads[-1].start()
        return future

    def _serve(self) -> None:
        prepare = [self.prepare]
        while (work := self._work.get()) is not None:
            with self._lock:
                self._by[work[0]] = current_thread()
            _carry_out(work, prepare)
            with self._lock:
                del self._by[work[0]]
                self._busy -= 1
            del work  # or a thread that waits would keep what it has trained

    @staticmethod
    def leave(futures: Iterable["Future[Any]"]) -> None:
        """The threads that carry these out hang for ever, whichever pool they are of."""
        futures = set(futures)
        for pool in list(_ALL):
            with pool._lock:
                hang = {thread for future, thread in pool._by.items() if future in futures} - pool._left
                pool._left |= hang
                TrainingThreads.hanging += len(hang)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._shut = True
            if cancel_futures:
                while (work := self._next()) is not None:
                    work[0].cancel()
            for _ in self._threads:
                self._work.put(None)
        while wait and (alive := [one for one in self._threads if one.is_alive() and one not in self._left]):
            alive[0].join(LOOK_S)  # which may be left behind meanwhile

    def _next(self) -> Work | None:
        try:
            return self._work.get_nowait()
        except Empty:
            return None


def _carry_out(work: Work, prepare: list[Callable[[], None]]) -> None:
    future, call = work
    if not future.set_running_or_notify_cancel():
        return
    try:
        while prepare:
            prepare[0]()
            prepare.pop()
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
    finally:
        del work, future, call  # the error knows this frame, and would keep itself


_ALL: "WeakSet[TrainingThreads]" = WeakSet()


@atexit.register
def _end_all() -> None:
    """Where a second Ctrl-C came while they were waited for: a thread amid a product would crash Python's end."""
    for threads in list(_ALL):
        threads.shutdown()


@contextmanager
def training_threads(count: int, device: torch.device = CPU) -> Iterator[TrainingThreads]:
    """Threads prepared to train in; afterwards torch has for threads to come the number of cores that it had before."""
    before = torch.get_num_threads()
    try:
        with TrainingThreads(count, partial(prepare_thread, device)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
