"""Docstrings of the package as Markdown: aligned lines of a name and what it is are a list.

    name         the folder
    progress     say what is going on, in a line
                 per setting

In Markdown these lines would run on as one paragraph.
"""

import re
from typing import Any

import griffe

ENTRY = re.compile(r"(\S+) {2,}(?=\S)")


class Aligned(griffe.Extension):
    """What mkdocstrings calls of each object that it reads."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """A text whose paragraphs of aligned lines are lists."""
    return "\n\n".join(map(_listed, text.split("\n\n")))


def _listed(paragraph: str) -> str:
    lines = paragraph.splitlines()
    first = ENTRY.match(lines[0]) if lines else None
    if first is None:
        return paragraph
    column, items = first.end(), list[str]()
    for line in lines:
        found = ENTRY.match(line)
        if found and found.end() == column:
            items.append(f"- `{found[1]}`: {line[column:]}")
        elif line[:column].isspace() and not line[column : column + 1].isspace():
            items[-1] += f" {line[column:]}"
        else:
            return paragraph
    return "\n".join(items)
