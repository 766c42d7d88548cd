"""Markdown tables."""

from collections.abc import Collection, Iterable, Sequence


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "", numbers: Collection[int] = ()
) -> str:
    """A table; cells are Markdown, in which a bar is written as one.

    `kind` is a class of its first heading, by which docs/site.css knows it: Markdown would not see where an element
    around it ends within a collapsed part of a card. `numbers` are the places of the columns that are flush right.
    """
    headings = [f"{columns[0]} {{ .{kind} }}" if kind else columns[0], *columns[1:]]
    lines = [headings, ["---:" if at in numbers else "---" for at in range(len(columns))], *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + "\n"


def cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def code(text: object) -> str:
    """As code in a sentence; nothing of nothing."""
    return f"`{text}`" if str(text) else ""
