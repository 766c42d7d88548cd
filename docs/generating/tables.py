"""Markdown tables."""

from collections.abc import Collection, Iterable, Sequence


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "", numbers: Collection[int] = ()
) -> str:
    """A table; cells are Markdown, in which a bar is written as one.

    `kind` is a class of docs/site.css around it, `numbers` the places of the columns that are flush right.
    """
    lines = [columns, ["---:" if at in numbers else "---" for at in range(len(columns))], *rows]
    made = "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + "\n"
    return f'<div class="{kind}" markdown>\n\n{made}\n</div>\n' if kind else made


def cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def code(text: object) -> str:
    """As code in a sentence; nothing of nothing."""
    return f"`{text}`" if str(text) else ""
