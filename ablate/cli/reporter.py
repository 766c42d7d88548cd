"""The report of a short sweep, by a process of its own that loads what it takes while the sweep is made ready.

pandas, matplotlib and scipy take more than a second to load, torch takes another, and each of them one core. The
process is a fork from before either is loaded. It sleeps while anything is trained or timed and writes nothing (what
a report says is handed to the command), and where there is none, for whatever reason, the command does its work.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

from ablate.cli.entry import OWN_PROGRAM, Stream, loading
from ablate.records.environment import cores
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
        with suppress(EOFError, OSError):
            while not self.loaded:
                self._hear()

    def report(self, folder: Path, pack: bool) -> int | None:
        """The exit status; None where it could not do it, which is the command's own then."""
        from ablate.config import plugins

        if plugins.LOADED:  # files of a person's own are executed once
            return None
        try:
            self.wait()
            self.connection.send((folder, pack))
            while True:
                if (status := self._hear()) is not None:
                    return status
        except (EOFError, OSError):
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
            getattr(sys, what).write(said)
        return None

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(END_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


_reporter: Reporter | None = None


@contextmanager
def reporter(load: Callable[[], None], report: Report) -> Iterator[None]:
    """A process for the reports of what is done within; none in a program of others, with one core, or not on Linux."""
    global _reporter
    if not OWN_PROGRAM.get() or cores() < 2 or not can_fork():
        yield
        return
    from multiprocessing import get_context

    forks = get_context("fork")
    here, there = forks.Pipe()
    process = forks.Process(target=_serve, args=(os.getpid(), there, here, load, report), name="reporter")
    try:
        process.start()
    except OSError:  # no more processes, no more memory
        yield
        return
    there.close()
    _reporter = Reporter(process, here)
    try:
        yield
    finally:
        _reporter.end()
        _reporter = None


def asleep() -> None:
    """Called before anything is trained or timed."""
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
        signal.signal(signal.SIGTERM, _stop)
        end_with_parent(command)
        for name in ("stdout", "stderr"):
            setattr(sys, name, cast(TextIO, _Told(getattr(sys, name), connection, name)))
        with loading():
            load()
        connection.send(("loaded", None))
        while connection.poll(KEPT_S):
            connection.send(("done", report(*connection.recv())))
    os._exit(0)


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


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
