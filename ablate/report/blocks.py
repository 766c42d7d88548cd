"""What a page is made of: parts of blocks, in words and numbers, free of any markup."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pandas as pd

from ablate.config.errors import UserError, own_line
from ablate.config.terminal import CONTROLS, one_line

Made = TypeVar("Made")


@dataclass
class Column:
    """A column of a sheet: its heading, and whether it holds numbers (aligned right) or long text (wrapped)."""

    heading: str
    number: bool = False
    long: bool = False


@dataclass
class Sheet:
    """A table as people read it, and its data at full precision."""

    kind: ClassVar[str] = "sheet"
    name: str  # of its files
    title: str
    columns: list[Column]
    rows: list[list[str]]
    data: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    foreign: set[int] = field(default_factory=set)  # the rows that somebody else measured
    left_out: int = 0  # rows that only the CSV has

    def __post_init__(self) -> None:
        lengths = {len(row) for row in self.rows} - {len(self.columns)}
        if lengths:
            raise ValueError(f"rows of {sorted(lengths)} cells below {len(self.columns)} headings")


PNG_DPI = 220
"""Dots per inch of the PNG of a figure."""


@dataclass
class Figure:
    """A figure in its three formats."""

    kind: ClassVar[str] = "figure"
    name: str
    caption: str
    paths: list[Path]  # PNG, SVG, PDF
    image: str = ""  # as a page has it, a data URI, where that is made already

    def path(self, suffix: str) -> Path:
        return next(path for path in self.paths if path.suffix == suffix)


@dataclass
class Bullets:
    kind: ClassVar[str] = "bullets"
    items: list[str]


@dataclass
class Facts:
    """Pairs of a term and what is to be said of it."""

    kind: ClassVar[str] = "facts"
    pairs: list[tuple[str, str]]


@dataclass
class Commands:
    """Pairs of what a command makes and the command."""

    kind: ClassVar[str] = "commands"
    pairs: list[tuple[str, str]]


@dataclass
class Badge:
    """A verdict in a word, told apart by its symbol as well as by its colour."""

    verdict: str

    SYMBOLS: ClassVar[dict[str, str]] = {"confirmed": "✓", "refuted": "✗", "undecided": "?", "not testable": "–"}

    @property
    def symbol(self) -> str:
        return self.SYMBOLS.get(self.verdict, "–")

    @property
    def style(self) -> str:
        return self.verdict.replace(" ", "-") if self.verdict in self.SYMBOLS else "undecided"


@dataclass
class Card:
    """One claim with its verdict and the evidence."""

    badge: Badge
    statement: str
    evidence: str
    details: str


@dataclass
class Cards:
    kind: ClassVar[str] = "cards"
    cards: list[Card]


@dataclass
class Sample:
    """What one network wrote: (prefix, continuation) pairs."""

    who: str
    texts: list[tuple[str, str]]


@dataclass
class Samples:
    kind: ClassVar[str] = "samples"
    samples: list[Sample]
    note: str


@dataclass
class Explorer:
    """The values of the runs, for the reader's browser to work on: `data` as JSON holds them."""

    kind: ClassVar[str] = "explorer"
    data: Mapping[str, Any]

    @property
    def json(self) -> str:
        """The data as they can stand inside a script element, which they cannot end; control characters as typed."""
        text = json.dumps(self.data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text = CONTROLS.sub(lambda found: json.dumps(one_line(found[0]))[1:-1], text)
        return text.replace("<", "\\u003c")


Block = Sheet | Figure | Bullets | Facts | Commands | Cards | Samples | Explorer
"""What can stand on a page."""


def bullets(lines: Iterable[str] | None) -> list[Block]:
    """The lines as a list; nothing where there are none."""
    said = list(lines or ())
    return [Bullets(said)] if said else []


@dataclass
class Part:
    """A heading with what stands below it."""

    name: str  # of its anchor
    title: str
    blocks: Sequence[Block]

    @property
    def by_script(self) -> bool:
        """Whether there is nothing to see of it before a script has run."""
        return all(isinstance(block, Explorer) for block in self.blocks)


@dataclass
class Page:
    """One sweep, from its question to the commands that make it again."""

    name: str  # the folder's
    title: str
    question: str
    sections: list[Part]
    verdicts: dict[str, int]  # how many claims got each
    runs: int
    settings: int
    warnings: int


class Attempts:
    """Parts of a report that are made one by one: what fails is named, and the others are still made."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.failed = say, list[str]()
        self.unforeseen = False  # whether something failed that another attempt at the same could make

    def __call__(self, what: str, make: Callable[[], Made]) -> Made | None:
        """What `make` returns; None, and a line in `failed` and for the person at the keyboard, where it cannot."""
        try:
            return make()
        except UserError as error:
            if isinstance(error, OSError):
                raise
            reason = str(error)
        except Exception as error:  # strange data must not cost the rest of the report
            if isinstance(error, OSError) and not own_line(error):
                raise  # a full or read-only disk: nothing else would succeed
            reason = described(error)
            self.unforeseen = True
        self.note(f"{what} could not be made: {' '.join(reason.split())}")
        return None

    def note(self, line: str) -> None:
        """One more thing that is not as it should be; told once, however often it was tried."""
        if line not in self.failed:
            self.failed.append(line)
            self.say(line)


def described(error: BaseException) -> str:
    """An error in a line: of a file of a person's own with the place, `mine.py:12: KeyError: 'lr'`."""
    place = own_line(error)
    return f"{place}: {type(error).__name__}: {error}" if place else f"{type(error).__name__}: {error}"


def unheard(line: str) -> None:
    """What nobody asked to be told."""
