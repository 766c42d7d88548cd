"""Documents of the checkout that are pages of the site, too: the changelog and the lab book."""

import re
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from textwrap import indent

ROOT = Path(__file__).resolve().parents[2]

ENTRY = re.compile(r"^## (\S+) · (.+)$", re.MULTILINE)
"""The heading of an entry of the lab book: its day and what it is about."""


def page_of(path: str) -> str:
    """A document of the checkout, its links to pages as from the folder `project` of the site."""
    return (ROOT / path).read_text(encoding="utf-8").replace("](docs/", "](../")


def lab_book() -> str:
    """Each entry folded, so that the page is a list of what was asked, day by day.

    Its heading is inside again, where docs/site.css hides it: contents, search and links lead to it, which opens it.
    """
    head, *rest = ENTRY.split(page_of("results/LOG.md"))
    entries = list(zip(rest[::3], rest[1::3], rest[2::3], strict=True))
    parts = [head]
    for day, own in groupby(entries, key=lambda entry: entry[0]):
        parts.append(f"## {day}\n")
        for _, title, text in own:
            quoted = title.replace('"', "&quot;")
            inside = f"### {title}\n{text}"
            parts.append(f'??? note entry "{quoted}"\n\n{indent(inside, "    ")}')
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "project/changelog.md": partial(page_of, "CHANGELOG.md"),
    "project/lab-book.md": lab_book,
}
