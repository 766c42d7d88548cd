"""Pairs of sentences: where they come from, and how they become words."""

import hashlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ablate.config.errors import DataError, counted, reason
from ablate.config.schema import Config, DataConfig
from ablate.data.cache import fetch
from ablate.data.corpora import NO_TOKENS, Corpus
from ablate.data.number_words import number_pairs
from ablate.data.reading import BROKEN_ARCHIVE, expanded, read_text
from ablate.data.vocabulary import Vocabulary

Pair = tuple[str, str]

ARCHIVED = "fra-eng/fra.txt"
REMEDY = "of pairs of your own give the text itself: data=pair_file data.path=FILE"
NO_BREAK = str.maketrans("\u202f\u00a0", "  ")
NO_SPACE_BEFORE = re.compile(r"(?<=[^ ])(?=[,.!?])")

SAMPLES: dict[str, tuple[Pair, ...]] = {
    "fra_eng": (
        ("go .", "va !"),
        ("i lost .", "j'ai perdu ."),
        ("he's calm .", "il est calme ."),
        ("i'm home .", "je suis chez moi ."),
    ),
    "number_pairs": (
        ("twenty one", "vingt et un"),
        ("ninety nine", "quatre vingt dix neuf"),
        ("two hundred", "deux cents"),
        ("one thousand nine hundred and eighty four", "mille neuf cent quatre vingt quatre"),
    ),
}
"""Sentences that are translated after training, with their references: of fra_eng, the published four."""

FILE_SAMPLES = 4
"""So many sentences of a file of one's own stand for them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairs(Corpus):
    """Cleaned pairs of sentences, source first, in the order of their origin. Words are what stands between single
    spaces, as the course reads them: two in a row have an empty word between them.

    They have no vocabulary yet: those of source and target are built from the pairs that are trained on.
    `sha256` is the hash of the cleaned pairs in UTF-8, a tab between source and target, a line end after each.
    """

    pairs: tuple[Pair, ...]
    samples: tuple[Pair, ...]


def load_pairs(data: DataConfig, tokens: int | None = None) -> Pairs:
    """The pairs that `data` names. Raises DataError."""
    if data.thing.own_file:
        path = expanded(str(data.path))
        return cleaned_pairs(path.name, read_text(path))
    return _named(data.name, data.file, data.sha256, tuple(data.urls))


@cache
def _named(name: str, file: str | None, sha256: str | None, urls: tuple[str, ...]) -> Pairs:
    """Pairs that never change, made once."""
    if name == "number_pairs":
        return cleaned_pairs(name, "\n".join(f"{source}\t{target}" for source, target in number_pairs()))
    path = fetch(file, sha256, urls, instead="number_pairs")
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(ARCHIVED).decode()
    except KeyError as error:
        raise DataError(f"{path} has no file {ARCHIVED}; {REMEDY}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{ARCHIVED} in {path} is not UTF-8 (byte {error.start}); {REMEDY}") from error
    except BROKEN_ARCHIVE as error:
        raise DataError(f"{path} cannot be read as a zip archive ({reason(error)}); {REMEDY}") from error
    return cleaned_pairs(name, text)


def cleaned_pairs(name: str, text: str) -> Pairs:
    """The pairs of a text of two columns. Raises DataError."""
    pairs = columns(clean(text), name)
    cleaned = "".join(f"{source}\t{target}\n" for source, target in pairs)
    return Pairs(
        name=name,
        sha256=hashlib.sha256(cleaned.encode()).hexdigest(),
        characters=len(cleaned),
        unit="word",
        ids=NO_TOKENS,
        vocabulary=Vocabulary(()),
        pairs=tuple(pairs),
        samples=SAMPLES.get(name) or _first_of_each(pairs),
    )


def described_pairs(pairs: Pairs, configs: Sequence[Config]) -> str:
    """One line on the pairs that these configs train on: their file, how many there are, and what of them is used."""
    held_out = max(config.task.val_pairs for config in configs)
    asked = [config.task.pairs for config in configs]
    most = len(pairs.pairs) - held_out if None in asked else max(count for count in asked if count is not None)
    return (
        f"text: {pairs.name}, {counted(len(pairs.pairs), 'pair')} of sentences; at most {most:,} are trained on and "
        f"{held_out:,} held out (task.pairs, task.val_pairs)"
    )


def clean(text: str) -> str:
    """Lower case, no-break spaces as spaces, and a space before each `,` `.` `!` `?` that has none."""
    return NO_SPACE_BEFORE.sub(" ", text.translate(NO_BREAK).lower())


def columns(text: str, origin: str) -> list[Pair]:
    """Source and target of each line, a tab between them; empty lines and further columns do not count.

    Raises DataError, with the number of the line, where there are no two columns or one of them is empty.
    """
    out = []
    for number, line in enumerate(text.split("\n"), start=1):
        source, tab, rest = line.partition("\t")
        source, target = source.strip(" "), rest.partition("\t")[0].strip(" ")
        if source and target:
            out.append((source, target))
        elif line.strip():
            lacks = "no tab" if not tab else "an empty target" if source else "an empty source"
            raise DataError(f"{origin}, line {number}, has {lacks}; give one pair per line, SOURCE<tab>TARGET")
    if not out:
        raise DataError(f"{origin} has no pair of sentences; give one pair per line, SOURCE<tab>TARGET")
    return out


def _first_of_each(pairs: list[Pair]) -> tuple[Pair, ...]:
    """The first few different sources, each with its first target."""
    out: dict[str, str] = {}
    for source, target in pairs:
        if len(out) == FILE_SAMPLES:
            break
        out.setdefault(source, target)
    return tuple(out.items())
