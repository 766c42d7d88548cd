"""Baselines without a network: against a plain Kneser–Ney over dictionaries, and facts by hand. CPU, 1 s."""

import math
import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from ablate.config.composing import compose
from ablate.config.resolved import resolve
from ablate.data.baselines import MOST_TOKENS, baselines, discounts, ngrams
from ablate.data.corpora import Corpus, of_blocks

TEXT = "the cat sat on the mat and the dog sat on the cat " * 3 + "a mat is on a dog and a cat is on the mat "


class Plain:
    """Interpolated modified Kneser–Ney as the equations have it: a context is a tuple, a count a dictionary's."""

    def __init__(self, tokens: Sequence[int], size: int) -> None:
        self.tokens, self.size = list(tokens), size

    def grams(self, n: int) -> list[tuple[int, ...]]:
        return [tuple(self.tokens[k : k + n]) for k in range(len(self.tokens) - n + 1)]

    def p(self, word: int, context: tuple[int, ...], top: bool = True) -> float:
        n = len(context) + 1
        below = self.p(word, context[1:], top=False) if context else 1 / self.size
        counts = Counter(self.grams(n) if top else (gram[1:] for gram in set(self.grams(n + 1))))
        after = {gram: count for gram, count in counts.items() if gram[:-1] == context}
        if not after:
            return below
        taken = discounts(np.array(list(counts.values())))
        total = sum(after.values())
        own = counts[(*context, word)]
        left = sum(taken[min(count, 3)] for count in after.values())
        return float((own - taken[min(own, 3)] + left * below) / total)


@pytest.fixture(scope="module")
def split() -> tuple[np.ndarray, np.ndarray, int]:
    numbers = {letter: number for number, letter in enumerate(sorted(set(TEXT)), 1)}
    ids = np.array([numbers[letter] for letter in TEXT], dtype=np.uint8)
    return ids[:150], ids[150:], len(numbers) + 1


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_equations(split: tuple[np.ndarray, np.ndarray, int], order: int) -> None:
    training, held_out, size = split
    found = list(ngrams(training, held_out, size))[order - 1]
    plain, read = Plain(training.tolist(), size), held_out.tolist()
    for k in range(1, len(read)):
        if k < order - 1:  # the context begins with the held-out tokens
            continue
        assert found[k - 1] == pytest.approx(plain.p(read[k], tuple(read[k - order + 1 : k])), rel=1e-12), k


@pytest.mark.parametrize("seed", range(5))
def test_they_add_up_to_one_after_any_context(seed: int) -> None:
    source = random.Random(seed)
    training = np.array(source.choices(range(1, 6), [8, 4, 2, 1, 1], k=source.choice([2, 9, 60])))
    context = source.choices(range(7), k=4)  # with tokens that were never trained on
    totals: dict[int, float] = defaultdict(float)
    for word in range(7):
        for order, own in enumerate(ngrams(training, np.array([*context, word]), 7), 1):
            assert own[-1] > 0
            totals[order] += float(own[-1])
    assert list(totals.values()) == pytest.approx([1.0] * 5)


def test_discounts_are_chen_and_goodmans_or_one_that_can_be_taken() -> None:
    assert discounts(np.array([1] * 10 + [2] * 5 + [3] * 2 + [4])) == pytest.approx([0, 0.5, 1.4, 2.0])
    assert discounts(np.array([1] * 10 + [2] * 5)).tolist() == [0, 0.5, 0.5, 0.5]
    assert discounts(np.array([7, 9])).tolist() == [0, 0.5, 0.5, 0.5]


def own_corpus(*knobs: str) -> Corpus:
    return of_blocks([TEXT], resolve(compose(["data=text_file", "data.path=a.txt", *knobs])).data)


def test_a_uniform_guess_and_a_compressor_by_hand() -> None:
    corpus = own_corpus()
    found = {one.name: one for one in baselines(corpus, 150, 40)}
    assert found["uniform"].val_perplexity == pytest.approx(len(corpus.vocabulary))
    assert found["uniform"].bits_per_character == pytest.approx(math.log2(len(corpus.vocabulary)))
    given, whole = (len(zlib.compress(TEXT[:end].encode(), 9)) for end in (151, 190))
    assert found["gzip"].bits_per_character == pytest.approx(8 * (whole - given) / 39)
    assert found["gzip"].val_perplexity == pytest.approx(2 ** (8 * (whole - given) / 39))
    assert list(found)[:3] == ["uniform", "unigram", "2-gram"]


def test_of_words_bits_are_shared_among_their_characters() -> None:
    corpus = own_corpus("data.tokens=word")
    one = next(one for one in baselines(corpus, 30, 15) if one.name == "unigram")
    characters = sum(len(word) + 1 for word in TEXT.split()[31:45])
    assert one.bits_per_character == pytest.approx(math.log2(one.val_perplexity) * 14 / characters)


@pytest.mark.parametrize(("training", "held_out"), [(10, 1), (0, 10), (MOST_TOKENS, 2)])
def test_of_too_little_or_too_much_there_are_none(training: int, held_out: int) -> None:
    assert baselines(own_corpus(), training, held_out) == []


@pytest.mark.full
def test_of_the_book(book: Corpus) -> None:

    found = {one.name: one.val_perplexity for one in baselines(book, 10_000, 10_000)}
    assert found["uniform"] == pytest.approx(28)
    assert 16 < found["unigram"] < 18.5  # 17.41 in the training text itself
    assert found["unigram"] > found["2-gram"] > found["3-gram"] > found["4-gram"] > 6
