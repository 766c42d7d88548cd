"""What is printed on a terminal: names and values as they are, without a smiley for `:x:` or colours for numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False, quiet: bool = False, width: int | None = None) -> Console:
    """What everything here is printed by: brackets are brackets, in lines and in the cells of tables.

    A style is a Text, or asked for where a line is printed (`markup=True`).
    """
    from rich.console import Console

    return Console(stderr=stderr, quiet=quiet, width=width, emoji=False, highlight=False, markup=False)


def lines(*, stderr: bool = True, quiet: bool = False, markup: bool = False) -> Callable[..., None]:
    """What prints a line as long as it is, by default on standard error; `markup`: `[red]…[/]` is a style."""
    return partial(console(stderr=stderr, quiet=quiet).print, markup=markup, soft_wrap=True)
