"""The report of a short sweep, by a process of its own that loads what it takes while the command loads torch.

pandas, matplotlib and scipy take more than a second to load, torch takes another, and each of them one core. The
process is a fork from before either is loaded. It sleeps while anything is trained or timed and writes nothing (what
a report says is handed to the command), and where there is none, for whatever reason, the command does its work.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

from ablate.cli.entry import OWN_PROGRAM, Stream, loading
from ablate.records.forks import can_fork, end_with_parent

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

KEPT_S = 60.0
"""A command that has had nothing to report for so long is long enough for a second more: the process ends, with the
memory that it takes."""
END_S = 5.0
"""So long a report that is given up may take to delete what it has begun."""

Report = Callable[[Path, bool], int]
"""Brings the report of a sweep's folder up to date, its records packed before if told to; returns the exit status."""


class Reporter:
    """The process, as the command sees it."""

    def __init__(self, process: "BaseProcess", connection: "Connection") -> None:
        self.process, self.connection = process, connection
        self.loaded = False

    def wait(self) -> None:
        """Until it sleeps: nothing of it takes time from what is trained and timed then."""
        try:
            while not self.loaded:
                self._hear()
        except Exception:  # it has ended, or what it says cannot be understood
            self.end()

    def report(self, folder: Path, pack: bool) -> int | None:
        """The exit status; None where it could not do it, which is the command's own then."""
        try:
            self.wait()
            self.connection.send((folder, pack))
            while True:
                if (status := self._hear()) is not None:
                    return status
        except Exception:  # two do not work in the same folder: it ends before the command does it
            self.end()
            return None
        except BaseException:  # Ctrl-C
            self.end()
            raise

    def _hear(self) -> int | None:
        """One thing that it says: a line for a stream, that it has loaded all, or the status of its work."""
        what, said = self.connection.recv()
        if what == "loaded":
            self.loaded = True
        elif what == "done":
            return int(said)
        else:
            stream = getattr(sys, what)
            stream.write(said)
            stream.flush()  # the other stream may be the same file
        return None

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(END_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


_work: tuple[Callable[[], None], Report] | None = None
"""What the process of the command in progress loads, and what it does."""
_reporter: Reporter | None = None
_trained = False
"""Whether this process has begun to train: what torch and CUDA have started since is not safe in a fork."""


@contextmanager
def reporter(load: Callable[[], None], report: Report) -> Iterator[None]:
    """Within, there may be a process that loads and reports so; `begin` begins it."""
    global _work, _reporter
    _work = load, report
    try:
        yield
    finally:
        if _reporter is not None:
            _reporter.end()
        _work = _reporter = None


def begin() -> None:
    """Called once it is known that there will be something to report, and before torch is loaded.

    No process in a program of others, with one core, elsewhere than on Linux, or where anything was trained before.
    """
    global _reporter
    from ablate.records.environment import cores  # omegaconf, which a command's help does without

    if _work is None or _reporter is not None or _trained or not OWN_PROGRAM.get() or cores() < 2 or not can_fork():
        return
    from multiprocessing import get_context

    forks = get_context("fork")
    here, there = forks.Pipe()
    process = forks.Process(target=_serve, args=(os.getpid(), there, here, *_work), name="reporter")
    with suppress(OSError):  # no more processes, no more memory
        process.start()
        there.close()
        _reporter = Reporter(process, here)


def asleep() -> None:
    """Called before anything is trained or timed."""
    global _trained
    _trained = True
    if _reporter is not None:
        _reporter.wait()


def reported(folder: Path, pack: bool) -> int | None:
    """What `Report` returns, by the process; None where there is none."""
    return None if _reporter is None else _reporter.report(folder, pack)


# --- the process --------------------------------------------------------------------------------------------------


def _serve(
    command: int, connection: "Connection", of_command: "Connection", load: Callable[[], None], report: Report
) -> NoReturn:
    """Ends by itself, so that nothing of what the command was about is done again here."""
    with suppress(BaseException):  # the command does what is not done here, and hears of the reason by that
        of_command.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to hear
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with_parent(command)
        for name in ("stdout", "stderr"):
            setattr(sys, name, cast(TextIO, _Told(getattr(sys, name), connection, name)))
        with loading():
            load()
        signal.signal(signal.SIGTERM, _stop)
        connection.send(("loaded", None))
        while connection.poll(KEPT_S):  # without what the words of the command, in which it was begun, have set
            connection.send(("done", Context().run(report, *connection.recv())))
    os._exit(0)


def _stop(*_: object) -> NoReturn:
    """No exception: one that is raised while an object is freed, say, is lost, and the work would go on."""
    with suppress(BaseException):
        from multiprocessing import active_children

        from ablate.report.products import abandon

        for child in active_children():  # they draw
            child.kill()
            child.join()
        abandon()
    os._exit(0)


class _Told(Stream):
    """A standard stream of which the command hears."""

    def __init__(self, stream: TextIO, connection: "Connection", name: str) -> None:
        super().__init__(stream)
        self.connection, self.name = connection, name

    def write(self, text: str) -> int:
        self.connection.send((self.name, text))
        return len(text)

    def flush(self) -> None:
        """It is with the command already."""
