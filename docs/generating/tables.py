"""Markdown tables, and the plain words of the package as Markdown."""

import re
from collections.abc import Collection, Iterable, Sequence

CODE = re.compile(
    r"""`[^`]*`                                # what is code already
    | \{(?:[^{}]|\{[^{}]*\})*\} | \[[^][]*\]  # a value of YAML
    | (?<![\w-])(?:sbatch )?--[a-z][a-z-]*               # an option
    | (?<=')[a-z_]+[<>][\d.]+(?=')         # a condition
    | (?<![\w/.])[A-Za-z_][\w./]*=[\w.-]+    # a knob with its value
    | \bdata\.\w+                           # a knob of the data
    | \b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b   # any other knob
    | \b[A-Z]{2,}(?:_[A-Z]+)+\b             # a variable of the environment""",
    re.VERBOSE,
)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "", numbers: Collection[int] = ()
) -> str:
    """A table; cells are Markdown, in which a bar is written as one.

    `kind` is a class of its first heading, by which docs/site.css knows it: Markdown would not see where an element
    around it ends within a collapsed part of a card. `numbers` are the places of the columns that are flush right.
    """
    lines = [[*map(cell, line)] for line in (columns, *rows)]
    lines[0][0] += f" {{ .{kind} }}" if kind else ""
    lines.insert(1, ["---:" if at in numbers else "---" for at in range(len(columns))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def cell(value: object) -> str:
    """A value on one line. Outside code a brace is a letter: a cell that ends in `{…}` would lose it as attributes."""
    parts = " ".join(str(value).split()).replace("|", "\\|").split("`")
    return "`".join(part if at % 2 else part.replace("{", "\\{") for at, part in enumerate(parts))


def words(text: str) -> str:
    """A comment of the configuration, in which what is typed is code."""
    return CODE.sub(lambda found: found[0] if found[0].startswith("`") else f"`{found[0]}`", text)


def code(text: object) -> str:
    """As code in a sentence; nothing of nothing."""
    return f"`{text}`" if str(text) else ""
