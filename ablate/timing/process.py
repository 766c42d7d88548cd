"""The process that times one setting: started, asked, and ended, also where it hangs."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

ENDING_S = 10.0
"""Time for a process to end when it is told to."""


Ask = Callable[[Any], dict[str, Any]]
"""Puts a request to the process, and returns its answer. Raises WorkerFailed."""


class WorkerFailed(Exception):
    """A setting cannot be timed; the message says why."""


@contextmanager
def worker(
    config: Mapping[str, Any], setting_id: str, threads: int, answer_s: float
) -> Iterator[tuple[Ask, dict[str, Any]]]:
    """A fresh process for one setting: how to ask it, and what it says of the setting. It ends with the context.

    Raises WorkerFailed where it ends by itself, or gives no answer within `answer_s` seconds, which ends it.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate.timing.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    send, receive = process.stdin, process.stdout
    lines: Queue[str] = Queue()
    reader = Thread(target=_read, args=(receive, lines), daemon=True)
    reader.start()

    def ask(request: Any) -> dict[str, Any]:
        with suppress(OSError):  # it has ended: what it last said tells why
            send.write(json.dumps(request) + "\n")
            send.flush()
        try:
            line = lines.get(timeout=answer_s)
        except Empty:
            process.kill()
            raise WorkerFailed(f"the process that times this setting gave no answer for {answer_s:g} s") from None
        if not line:
            raise WorkerFailed(f"the process that times this setting ended with status {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(answer["error"])
        return answer

    try:
        yield ask, ask({"config": config, "setting_id": setting_id, "threads": threads})
    finally:
        with suppress(OSError):
            send.close()
        try:
            process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        receive.close()


def _read(stream: IO[str], lines: "Queue[str]") -> None:
    """In a thread: lines as they come, and an empty one at the end."""
    for line in stream:
        lines.put(line)
    lines.put("")
