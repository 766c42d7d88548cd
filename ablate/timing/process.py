"""The processes that time settings, one each: started, asked, and ended, also where they hang."""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any, Self

ENDING_S = 10.0
"""Time for a process to end when it is told to."""
SLACK = 4.0
"""So many times longer than it expects may a process take for a step, on a machine that is busy for a moment."""
START_S = 5.0
"""What is expected of a step of which nothing is known yet: to load, to build a network, a first minibatch."""
AHEAD = 12
"""Processes that are started together at most, unless more are needed at once: a waiting one holds memory."""

Ask = Callable[[Any], dict[str, Any]]
"""Puts a request to the process, and returns its answer. Raises WorkerFailed."""


class WorkerFailed(Exception):
    """A setting cannot be timed; the message says why."""


class WorkerHung(WorkerFailed):
    """Its process gave no answer, and was ended."""


class Process:
    """A fresh process of a module that loads what it needs and waits to be told its setting."""

    def __init__(self, module: str = "ablate.timing.worker") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.send, self.receive = self.process.stdin, self.process.stdout
        self.lines: Queue[str] = Queue()
        self.reader = Thread(target=_read, args=(self.receive, self.lines), daemon=True)
        self.reader.start()
        self.failure: WorkerFailed | None = None

    def wait(self, answer_s: float, together: int) -> None:
        """Until it is ready, one of so many that were started together; `failure` says why it is not."""
        try:
            self._answer(answer_s, together * START_S)
        except WorkerFailed as error:
            self.failure = error

    def ask(self, request: Any, answer_s: float, expected: float = START_S) -> dict[str, Any]:
        """Raises WorkerFailed where it ends by itself; WorkerHung where it says nothing for `answer_s` seconds beyond
        SLACK times what is `expected` of its next step, which ends it.
        """
        with suppress(OSError):  # it has ended: what it last said tells why
            self.send.write(json.dumps(request) + "\n")
            self.send.flush()
        return self._answer(answer_s, expected)

    def _answer(self, answer_s: float, expected: float = START_S) -> dict[str, Any]:
        while True:
            limit_s = answer_s + SLACK * expected
            try:
                line = self.lines.get(timeout=limit_s)
            except Empty:
                self.process.kill()
                where = f", where {expected:.2g} s were expected," if expected else ""
                raise WorkerHung(f"its process said nothing for {limit_s:.0f} s{where} and was ended") from None
            if not line:
                raise WorkerFailed(f"the process that times this setting ended with status {self.process.wait()}")
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise WorkerFailed(answer["error"])
            if answer.keys() != {"expects"}:
                return answer
            expected = answer["expects"]

    def end(self) -> None:
        with suppress(OSError):
            self.send.close()
        try:
            self.process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):  # a driver that hangs keeps even what was killed
                self.process.wait(ENDING_S)
        self.reader.join(ENDING_S)
        if not self.reader.is_alive():
            self.receive.close()


class Processes:
    """Processes that are started together, while nothing is measured: loading torch takes longer than a sample.

    Each is as fresh as one that is started when it is needed, and waits without using its processor.
    """

    def __init__(self, answer_s: float) -> None:
        self.answer_s = answer_s
        self.waiting: deque[Process] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self.waiting:
            self.waiting.popleft().end()

    def prepare(self, now: int, later: int) -> None:
        """Have at least `now` of them; where some have to be started, those needed `later`, too, up to `AHEAD`."""
        if len(self.waiting) >= now:
            return
        there = len(self.waiting)
        for _ in range(max(now, min(now + later, AHEAD)) - there):
            self.waiting.append(Process())
        started = list(self.waiting)[there:]
        for process in started:
            process.wait(self.answer_s, len(started))

    @contextmanager
    def take(self, task: Mapping[str, Any]) -> Iterator[tuple[Ask, dict[str, Any]]]:
        """One of them for a setting: how to ask it, and what it says of the setting. It ends with the context.

        Raises WorkerFailed.
        """
        self.prepare(1, 0)
        process = self.waiting.popleft()
        try:
            if process.failure is not None:
                raise process.failure
            yield partial(process.ask, answer_s=self.answer_s), process.ask(task, self.answer_s)
        finally:
            process.end()


def answers() -> IO[str]:
    """Where such a process answers. What a library or a plugin prints goes where errors go, not between answers."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def _read(stream: IO[str], lines: "Queue[str]") -> None:
    """In a thread: lines as they come, and an empty one at the end."""
    for line in stream:
        lines.put(line)
    lines.put("")
