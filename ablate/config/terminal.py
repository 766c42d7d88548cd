"""What is printed on a terminal: names and values as they are, without a smiley for `:x:` or colours for numbers.

What in a name would end a line, move the cursor, colour the terminal or turn its letters round is shown as it is typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, other line ends, and what sets the direction of what follows."""


def one_line(text: str) -> str:
    """A text in which these stand as they are typed: `\\n`, `\\x1b`, `\\u202e`."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def console(*, stderr: bool = False, quiet: bool = False, width: int | None = None) -> Console:
    """What everything here is printed by: brackets are brackets, in lines and in the cells of tables.

    A style is a Text, or asked for where a line is printed (`markup=True`).
    """
    return _console()(stderr=stderr, quiet=quiet, width=width, emoji=False, highlight=False, markup=False)


def print_table(out: Console, table: Table) -> None:
    """Print a table as wide as the terminal: where that is too narrow its lines wrap, but no column is cut off."""
    least = out.measure(table, options=out.options.update(max_width=500)).minimum
    out.print(table, width=max(out.width, least), crop=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal what goes on, for as long as it does; nothing anywhere else."""
    shown = console(stderr=True)
    with shown.status(what) if shown.is_terminal else nullcontext():
        yield


@cache
def _console() -> type[Console]:
    from rich.console import Console

    class Plain(Console):
        """Every text that is no Text of ours comes by here: lines, titles and cells of tables."""

        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str(one_line(text), **how)

    return Plain


def lines(*, stderr: bool = True, quiet: bool = False, markup: bool = False) -> Callable[..., None]:
    """What prints a line as long as it is, by default on standard error; `markup`: `[red]…[/]` is a style."""
    return partial(console(stderr=stderr, quiet=quiet).print, markup=markup, soft_wrap=True)
