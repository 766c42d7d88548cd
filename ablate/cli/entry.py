"""How every command begins and ends: one line for whatever a person can put right, and nothing left changed behind it.

Exit status: 0 done, 1 some of it failed or standard output could not be written, 2 wrong input or a system that does
not let us, 130 stopped.
"""

import gc
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from errno import EPIPE
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from ablate.config.terminal import one_line

STOPPED = 130
"""Exit status after Ctrl-C, as of a program that the signal ended."""

WRONG = 2
"""Exit status for input that cannot be used."""

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that stop a command as Ctrl-C does: what is finished is kept."""


def answer(work: Callable[[], int]) -> int:
    """The exit status of `work`; a mistake gets one line instead, and a stop one that says so.

    May be called from any thread and from any program: signal handlers, logging, environment and standard streams
    are afterwards as they were. What is no mistake of a person is raised.
    """
    with ExitStack() as stack:
        stack.enter_context(_signals())
        stack.enter_context(_logging())
        stack.enter_context(_environment())
        out = stack.enter_context(_stream("stdout"))
        stack.enter_context(_stream("stderr"))
        try:
            status = work()
        except SystemExit as exit_:  # of argparse, and of what Hydra shows
            status = exit_.code if isinstance(exit_.code, int) else WRONG if exit_.code else 0
        except KeyboardInterrupt:
            say("stopped; whatever was finished is kept; run the same command again to resume")
            status = STOPPED
        except Exception as error:
            from ablate.cli.help import explain

            line = explain(error)
            if line is None:
                raise
            say(f"ablate: {line}")
            status = WRONG
        out.flush()
        if out.error is not None and out.error.errno != EPIPE:  # a reader that has seen enough is no failure
            say(f"ablate: cannot write to standard output: {out.error.strerror}; whatever was finished is kept")
            return status or 1
        return status


def run_program(command: Callable[[], int]) -> NoReturn:
    """Call a command's main as a program of its own, and exit with its status.

    Two Ctrl-C are heard by the command; the third ends it at once, whatever it is doing.
    """
    for descriptor in range(3):  # a closed one would be given to the next file that is opened
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    own = OWN_PROGRAM.set(True)
    presses = 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        if presses > 2:
            os._exit(STOPPED)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, interrupt)
    try:
        status = command()
    except KeyboardInterrupt:  # before or behind all that is answered
        status = STOPPED
    finally:
        OWN_PROGRAM.reset(own)
    if signal.getsignal(signal.SIGINT) is interrupt:
        signal.signal(signal.SIGINT, lambda *_: os._exit(status))  # nothing is left but to go
    if (hung := sys.modules.get("ablate.sweeping.hung")) is not None:
        hung.end_process(status)
    raise SystemExit(status)


OWN_PROGRAM: ContextVar[bool] = ContextVar("own_program", default=False)
"""Whether the process is ours alone, so that what is set in it may stay."""


@contextmanager
def loading() -> Iterator[None]:
    """Modules are loaded within: what they leave is there until the program ends, and so no garbage.

    To look for some in it, again and again, is a good part of what a short command takes. Nothing of this in a program
    of others, where it would be theirs that is never looked through again.
    """
    looks = OWN_PROGRAM.get() and gc.isenabled()
    if looks:
        gc.disable()
    try:
        yield
    finally:
        if looks:
            gc.freeze()
            gc.enable()


def say(text: str) -> None:
    """A line on standard error: one, whatever names, values and files it speaks of."""
    print(one_line(text), file=sys.stderr)


def tell(text: str) -> None:
    """A line on standard output."""
    print(one_line(text))


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and a closed terminal stop as Ctrl-C does, where that can be had: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


OF_LIBRARIES = ("TORCHINDUCTOR_CACHE_DIR", "MPLCONFIGDIR")
"""Environment variables of libraries while a command runs: what torch's compiler sets, and where matplotlib keeps what
it knows of the fonts."""


@contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in OF_LIBRARIES}
    _keep_fonts()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _keep_fonts() -> None:
    """Without a home that can be used matplotlib would look for all fonts in every program anew, and say so."""
    from ablate.config.errors import StorageError
    from ablate.records.files import cache_folder, can_write_below

    with suppress(RuntimeError):  # no home at all
        home = Path.home()
        if can_write_below(home / ".cache") and can_write_below(home / ".config"):
            return
    with suppress(StorageError):
        os.environ.setdefault("MPLCONFIGDIR", str(cache_folder(writable=True) / "matplotlib"))


@contextmanager
def _logging() -> Iterator[None]:
    """The root logger as it was: Hydra's --info sets it to print all that is logged from then on."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


class Stream(io.TextIOBase):
    """A standard stream that never fails: what cannot be written is dropped, and the first reason kept.

    Results count more than the words about them: a full disk behind `> FILE`, or a reader that has gone, ends nothing.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        if self.stream is not None and self.error is None:
            with self._kept():
                try:
                    self.stream.write(text)
                except UnicodeEncodeError:
                    encoding = self.stream.encoding or "ascii"
                    self.stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        if self.stream is not None and self.error is None:
            with self._kept():
                self.stream.flush()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error
            assert self.stream is not None
            with suppress(OSError, ValueError):  # what is in its buffer would fail again when Python ends
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)
        except ValueError as error:  # closed by whoever called us
            self.error = OSError(0, str(error))

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.stream is not None and not self.stream.closed and self.stream.isatty()

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _stream(name: str) -> Iterator[Stream]:
    before = getattr(sys, name)
    wrapped = Stream(before)
    setattr(sys, name, cast(TextIO, wrapped))
    try:
        yield wrapped
    finally:
        wrapped.flush()
        if getattr(sys, name) is wrapped:
            setattr(sys, name, before)
