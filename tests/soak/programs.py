"""Commands of ablate as processes of their own, each in a session of its own, to be disturbed.

A command is a fork of this program, which has loaded what it needs: it begins at once, and dies as any other. Some are
executed anew, as from a shell.
"""

import atexit
import ctypes
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

PATIENCE_S = 900.0
"""A command that takes longer hangs, also on a machine that does much else."""
LEAVE_S = 60.0
"""So long the processes of a command may outlive it."""
STUCK_S = 2.0
"""So long a training that hangs has to end, before its thread is left behind."""


@dataclass(frozen=True)
class Way:
    """How a command is started."""

    environment: Mapping[str, str] = field(default_factory=dict)
    executed: bool = False
    """As from a shell, not as a fork."""
    devices: int = 1
    """So many processes train, as for so many GPUs: on the CPU each."""
    figures: bool = False
    """Whether a report has any: they take longer than all else."""
    more_bytes: int | None = None
    """The most memory that it may have, beyond what a fork begins with."""
    hangs: tuple[int, ...] = ()
    """After so many looks at whether it has to stop the training of a gru hangs: the first time that it is begun, the
    second time, …"""


class Hangs(Exception):
    """A command that does not end."""


class Program:
    """`ablate WORDS` in a folder."""

    def __init__(self, words: list[str], cwd: Path, said: Path, way: Way) -> None:
        self.words, self.said, self.way = words, said, way
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _become(words, cwd, said, way)
        self._status: int | None = None

    @property
    def status(self) -> int | None:
        """Its exit status, −9 of one that was killed with that signal; None while it runs."""
        if self._status is None:
            pid, how = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(how)
        return self._status

    @property
    def runs(self) -> bool:
        return self.status is None

    def send(self, number: int) -> None:
        if self.runs:
            os.kill(self.pid, number)

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit status. Raises Hangs."""
        deadline = time.monotonic() + patience_s
        while self.runs:
            if time.monotonic() > deadline:
                self.end()
                raise Hangs(f"ablate {' '.join(self.words)} did not end within {patience_s:g} s")
            time.sleep(0.005)
        assert self._status is not None
        return self._status

    def end(self) -> None:
        """With all its processes, whatever they do."""
        for pid in (self.pid, *self.children()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def children(self) -> list[int]:
        """Its other processes: those of its session that live."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != self.pid:
                with suppress(OSError, ValueError, IndexError):
                    state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                    if int(session) == self.pid and state not in "ZX":
                        found.append(int(folder.name))
        return found

    def left_behind(self) -> list[int]:
        """The processes that do not end after it has."""
        deadline = time.monotonic() + LEAVE_S
        while (left := self.children()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    @property
    def lines(self) -> list[str]:
        if not self.said.exists():  # it was killed before it could say anything
            return []
        return [line for line in self.said.read_text(errors="replace").splitlines() if line.strip()]

    @cached_property
    def last_words(self) -> str:
        return self.lines[-1] if self.lines else ""


def _become(words: list[str], cwd: Path, said: Path, way: Way) -> NoReturn:
    """In the fork: the command, from its first line to its exit status. Never returns to what has forked it."""
    status = 70
    try:
        atexit._clear()  # of what has forked it
        if threads := sys.modules.get("ablate.engines.cohort.threads"):
            atexit.register(threads._end_all)  # as where the command loads it itself
        os.setsid()
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (out, 2)):
            os.dup2(descriptor, target)
        os.chdir(cwd)
        os.environ.update(way.environment)
        _give_up_rights()
        if way.more_bytes is not None:
            most = _data_bytes() + way.more_bytes
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        if way.executed:
            os.execv(sys.executable, [sys.executable, "-m", "ablate", *words])
        time.tzset()
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        status = _command(words, way)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:
        with suppress(BaseException):
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(status)


def _give_up_rights() -> None:
    """A program of root's writes into what is read-only; one without capabilities does not: capset(2), version 3."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        libc.prctl(28, 0b11)  # PR_SET_SECUREBITS: nor does what it executes get them
        libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())


def _data_bytes() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmData:"))


def _command(words: list[str], way: Way) -> int:
    from ablate.cli.commands import program
    from ablate.report import drawn
    from ablate.sweeping import programs
    from ablate.sweeping.devices import Device
    from ablate.sweeping.launching import follower

    if not way.figures:
        drawn.drawing = lambda material, to: nullcontext(dict)
    follower.LATE_S = 3.0
    if way.hangs:
        _let_hang(way.hangs)
    if way.devices > 1:
        programs.devices = lambda configs: [Device(f"place {number}") for number in range(way.devices)]
    sys.argv = ["ablate", *words]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as Python begins
    try:
        program()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0


def _let_hang(after: Sequence[int]) -> None:
    """In a call of which Python does not hear the end, so that the thread can only be left behind."""
    from ablate.sweeping import hung, programs

    train, left = programs.train_together, list(after)

    def train_or_hang(configs: Sequence[Any], *of: Any, stop: Callable[[], bool], **how: Any) -> Any:
        if configs[0].model.name != "gru" or not left:
            return train(configs, *of, stop=stop, **how)
        looks = iter(range(left.pop(0)))

        def stop_or_hang() -> bool:
            if next(looks, None) is None:
                threading.Event().wait()
            return stop()

        return train(configs, *of, stop=stop_or_hang, **how)

    hung.END_S = STUCK_S
    programs.train_together = train_or_hang
