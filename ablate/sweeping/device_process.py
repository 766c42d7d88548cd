"""A process that trains on one device what it is sent: `python -m ablate.sweeping.device_process`.

On standard input it is told where to connect, and how often; each connection is a thread that trains one program at a
time. It ends when all are closed. See `ablate.sweeping.devices`.
"""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Client, Connection
from typing import Any

from ablate.config import plugins
from ablate.engines.cohort import prepare_thread
from ablate.engines.cohort.memory import within_memory
from ablate.records import weights
from ablate.records.record import Record
from ablate.sweeping.devices import END_S, Job
from ablate.training.checkpoints import Checkpoints
from ablate.training.loop import resolve_device, train_together

LOOK_S = 1.0
"""So often it is looked whether the sweep still is there."""
SIGN_S = 2.0
"""So often a program that trains says so, between two minibatches."""


def main() -> None:
    """Ctrl-C is the sweep's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sweep = os.getppid()
    address, key, count = pickle.load(sys.stdin.buffer)
    threads = [threading.Thread(target=serve, args=(Client(address, authkey=key),), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    if not all_ended(threads, sweep):
        os._exit(1)


def all_ended(threads: Sequence[threading.Thread], sweep: int) -> bool:
    """Wait for them; False where the process of the sweep was killed and one hangs that would have to hear of that."""
    gone: float | None = None
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(LOOK_S)
        if os.getppid() != sweep:
            gone = time.monotonic() if gone is None else gone
            if time.monotonic() - gone > END_S:
                return False
    return True


def serve(connection: Connection) -> None:
    """Answer each job with its records, or with the error."""
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        if job == "stop":  # which came after the program had ended
            continue
        try:
            answer: tuple[Any, ...] = "records", trained(job, connection)
        except (EOFError, OSError) as error:
            if connection.closed:
                return
            answer = "error", as_sent(error)
        except BaseException as error:
            answer = "error", as_sent(error)
        try:
            connection.send(answer)
        except OSError:  # the sweep is gone
            return


def trained(job: Job, connection: Connection) -> list[Record]:
    """Train a program, and tell of its epochs. Raises MemoryError, all of it given back."""
    config = job.configs[0]
    plugins.load(config.plugins)
    device = resolve_device(config.device)
    prepare_thread(device)
    return within_memory(partial(train, job, connection), device)


def train(job: Job, connection: Connection) -> list[Record]:
    stopped, told = False, time.monotonic()

    def stop() -> bool:
        nonlocal stopped, told
        if time.monotonic() - told > SIGN_S:
            told = time.monotonic()
            connection.send(("sign",))
        stopped = stopped or (connection.poll() and connection.recv() == "stop")
        return stopped

    keep = job.configs[0].keep
    checkpoints = Checkpoints(job.folder, job.run_ids, say=lambda line: connection.send(("say", line)))
    if job.configs[0].fresh:
        checkpoints.remove()
    return train_together(
        job.configs,
        job.corpus,
        job.choice,
        on_epoch=lambda epoch, perplexity: connection.send(("epoch", epoch, perplexity)),
        checkpoints=checkpoints,
        stop=stop,
        keep=partial(weights.keep, job.folder) if keep else None,
    )


def as_sent(error: BaseException) -> BaseException:
    """The error, or what it said where it cannot be sent, with the place where it was raised as a note."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note("".join(traceback.format_exception(error)))
    return error


if __name__ == "__main__":
    main()
