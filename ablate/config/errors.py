"""Errors that a person can make. Each message is one line: the value, the choices, the remedy.

The command line prints them without a traceback and exits with status 2.
"""

import errno
import itertools
import os
import re
import sysconfig
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from inspect import isfunction, ismethod, unwrap
from pathlib import Path
from typing import Any

OURS = str(Path(__file__).parents[1])
INSTALLED = (f"{sysconfig.get_path('stdlib')}/", "<frozen", "/site-packages/", "/dist-packages/")


class UserError(Exception):
    """A mistake that the user can correct: one line with the value, the choices and the remedy."""


class ConfigError(UserError):
    """A value that no run could have: the whole sweep is refused before anything starts."""


class CombinationError(ConfigError):
    """Values that are fine one by one but not together.

    A sweep whose every setting is impossible is refused; where only some settings are, those are recorded as
    failed and the others run.
    """


class OwnCodeError(UserError):
    """What a person's own code raised, in one line with its place; the error itself is the cause."""

    @classmethod
    def of(cls, error: BaseException) -> "OwnCodeError":
        made = cls(reason(error))
        made.__cause__ = error
        return made


class DataError(UserError):
    """A corpus that cannot be found, read or trusted."""


class StorageError(UserError, OSError):
    """A file or folder that cannot be written or read. An OSError, too: `errno` and `filename` say what happened."""

    @classmethod
    def of(cls, error: OSError, path: object = None) -> "StorageError":
        """What `error` says of `path`, or of the file that it names itself."""
        return cls(error.errno, error.strerror or os_reason(error), str(path) if path is not None else error.filename)

    def __str__(self) -> str:
        return os_reason(self)


ROOM = "free some space there, or use another folder"
MEMORY = "free some, or raise the limit (ulimit -v, -d)"
RIGHTS = "change who may use it, or use another file or folder"
OS_ERRORS: dict[int | None, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", ROOM),
    errno.EDQUOT: ("your disk quota is used up", ROOM),
    errno.EFBIG: ("the file is larger than is allowed here", "raise the limit (ulimit -f), or use another folder"),
    errno.EROFS: ("the disk is read-only", "use another folder"),
    errno.ENOMEM: ("too little memory", MEMORY),
    errno.EACCES: ("permission denied", RIGHTS),
    errno.EPERM: ("not permitted", RIGHTS),
    errno.ENAMETOOLONG: ("the name is too long", "give a shorter one: name=NAME, results_dir=FOLDER, or another path"),
    errno.ENOENT: ("there is no such file or folder", "check the path"),
    errno.ENOTDIR: (
        "a part of the path is a file, not a folder",
        "move that file away, or use another path",
    ),
    errno.EEXIST: ("a file is in the place of a folder", "move that file away, or use another path"),
    errno.EISDIR: ("it is a folder, where a file is needed", "give the path of a file, or move the folder away"),
    errno.ELOOP: ("its symbolic links lead in a circle", "mend the link, or use another path"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n), or set threads to a smaller number"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs"),
    errno.EIO: ("the disk, or the connection to it, fails", "check the disk, or use another folder"),
    errno.ESTALE: ("the connection to the disk was lost", "mount it again, or use another folder"),
}
"""What an error of the operating system means to a person, and what can be done about it."""


def os_reason(error: OSError) -> str:
    """One line for a person: the path, what happened to it, and a remedy where one is known."""
    paths = [
        os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes | os.PathLike)
    ]
    where = f"{' and '.join(map(_shortened, paths))}: " if paths else ""
    if error.errno not in OS_ERRORS:
        return where + (error.strerror or " ".join(map(str, error.args[:1])) or type(error).__name__)
    what, remedy = OS_ERRORS[error.errno]
    return f"{where}{what}; {remedy}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of its device did not suffice."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    )


NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""What torch, CUDA and its libraries say, most of it in errors of no class of their own."""


def memory_reason(error: Exception) -> str:
    """One line, as `os_reason`; what was asked for, where the error says that."""
    asked = re.search(r"tried to allocate [\d.]+ \w+", str(error), re.IGNORECASE)
    said = f" ({asked[0] if asked else _first_line(error)})" if str(error) else ""
    return f"too little memory{said}; {MEMORY}"


def _shortened(path: str, most: int = 200) -> str:
    """The two ends of a path that would fill the screen."""
    return path if len(path) <= most else f"{path[: most // 2]}…{path[-most // 2 :]}"


def short_path(path: Path) -> str:
    """A path as short as it can be typed in the working directory."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # it is elsewhere, or the working directory is gone
        return str(path)


def reason(error: BaseException) -> str:
    """One line for a person: the message's first, without the name of the error's class where there is a message.

    What a file of a person's own raised has its line and its class, too: `mine.py:12: ValueError: …`; but for a
    UserError of such a file, which is written for whoever uses it.
    """
    said = _first_line(error)
    line = own_line(error)
    if not line:
        return said
    if isinstance(error, UserError):
        return said if _is_own(traceback.extract_tb(error.__traceback__)[-1].filename) else f"{line}: {said}"
    kind = type(error).__name__
    return f"{line}: {said}" if isinstance(error, OSError) or said.startswith(kind) else f"{line}: {kind}: {said}"


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return os_reason(error)
    lines = str(error).strip().splitlines()
    if lines:
        return lines[0]
    return "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}, without a message"


def place(function: Any) -> str:
    """`mine.py:12`, in full: where a function begins; its name where that is not known."""
    code = getattr(unwrap(function), "__code__", None)
    return (
        getattr(function, "__name__", repr(function)) if code is None else f"{code.co_filename}:{code.co_firstlineno}"
    )


def check_function(given: Any, decorator: str) -> None:
    """Raise ConfigError for what is called like a function and has no source and no name of its own."""
    if not (isfunction(unwrap(given)) or ismethod(given)):
        raise ConfigError(f"@ablate.{decorator} is for functions, and {given!r:.60} is none; write one with def")


def own_line(error: BaseException) -> str:
    """`mine.py:12`: the innermost line that an error passed through of a file that is neither ours nor installed, and
    that we called; empty where there is none."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    called = itertools.dropwhile(lambda frame: _is_own(frame[0]), frames)  # not who called us: a notebook
    own = [(file, line) for file, line in called if _is_own(file)]
    return f"{Path(own[-1][0]).name}:{own[-1][1]}" if own else ""


def _is_own(file: str) -> bool:
    return not any(part in file for part in (f"{OURS}/", *INSTALLED))


def nearest(value: str, choices: Iterable[str]) -> str:
    """`; did you mean X?` for the closest choices, or nothing.

    What begins with the value comes first (`table12`), then what holds it, then what is spelt alike.
    """
    names, value = list(choices), value.lower()
    begins = [name for name in names if name.lower().startswith(value)]
    holds = [name for name in names if value in name.lower()] if len(value) >= 3 else []
    found = sorted(begins or holds, key=len) if value else []
    if len(found) > 3:
        found = found[:1]
    close = found or get_close_matches(value, names, n=1, cutoff=0.6)
    return f"; did you mean {listing(close)}?" if close else ""


def no_option(given: str, options: Iterable[str], command: str) -> str:
    """`there is no option --jsonn; did you mean --json? (ablate claims --help lists them)`, of every command."""
    close = get_close_matches(given, list(options), n=1, cutoff=0.8)  # the dashes alike, so more than of other words
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"there is no option {given}{meant} ({command} --help lists them)"


def listing(choices: Iterable[str]) -> str:
    """`a, b or c`; `nothing` where there is none."""
    names = list(choices) or ["nothing"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def span(first: object, last: object, to: str = " to ") -> str:
    """`6 to 20`; `6` where both are the same."""
    return str(first) if first == last else f"{first}{to}{last}"


def with_article(noun: str) -> str:
    """`a cell`, `an optimizer`"""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def counted(n: int, what: str) -> str:
    """`1 run`, `2 runs`, `2 processes`: a number and what it counts, for every message and report."""
    plural = "es" if what.endswith("s") else "s"
    return f"{n:,} {what}{'' if n == 1 else plural}"
