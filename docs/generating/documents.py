"""Documents of the checkout that are pages of the site, too: the changelog and the lab book."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def page_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


PAGES: dict[str, Callable[[], str]] = {
    "project/changelog.md": partial(page_of, "CHANGELOG.md"),
    "project/lab-book.md": partial(page_of, "results/LOG.md"),
}
