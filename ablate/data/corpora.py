"""Texts: where they come from, how they are cleaned, and what of them is trained on and held out."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ablate.config.errors import CombinationError, DataError, UserError, counted, place, reason, span, with_article
from ablate.config.registry import DATASETS, resolved
from ablate.config.resolved import Resolved
from ablate.config.schema import FILES_OF_PARTS, Config, DataConfig
from ablate.data.cache import data_dir, fetch, sha256_of
from ablate.data.cleaning import Cleaning, Letters
from ablate.data.reading import BLOCK, expanded, text_blocks
from ablate.data.vocabulary import UNKNOWN, Characters, Numbers, Vocabulary, Words, smallest_type

UNITS = {"char": "characters", "word": "words"}
NAMED_CHARACTERS = 6
"""Characters that cleaning left out and that a line names."""
LARGE_VOCABULARY = 50_000
"""Different tokens from which on the first and the last layer are most of a network."""

LINE_END = "\n"
"""What lines are joined by where words have to stay apart: another white space than any that stands within a line."""

NUMBER = "number"
"""The unit of a corpus of arrays."""

NO_TOKENS = np.zeros(0, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A cleaned text as numbers; or, by `Corpus.of_arrays`, arrays of numbers for a task of your own.

    `sha256` is the hash of the cleaned text in UTF-8; with the kind of token it determines every number in `ids`. It is
    part of the identity of a run: with other data it is another run, but not with the same data in another place.
    """

    name: str
    sha256: str
    characters: int
    unit: str  # char, word or symbol
    ids: Numbers  # (n,): the first `tokens`, or as many of them as were asked for
    vocabulary: Vocabulary  # of the whole text
    tokens: int = 0  # of the whole text
    left_out: dict[str, int] = field(default_factory=dict)  # characters that cleaning took away, the commonest first
    arrays: Mapping[str, Numbers] = field(default_factory=dict)  # of `of_arrays`, by their names
    widths: Numbers | None = None  # (n,): characters that each of `ids` covers; None: one each, or not known
    parts: Mapping[str, "Corpus"] = field(default_factory=dict)  # of files of their own: `valid` and perhaps `test`
    unknown: int = 0  # tokens of such a part that the text to train on lacks, and which are <unk> there
    files: Mapping[str, str] = field(default_factory=dict)  # of a text in files the hash of each part, `train` included
    warnings: tuple[str, ...] = ()  # what its user should know of it before anything is trained

    @classmethod
    def of_arrays(cls, name: str | Path, **arrays: Any) -> "Corpus":
        """What a loader returns for a task that reads arrays: `Corpus.of_arrays(data.path, signals=…)`.

        `name` is shown in tables, only the last part of a path. An array is anything that numpy can turn into numbers,
        of any shape; the task finds it as `self.corpus.arrays["signals"]`. Raises DataError if it holds anything else.
        """
        found, hashed = {}, hashlib.sha256()
        for key in sorted(arrays):
            try:
                one = np.ascontiguousarray(arrays[key])
            except ValueError as error:  # rows of different lengths
                raise DataError(f"{name}: {key} is no array: {error}") from error
            if one.dtype.kind not in "biuf":
                raise DataError(f"{name}: {key} is an array of {one.dtype}; give one of numbers")
            found[key] = one
            hashed.update(f"{key} {one.dtype.str} {one.shape} ".encode() + one.tobytes())
        sha256 = hashed.hexdigest()
        return cls(Path(name).name, sha256, 0, NUMBER, NO_TOKENS, Vocabulary(()), arrays=found)

    @property
    def separator(self) -> str:
        return "" if self.unit == "char" else " "

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.encode(list(text) if self.unit == "char" else text.split())

    def decode(self, ids: Iterable[int]) -> str:
        return self.separator.join(self.vocabulary.decode(ids))

    def covered(self, start: int, stop: int) -> int | None:
        """How many characters of the text the tokens from `start` to before `stop` cover; None where it is not known.

        The text is that which is cut into tokens: what cleaning left, as it left it. A word covers its letters and all
        the white space before it, which no word is, so that as many characters stand for the same text whatever it is
        cut into. What lines are joined by counts for neither: characters are joined by nothing.
        """
        if self.unit == "char":
            return stop - start
        return None if self.widths is None else int(self.widths[start:stop].sum())

    def holds(self, tokens: int | None) -> bool:
        """Whether so many tokens, or with None all, are in `ids`, as far as the text has them."""
        return len(self.ids) == self.tokens or (tokens is not None and len(self.ids) >= tokens)


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


def raw_blocks(data: DataConfig, instead: str = "python_docs") -> Iterator[str]:
    """The text that `data` names, before cleaning, in pieces.

    Raises DataError; `instead` names what can be had in any case.
    """
    if data.name == "python_docs":
        text = python_docs()
        return (text[start : start + BLOCK] for start in range(0, len(text), BLOCK))
    if DATASETS[data.name].own_file:
        return text_blocks(expanded(str(data.path)))
    return text_blocks(fetch(data.file, data.sha256, data.urls, instead))


def at_hand(data: DataConfig) -> bool:
    """Whether a text can be read without being fetched from somewhere."""
    if data.name == "python_docs" or DATASETS[data.name].by_rule:
        return True
    if DATASETS[data.name].own_file:
        return all(expanded(file).is_file() for file in files_of(data).values())
    return data.file is not None and sha256_of(data_dir() / data.file) == data.sha256


def load(data: DataConfig, tokens: int | None = None) -> Corpus:
    """The corpus that `data` names, with the first `tokens` of it as numbers, or all.

    `data=auto` must have been resolved before. Raises DataError.
    """
    loader = resolved(data.thing.loader)
    try:
        with warnings.catch_warnings(record=True) as warned:  # numpy says that a file is empty, and goes on
            corpus = loader(data, tokens)
    except UserError:
        raise
    except Exception as error:
        if data.name not in DATASETS.origin:
            raise
        before = f" (before that: {warned[-1].message})" if warned else ""
        raise DataError(f"data={data.name}: its loader fails: {reason(error)}{before}") from error
    for one in warned:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if not isinstance(corpus, Corpus):
        raise DataError(
            f"data={data.name}: its loader ({place(loader)}) returned {with_article(type(corpus).__name__)}; "
            "a Corpus is needed, such as ablate.Corpus.of_arrays(data.path, NAME=array)"
        )
    return corpus


def files_of(data: DataConfig) -> dict[str, str]:
    """Option → the file that it names, of those that a text of the user's own consists of."""
    options = ("path", *FILES_OF_PARTS)
    return {option: str(getattr(data, option)) for option in options if getattr(data, option)}


def load_text(data: DataConfig, tokens: int | None = None) -> Corpus:
    """A cleaned text, and the first `tokens` of it as numbers, or all. Raises DataError."""
    return in_files(data, tokens) if data.train else of_blocks(raw_blocks(data), data, tokens)


def in_files(data: DataConfig, tokens: int | None = None) -> Corpus:
    """The text to train on, or its first `tokens`, with those to choose and to report by as its `parts`.

    The vocabulary is that of the text to train on; what the others have beside it is <unk> there. Raises DataError.
    """
    found = {}
    for option, file in files_of(data).items():
        blocks = text_blocks(expanded(file), f"data.{option}")
        one = of_blocks(
            blocks, replace(data, path=file), tokens if option == "train" else None, f"data.{option}={file}"
        )
        if one.tokens < 2:
            raise DataError(f"data.{option} is {file!r}, of one {UNITS[one.unit][:-1]}; give a text of two or more")
        found[option] = one
    whole = found.pop("train")
    files = {"train": whole.sha256} | {option: one.sha256 for option, one in found.items()}
    trained = [f"data.{option}" for option, one in found.items() if one.sha256 == whole.sha256]
    same = f"{' and '.join(trained)} {'are' if len(trained) > 1 else 'is'} the same text as data.train"
    return replace(
        whole,
        name="/".join(expanded(str(data.train)).absolute().parts[-2:]),  # train.txt is the name of many
        sha256=hashlib.sha256(" ".join(files.values()).encode()).hexdigest(),
        parts={option: numbered_by(whole.vocabulary, one) for option, one in found.items()},
        files=files,
        warnings=(f"{same}: networks are measured on what they are trained on",) if trained else (),
    )


def numbered_by(vocabulary: Vocabulary, corpus: Corpus) -> Corpus:
    """The same text in the numbers of another one's vocabulary; what that lacks is <unk>."""
    number = np.array(vocabulary.encode(corpus.vocabulary.itos), smallest_type(len(vocabulary)))
    ids = number[corpus.ids]
    unknown = int(np.count_nonzero((ids == 0) & (corpus.ids != 0)))
    return replace(corpus, ids=ids, vocabulary=vocabulary, unknown=unknown)


def of_blocks(blocks: Iterable[str], data: DataConfig, tokens: int | None = None, origin: str = "") -> Corpus:
    """The same of a text that is at hand, in pieces, as if it were what `data` names; errors name its `origin`."""
    origin = origin or str(data.path or data.name)
    words = data.tokens == "word"
    joint = LINE_END if words and data.cleaning == "letters" else ""
    cleaning = Letters(joint) if data.cleaning == "letters" else Cleaning()
    numbering = Words(tokens, joint) if words else Characters(tokens)
    for block in blocks:
        numbering.add(cleaning(block))
    numbering.close()
    if not numbering.total:
        what = "words" if words else "characters"
        if any(not mark.isspace() for mark in cleaning.left_out):
            raise DataError(
                f"{origin} has no letters from a to z, which data.cleaning=letters keeps alone; "
                "add data.cleaning=keep, or give another text"
            )
        raise DataError(f"{origin} has no {what}; give another text")
    vocabulary, ids = numbering.result()
    return Corpus(
        name=expanded(str(data.path)).name if DATASETS[data.name].own_file else data.name,
        sha256=numbering.hash.hexdigest(),
        characters=cleaning.characters,
        unit=data.tokens,
        ids=ids,
        vocabulary=vocabulary,
        tokens=numbering.total,
        left_out={mark: count for mark, count in cleaning.left_out.most_common() if not mark.isspace()},
        widths=numbering.covered() if isinstance(numbering, Words) else None,
    )


def made_by_rule(data: DataConfig, tokens: int | None = None) -> Corpus:
    """What is generated has no text: its name and the version of its rule say what it is."""
    version = hashlib.sha256(f"{data.name} {data.thing.version}".encode()).hexdigest()
    return Corpus(data.name, version, characters=0, unit="symbol", ids=NO_TOKENS, vocabulary=Vocabulary(()))


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
        raw_blocks(named, instead="")  # this very fallback is taken
    except DataError as error:
        return kept, f"training on {fallback.name} instead of time_machine: {error}"
    return named, ""


def tokens_asked_for(config: Config) -> int | None:
    """How many tokens of its text a config reads where there are as many; None: all."""
    beside = 0 if config.data.train else config.val_tokens + config.test_tokens
    return None if config.max_tokens is None else config.max_tokens + beside


def held_out_tokens(config: Config, corpus: Corpus) -> int:
    """How many tokens of the text that is trained on are kept back: those to choose by, and those to report."""
    return 0 if corpus.parts else config.val_tokens + config.test_tokens


def as_used(config: Resolved, corpus: Corpus) -> Resolved:
    """The config with the training tokens that this corpus gives it as its `max_tokens`.

    null and everything above what is left beside val_tokens mean the same text: one setting, under one number. Files of
    their own are held out whole: their tokens are val_tokens and test_tokens. Unchanged where there is no text, or too
    little of it.
    """
    used: dict[str, Any] = {"max_tokens": tokens_used(config, corpus)}
    if corpus.parts:
        used |= {"val_tokens": corpus.parts["valid"].tokens}
        used |= {"test_tokens": corpus.parts["test"].tokens if "test" in corpus.parts else 0}
    return config if all(getattr(config, name) == value for name, value in used.items()) else config.but(**used)


def tokens_used(config: Resolved, corpus: Corpus) -> int | None:
    """The training tokens that this corpus gives a config; its `max_tokens` where there is no text, or too little."""
    available = corpus.tokens - held_out_tokens(config, corpus)
    if not config.task.thing.reads_text or available < tokens_needed(config):
        return config.max_tokens
    return available if config.max_tokens is None else min(config.max_tokens, available)


def described(corpus: Corpus, configs: Sequence[Resolved]) -> str:
    """One line on the text that these configs train on: name, size, what of it is used, what cleaning took away."""
    if corpus.arrays:
        shapes = ", ".join(f"{key} {' × '.join(map(str, one.shape))}" for key, one in corpus.arrays.items())
        return f"data: {corpus.name}: {shapes}; SHA-256 {corpus.sha256[:12]}…"
    different = len(corpus.vocabulary) - 1
    units = UNITS.get(corpus.unit, f"{corpus.unit}s")
    as_read = [as_used(config, corpus) for config in configs]
    used = [c for c in as_read if corpus.tokens - held_out_tokens(c, corpus) >= tokens_needed(c)]  # the others fail
    trained = {tokens for config in used if (tokens := tokens_used(config, corpus)) is not None}
    cleaning = configs[0].data.cleaning
    parts = [f"text: {corpus.name}, {corpus.tokens:,} {units}, {different:,} different (data.cleaning={cleaning})"]
    if trained:
        held_out, tested = (_span({getattr(config, name) for config in used}) for name in ("val_tokens", "test_tokens"))
        of_files = [f"{option}={one.name} ({one.tokens:,}{_said_unknown(one)})" for option, one in corpus.parts.items()]
        beside = f"held out are {', '.join(of_files)}" if of_files else f"the next {held_out} are held out"
        parts.append(
            f"trained on the first {_span(trained)}, {'none are held out' if held_out == '0' else beside}"
            + f", tested on {tested} after them" * (tested != "0" and not of_files)
        )
        if max(trained) < corpus.tokens - max(held_out_tokens(config, corpus) for config in used):
            parts.append("max_tokens=null trains on all others")
    if corpus.left_out and DATASETS[configs[0].data.name].own_file:  # of the course's text everybody knows it
        first = sorted(corpus.left_out, key=lambda mark: not mark.isalpha())[:NAMED_CHARACTERS]  # é before commas
        some = " ".join(mark if mark.isprintable() else repr(mark) for mark in first)
        more = " …" * (len(corpus.left_out) > NAMED_CHARACTERS)
        count = sum(corpus.left_out.values())
        parts.append(
            f"data.cleaning={cleaning} left out {counted(count, 'character')} ({some}{more}), "
            "data.cleaning=keep keeps them"
        )
    return "; ".join(parts)


def _said_unknown(part: Corpus) -> str:
    return f", of which {part.unknown:,} are not in the training text: {UNKNOWN}" if part.unknown else ""


def _span(values: set[int]) -> str:
    return span(f"{min(values):,}", f"{max(values):,}")


def split(config: Resolved, corpus: Corpus) -> tuple[Numbers, Numbers]:
    """Training tokens from the start of the text, the held-out tokens of val_tokens right after them, or in data.valid.

    Raises CombinationError where that leaves too little for one minibatch.
    """
    total = corpus.tokens
    available = total - held_out_tokens(config, corpus)
    count = available if config.max_tokens is None else min(config.max_tokens, available)
    needed = tokens_needed(config)
    if count < needed:
        enough = (
            f"one minibatch of batch_size={config.batch_size} sequences of num_steps={config.num_steps} "
            f"needs {needed:,} training tokens"
        )
        if count == config.max_tokens:
            raise CombinationError(f"{enough}, max_tokens is {count:,}; raise max_tokens or lower one of the others")
        held = said_held_out(config.val_tokens, config.test_tokens)
        of_which = "" if corpus.parts else f", of which {held} are held out"
        raise CombinationError(
            f"{enough}, but {corpus.name} has {total:,} {corpus.unit} tokens{of_which}; lower one of them or give a "
            "longer text"
        )
    assert corpus.holds(count + held_out_tokens(config, corpus)), "the corpus was loaded for fewer tokens"
    if corpus.parts:
        return corpus.ids[:count], corpus.parts["valid"].ids
    return corpus.ids[:count], corpus.ids[count : count + config.val_tokens]


def split_for_test(config: Resolved, corpus: Corpus) -> Numbers:
    """The tokens of test_tokens, right after those of `split`, or in data.test. Raises CombinationError as it does."""
    if corpus.parts:
        return corpus.parts["test"].ids if "test" in corpus.parts else NO_TOKENS
    start = sum(map(len, split(config, corpus)))
    return corpus.ids[start : start + config.test_tokens]


def said_held_out(val_tokens: int, test_tokens: int) -> str:
    """`val_tokens=100`, or `val_tokens=100 and test_tokens=50`."""
    return f"val_tokens={val_tokens}" + f" and test_tokens={test_tokens}" * bool(test_tokens)


def tokens_needed(config: Resolved) -> int:
    """The fewest tokens that give one minibatch whatever the epoch's random offset."""
    B, T = config.batch_size, config.num_steps
    largest_offset = T - 1 if config.sampling == "random" else T
    return B * T + 1 + largest_offset
