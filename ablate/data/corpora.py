"""Texts: where they come from, how they are cleaned, and what of them is trained on and held out."""

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path

from ablate.config import MEMORY, PAIRS, Config, DataConfig
from ablate.data.cache import fetch
from ablate.data.vocabulary import Vocabulary
from ablate.errors import CombinationError, DataError

MEMORY_VERSION = 1
"""Raised when a rule of `ablate.data.memory` changes: runs of other sequences are other runs."""

NOT_A_LETTER = re.compile("[^A-Za-z]+")


@dataclass(frozen=True)
class Corpus:
    """A cleaned text as numbers.

    `sha256` is the hash of the cleaned text in UTF-8; with the kind of token it fixes every number in `ids`.
    """

    name: str
    sha256: str
    characters: int
    unit: str  # char, word or symbol
    ids: tuple[int, ...]
    vocabulary: Vocabulary

    @property
    def separator(self) -> str:
        return "" if self.unit == "char" else " "

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.encode(list(text) if self.unit == "char" else text.split())

    def decode(self, ids: list[int]) -> str:
        return self.separator.join(self.vocabulary.decode(ids))


@cache
def python_docs() -> str:
    """CPython's language reference, topic by topic in alphabetical order.

    The text differs from one Python version to the next, and so does its hash.
    """
    try:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise DataError("this Python lacks pydoc_data.topics; use data=text_file data.path=FILE") from error
    return "\n".join(topics[name] for name in sorted(topics))


def read_text(path: Path) -> str:
    """A UTF-8 text with any line ends. Raises DataError for anything else."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"data.path is {str(path)!r}: {error.strerror}; give the path of a text file") from error
    if b"\0" in content:
        raise DataError(f"{path} is a binary file; give a text in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 (byte {error.start}); convert it, for example with iconv -t UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def raw_text(data: DataConfig, instead: str = "python_docs") -> str:
    """The text that `data` names, before cleaning. Raises DataError; `instead` names what can be had in any case."""
    if data.name == "python_docs":
        return python_docs()
    if data.name == "text_file":
        return read_text(Path(str(data.path)).expanduser())
    assert data.file is not None
    assert data.sha256 is not None
    return read_text(fetch(data.file, data.sha256, data.urls, instead))


def clean(text: str, rule: str) -> list[str]:
    """The lines of `text` under the cleaning rule `letters` or `keep`.

    letters: in each line every run of characters other than A-Z and a-z becomes one space; strip, lower-case.
    keep: every character stays, line ends included.
    """
    if rule == "keep":
        return text.splitlines(keepends=True)
    return [NOT_A_LETTER.sub(" ", line).strip().lower() for line in text.split("\n")]


def load(data: DataConfig) -> Corpus:
    """The corpus that `data` names; `data=auto` must have been resolved before. Raises DataError."""
    if data.name in MEMORY:
        return made_by_rule(data.name)
    if data.name in PAIRS:
        from ablate.data.pairs import load_pairs  # here, because pairs are a corpus, too

        return load_pairs(data)
    lines = clean(raw_text(data), data.cleaning)
    joined = "".join(lines)
    tokens = list(joined) if data.tokens == "char" else [word for line in lines for word in line.split()]
    if not tokens:
        what = "letters from a to z" if data.cleaning == "letters" else "characters"
        raise DataError(f"{data.path or data.name} has no {what}; give another text or another data.cleaning")
    vocabulary = Vocabulary(tokens)
    return Corpus(
        name=Path(str(data.path)).name if data.name == "text_file" else data.name,
        sha256=hashlib.sha256(joined.encode()).hexdigest() if data.tokens == "char" else _word_hash(tokens),
        characters=len(joined),
        unit=data.tokens,
        ids=tuple(vocabulary.encode(tokens)),
        vocabulary=vocabulary,
    )


def made_by_rule(name: str) -> Corpus:
    """A memory task has no text: its name and the version of its rule say what it is."""
    version = hashlib.sha256(f"{name} {MEMORY_VERSION}".encode()).hexdigest()
    return Corpus(name, version, characters=0, unit="symbol", ids=(), vocabulary=Vocabulary(()))


def _word_hash(words: list[str]) -> str:
    # Lines are joined with nothing between them, so the joined text would not tell where a word ends.
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def resolve_auto(data: DataConfig, fallback: DataConfig, stored: str | None = None) -> tuple[DataConfig, str]:
    """The Time Machine for `data=auto` where it can be had, else `fallback`, with a warning that says why.

    `stored` names the corpus that a sweep began with, which it keeps.
    """
    if data.name != "auto":
        return data, ""
    named = replace(data, name="time_machine")
    kept = replace(fallback, tokens=data.tokens, cleaning=data.cleaning)
    if stored:
        return (kept if stored == fallback.name else named), ""
    try:
        raw_text(named, instead="")  # this very fallback is taken
    except DataError as error:
        return kept, f"training on {fallback.name} instead of time_machine: {error}"
    return named, ""


def split(config: Config, corpus: Corpus) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Training tokens from the start of the text, held-out tokens right after them.

    Raises CombinationError where that leaves too little for one minibatch.
    """
    total = len(corpus.ids)
    available = total - config.val_tokens
    count = available if config.max_tokens is None else min(config.max_tokens, available)
    needed = tokens_needed(config)
    if count < needed:
        enough = (
            f"one minibatch of batch_size={config.batch_size} sequences of num_steps={config.num_steps} "
            f"needs {needed:,} training tokens"
        )
        if count == config.max_tokens:
            raise CombinationError(f"{enough}, max_tokens is {count:,}; raise max_tokens or lower one of the others")
        raise CombinationError(
            f"{enough}, but {corpus.name} has {total:,} {corpus.unit} tokens, of which val_tokens="
            f"{config.val_tokens} are held out; lower one of them or give a longer text"
        )
    return corpus.ids[:count], corpus.ids[count : count + config.val_tokens]


def tokens_needed(config: Config) -> int:
    """The fewest tokens that give one minibatch whatever the epoch's random offset."""
    B, T = config.batch_size, config.num_steps
    largest_offset = T - 1 if config.sampling == "random" else T
    return B * T + 1 + largest_offset
