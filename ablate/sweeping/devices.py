"""The devices on which a sweep trains, and a process for each where there are several.

A process sees its own device alone. It is sent programs over a few connections, trains one for each at a time, and
answers with records, which the sweep keeps: what is on disk, Ctrl-C, failures and resuming are as without processes.
"""

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import torch

from ablate.config.errors import UserError, listing
from ablate.config.resolved import Resolved
from ablate.config.schema import Config, Part
from ablate.data.corpora import Corpus
from ablate.records.record import Record
from ablate.training.choice import Choice
from ablate.training.loop import resolve_device
from ablate.training.trajectory import Stopped

START_S = 300.0
"""Within which a process has to be there: it imports torch, and may compile."""
END_S = 30.0
STOP_S = 60.0
"""So long a process has to end a program that is stopped; then it is killed."""
LISTENED_S = 0.2


class Lost(Exception):
    """A process has ended in the middle of a program."""


@dataclass(frozen=True)
class Device:
    """Where programs train, and what a process of its own sees: `variables` of its environment."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A program for a process: what `train_together` takes, and where checkpoints and weights belong."""

    configs: Sequence[Resolved]
    run_ids: Sequence[str]
    corpus: Corpus
    choice: Choice
    folder: Path


def devices(configs: Sequence[Config]) -> list[Device]:
    """All GPUs for device=cuda, or for auto where there are any; else the one device that is meant.

    One, too, where a sweep uses a thing of the user's that is in no file: another process could not have it.
    """
    name = configs[0].device
    kind = resolve_device(name)
    all_of_them = kind.type == "cuda" and ":" not in name and all(c.task.thing.has_network for c in configs)
    if not all_of_them or torch.cuda.device_count() < 2 or any(map(_only_here, configs)):
        return [Device(name)]
    visible = [own.strip() for own in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    count = torch.cuda.device_count()
    ids = visible[:count] if visible != [""] else [str(number) for number in range(count)]
    return [Device(f"cuda:{number}", {"CUDA_VISIBLE_DEVICES": own}) for number, own in enumerate(ids)]


def _only_here(config: Config) -> bool:
    """Whether a part of it was registered by the running program, and by no file that a process could load."""
    parts = [value for value in vars(config).values() if isinstance(value, Part)]
    return not config.plugins and any(part.source is not None for part in parts)


class Processes:
    """One for each device, with so many connections each; `train` takes the next one that is free."""

    def __init__(self, devices: Sequence[Device], connections: int) -> None:
        self.devices, self.connections = devices, connections
        self.free: queue.SimpleQueue[tuple[Connection, subprocess.Popen[bytes]]] = queue.SimpleQueue()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.open: list[Connection] = []
        self.absent: list[str] = []
        """The devices without one: it did not start, twice."""

    @contextmanager
    def running(self) -> Iterator["Processes"]:
        """Raises UserError where none starts. They end with this."""
        try:
            for device in self.devices:
                if not (self._start(device) or self._start(device)):
                    self.absent.append(device.name)
            if not self.processes:
                raise UserError(
                    f"no process starts on {listing(self.absent)}: it was ended, for want of memory perhaps, or took "
                    f"more than {START_S:g} s; free some memory, or train on one device: device={self.absent[0]}"
                )
            for place in range(self.connections):  # in turns, so that programs are spread over the devices
                for number, process in enumerate(self.processes):
                    self.free.put((self.open[number * self.connections + place], process))
            yield self
        finally:
            for connection in self.open:
                connection.close()
            for process in self.processes:
                _end(process)

    @property
    def left(self) -> bool:
        """Whether there is one that can train."""
        return any(process.poll() is None for process in self.processes)

    def _start(self, device: Device) -> bool:
        """Whether it is there, and connected."""
        with tempfile.TemporaryDirectory() as folder:
            address = str(Path(folder) / "socket") if os.name == "posix" else None
            key = os.urandom(32)
            with Listener(address, authkey=key) as listener:
                process = subprocess.Popen(
                    [sys.executable, "-m", "ablate.sweeping.device_process"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    env=os.environ | device.variables,
                )
                assert process.stdin is not None
                try:
                    with suppress(BrokenPipeError):
                        pickle.dump((listener.address, key, self.connections), process.stdin)
                        process.stdin.close()
                    accepted = _within(START_S, process, lambda: [listener.accept() for _ in range(self.connections)])
                except BaseException:
                    process.kill()
                    process.wait()
                    raise
                if accepted is None:
                    process.kill()
                    process.wait()
                    return False
                self.processes.append(process)
                self.open += accepted
                return True

    def train(
        self,
        job: Job,
        on_epoch: Callable[[int, float], None],
        say: Callable[[str], None],
        stop: Callable[[], bool],
        sign: Callable[[], None] = lambda: None,
        hung: Callable[[], bool] = lambda: False,
    ) -> list[Record]:
        """In a thread: train a program in one of the processes. Raises what it raised there, Stopped, or Lost.

        `sign` is called every now and then while it does, and while the program waits for a process; once `hung()` is
        true its process is killed.
        """
        connection, process = self._taken(stop, sign, hung)
        told: float | None = None
        try:
            connection.send(job)
            while True:
                if stop() and told is None:
                    connection.send("stop")
                    told = time.monotonic()
                if hung() or (told is not None and time.monotonic() - told > STOP_S):
                    process.kill()
                if not connection.poll(LISTENED_S):
                    continue
                kind, *said = connection.recv()
                sign()
                if kind in ("records", "error"):
                    break
                if kind == "sign":
                    continue
                (on_epoch if kind == "epoch" else say)(*said)
        except (EOFError, OSError) as error:
            status = process.wait()
            if told is not None:
                raise Stopped from error
            raise Lost(f"a process that trained ended with status {status}") from error
        self.free.put((connection, process))
        if kind == "error":
            raise said[0]
        records: list[Record] = said[0]
        return records

    def _taken(
        self, stop: Callable[[], bool], sign: Callable[[], None], hung: Callable[[], bool]
    ) -> tuple[Connection, subprocess.Popen[bytes]]:
        while True:
            if hung():  # or the process that is free next would be killed for it
                raise Stopped
            try:
                connection, process = self.free.get(timeout=LISTENED_S)
            except queue.Empty:
                if stop():
                    raise Stopped from None
                if not self.left:
                    raise Lost("no process is left that could train") from None
                sign()  # to wait for one is not to hang
                continue
            if process.poll() is None:
                return connection, process


def _within(seconds: float, process: subprocess.Popen[bytes], call: Callable[[], Any]) -> Any:
    """What a call returns that may wait for ever; None after so many seconds, or where the process has ended."""
    found: list[Any] = []

    def wait() -> None:
        with suppress(Exception):
            found.append(call())

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    for _ in range(int(seconds / LISTENED_S)):
        thread.join(LISTENED_S)
        if found or process.poll() is not None:
            break
    return found[0] if found else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """It ends by itself, once nobody is connected any more."""
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
