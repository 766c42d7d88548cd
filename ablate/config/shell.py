"""Commands as a person can paste them into a shell."""

import os
import shlex
from pathlib import PurePath


def shell_line(*words: str | PurePath) -> str:
    """The words as one line for a POSIX shell, each quoted where it must be.

    `shell_line("cat", folder)`. A path that begins with a dash is written as `./-path`, so
    that no program takes it for an option.
    """
    return shlex.join(_word(word) for word in words)


PROGRAM = ("python", "-m", "ablate")
"""The command of this package, as it is printed and recorded: so it runs wherever the package can be imported."""


def command_line(*words: str | PurePath) -> str:
    """A command of ablate for a shell: `command_line("report", folder)`."""
    return shell_line(*PROGRAM, *words)


def _word(word: str | PurePath) -> str:
    text = os.fspath(word)
    return os.path.join(os.curdir, text) if isinstance(word, PurePath) and text.startswith("-") else text
