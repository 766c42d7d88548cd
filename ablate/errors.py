"""Errors that a person can make. Each message is one line: the value, the choices, the remedy.

The command line prints them without a traceback and exits with status 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the person at the keyboard can put right."""


class ConfigError(UserError):
    """A value that no run could have: the whole sweep is refused before anything starts."""


class CombinationError(ConfigError):
    """Values that are fine one by one but not together.

    A sweep whose every cell is impossible is refused; where only some cells are, those are recorded as
    failed and the others run.
    """


class DataError(UserError):
    """A corpus that cannot be found, read or trusted."""


def reason(error: BaseException) -> str:
    """One line for a person: the message's first, without the name of the error's class where there is a message."""
    lines = str(error).strip().splitlines()
    if lines:
        return lines[0]
    return "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}, without a message"


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


def listing(choices: Iterable[str]) -> str:
    """`a, b or c`"""
    names = list(choices)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
