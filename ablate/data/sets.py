"""What a data set says of itself: which tasks it serves, where it comes from, how it is loaded. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ablate.config.errors import ConfigError, listing, nearest
from ablate.config.registry import DATASETS, Knob

TEXT = "text"
PAIRS = "pairs"
RULE = "rule"

MADE_BY_RULE = "ablate.data.corpora:made_by_rule"

WORDS_AS_THEY_ARE = {"tokens": "word", "cleaning": "keep"}
"""The options of what is no text to be cleaned."""


@dataclass(frozen=True)
class DataSet:
    """A data set by its name, as `data=NAME` chooses it.

    `loader`, a function or `module:function`, makes an `ablate.Corpus` from a DataConfig, whose `path` is the user's
    file, and the number of tokens that are needed (None: all).
    """

    name: str
    tasks: tuple[str, ...]
    """The tasks that can be trained on it."""
    summary: str = ""
    kind: str = RULE
    """text, pairs of sentences, or neither: generated, unless `loader` says otherwise."""
    loader: str | Callable[[Any, int | None], Any] = MADE_BY_RULE
    own_file: bool = False
    """Whether it is a file of the user, given by data.path."""
    in_parts: bool = False
    """Whether it can also be three files, for training, choosing and reporting: data.train, data.valid, data.test."""
    stands_for_another: bool = False
    """Whether it stands for another data set, which is chosen when it is loaded."""
    fixed: Mapping[str, str] = field(default_factory=lambda: WORDS_AS_THEY_ARE)
    """The options of `data` that can have only one value."""
    knobs: tuple[Knob, ...] = ()
    version: int = 1
    """Raised when the rule that generates the data changes, so that runs with other sequences are other runs."""
    asks: str = ""
    """What is asked, if each data set of a task is a question of its own."""
    guess: float | str | None = None
    """The accuracy of the best guess without memory, or the knob by which to divide 1 for it; None: not known."""
    size: str = ""
    source: str = ""
    licence: str = ""

    @property
    def by_rule(self) -> bool:
        return self.kind == RULE and self.loader == MADE_BY_RULE

    @property
    def needs_note(self) -> bool:
        """Whether a command that names it does not say what is trained on."""
        return self.own_file or self.stands_for_another

    def serving(self, task: str) -> DataSet:
        """The same for one more task."""
        return replace(self, tasks=tuple(dict.fromkeys((*self.tasks, task))))

    def accuracy_by_guessing(self, knobs: Mapping[str, Any]) -> float | None:
        """The accuracy of the best guess without memory at these values of knobs; None where it isn't known."""
        if not isinstance(self.guess, str):
            return self.guess
        return 1 / float(knobs[self.guess]) if knobs.get(self.guess) is not None else None


def serve(name: str, task: str) -> None:
    """A data set that there is serves one more task. Raises ConfigError for one that there isn't."""
    if name not in DATASETS:
        names = DATASETS.names
        raise ConfigError(f"task {task} has the data {name!r}; choose {listing(names)}{nearest(name, names)}")
    DATASETS.found[name] = DATASETS[name].serving(task)


DATASETS.unknown = lambda name: DataSet(name, (), kind=TEXT)

OF_TEXTS = ("language_model", "fill_in")


def _text(name: str, summary: str, **facts: Any) -> DataSet:
    facts = {"kind": TEXT, "loader": "ablate.data.corpora:load_text", "fixed": {}} | facts
    return DataSet(name, OF_TEXTS, summary, **facts)


def _pairs(name: str, summary: str, **facts: Any) -> DataSet:
    return DataSet(name, ("translation",), summary, PAIRS, "ablate.data.pairs:load_pairs", **facts)


def _rule(name: str, asks: str, guess: str | None = "symbols") -> DataSet:
    return DataSet(name, ("memory",), asks, asks=asks, guess=guess, source="generated")


def _group(name: str, asks: str, guess: float | str, *knobs: Knob) -> DataSet:
    return DataSet(name, ("state_tracking",), asks, asks=asks, guess=guess, knobs=knobs, source="generated")


for _set in (
    _text("auto", "The Time Machine where it can be had, else python_docs", stands_for_another=True),
    _text(
        "time_machine",
        "H. G. Wells, The Time Machine: the text of the course",
        size="170,580 characters after cleaning",
        source="Project Gutenberg, by way of d2l.ai",
        licence="public domain in the USA",
    ),
    _text(
        "python_docs",
        "the language reference that comes with Python",
        source="pydoc_data.topics of the Python that runs",
        licence="PSF-2.0",
    ),
    _text("text_file", "a text of your own", own_file=True, in_parts=True),
    _rule("copy", "repeat the symbols of a sequence once it has ended"),
    _rule("adding", "the sum of the two marked numbers of a sequence"),
    _rule("first-token", "the first symbol of a sequence, at its end"),
    _rule("skip", "the few symbols of a sequence in order, without the blanks between them"),
    _rule("reset", "a running count that starts again at each break", None),
    _group("parity", "whether the ones so far are odd in number", 1 / 2),
    _group(
        "modular",
        "the sum so far, modulo data.modulus",
        "modulus",
        Knob("modulus", int, 5, "what the sums are taken modulo", minimum=2),
    ),
    _group("s3", "the product so far of permutations of 3 things", 1 / 6),
    _group("s5", "the product so far of permutations of 5 things", 1 / 120),
    DataSet(
        "mnist1d",
        ("classification",),
        "MNIST-1D: digits as noisy curves, made by the package mnist1d",
        loader="ablate.data.labelled:load_mnist1d",
        guess=1 / 10,
        size="4,000 sequences of 40 numbers to train on, 1,000 to test",
        source="Greydanus and Kobak 2024, the package mnist1d",
        licence="Apache-2.0",
    ),
    DataSet(
        "labelled_file",
        ("classification",),
        "labelled sequences of numbers of your own, an .npz with x, y, x_test and y_test",
        loader="ablate.data.labelled:load_file",
        own_file=True,
    ),
    _pairs(
        "fra_eng",
        "English and French sentences",
        size="167,130 pairs",
        source="Tatoeba, by way of manythings.org and d2l.ai",
        licence="CC BY 2.0 FR",
    ),
    _pairs("number_pairs", "numbers written out in English and in French", source="generated"),
    _pairs("pair_file", "pairs of your own, with a tab between the two sentences", own_file=True),
):
    DATASETS.found[_set.name] = _set
