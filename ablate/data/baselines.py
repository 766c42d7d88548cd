"""What predicts a text without a network: uniform, n-grams, compressors, PPM. Facts of a text and of its split.

All are given the training tokens and score the held-out ones but the first, of which a network predicts nothing. No
knob of a network, no seed and no random number has a part in them.
"""

import bz2
import lzma
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ablate.data.corpora import Corpus
from ablate.data.ppm import bits_after
from ablate.data.vocabulary import Numbers

VERSION = 2
"""Raised when one of them is computed otherwise: stored ones of another version are computed again."""

HIGHEST_ORDER = 5
"""The longest n-grams: a token, and the four before it."""

MOST_TOKENS = 1_000_000
"""Of a longer text there are none: they are to take seconds, and memory for one text."""

MOST_CHARACTERS = 300_000
"""Of a longer text the contexts of PPM are not counted, for the same reason."""

PPM = "ppm"
"""Prediction by partial matching (`ablate.data.ppm`): what it would write, of which it writes nothing."""

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda text: zlib.compress(text, 9),
    "bzip2": lambda text: bz2.compress(text, 9),
    "xz": lambda text: lzma.compress(text, lzma.FORMAT_XZ),
}
"""By the programs that are known for them; gzip's looks back 32 KiB, whatever it has read."""


@dataclass(frozen=True)
class Baseline:
    """What one of them makes of the held-out text, and of the test text where there is one."""

    name: str
    val_perplexity: float
    """Per token, exp(mean nats): of a compressor from the length of what it wrote."""
    bits_per_character: float | None
    """None where it is not known how many characters the tokens cover."""
    test_perplexity: float | None = None
    test_bits_per_character: float | None = None


def baselines(corpus: Corpus, training: int, held_out: int, tested: int = 0) -> list[Baseline]:
    """Of the first `training` tokens of a text, the `held_out` ones after them and the `tested` ones after those, or of
    files of their own; none of too few or too many.
    """
    found = predicted(corpus, training, "valid", training, held_out)
    test = predicted(corpus, training, "test", training + held_out, tested)
    return [Baseline(name, *own, *test.get(name, (None, None))) for name, own in found.items()]


Predicted = tuple[float, float | None]
"""Perplexity per token, bits per character."""


def predicted(corpus: Corpus, training: int, part: str, start: int, held_out: int) -> dict[str, Predicted]:
    """What each makes of `held_out` tokens, from `start` of the text on or in the file of that part."""
    if held_out < 2 or training < 1 or training + held_out > MOST_TOKENS:
        return {}
    of, start = (corpus.parts[part], 0) if corpus.parts else (corpus, start)
    ids = np.concatenate([corpus.ids[:training], of.ids[start : start + held_out]])
    scored, characters = held_out - 1, None if of.unknown else of.covered(start + 1, start + held_out)

    def told(bits: float) -> Predicted:
        return 2 ** (bits / scored), bits / characters if characters else None

    found = {"uniform": told(scored * math.log2(len(corpus.vocabulary)))}
    for order, probabilities in enumerate(ngrams(ids[:training], ids[training:], len(corpus.vocabulary)), 1):
        name = "unigram" if order == 1 else f"{order}-gram"
        found[name] = told(-float(np.log2(probabilities).sum()))
    if of.unknown:  # what they would write is another text
        return found
    given, text = (corpus.decode(own.tolist()) for own in (ids[: training + 1], ids[training + 1 :]))
    text = corpus.separator + text
    first, both = (own.encode(errors="surrogatepass") for own in (given, given + text))
    for name, compress in COMPRESSORS.items():
        found[name] = told(8.0 * (len(compress(both)) - len(compress(first))))
    if len(given) + len(text) <= MOST_CHARACTERS:
        alphabet = len({*given, *text, *"".join(corpus.vocabulary.itos[1:])})
        found[PPM] = told(bits_after(given, text, alphabet))
    return found


def ngrams(training: Numbers, held_out: Numbers, size: int, highest: int = HIGHEST_ORDER) -> Iterator[np.ndarray]:
    """For each order from 1 to `highest` the probabilities of the held-out tokens but the first, (held out − 1,).

    Interpolated modified Kneser–Ney (Chen and Goodman 1999, section 3): the highest order by its counts, those below by
    the number of different tokens before them, the lowest mixed with the uniform distribution over `size` tokens. With
    h a context and h' the same without its first token,

        p(w | h) = (c(h w) − D(c(h w))) / c(h) + γ(h) p(w | h'),   γ(h) = Σ_w D(c(h w)) / c(h)

    and p(w | h) = p(w | h') after a context that the training has not. What comes before the held-out tokens is no
    context: at their beginning contexts are shorter.
    """
    tokens = np.concatenate([training, held_out]).astype(np.int64)
    n, after = len(training), np.arange(1, len(held_out))
    scored = n + after
    grams = [np.zeros(len(tokens), np.int64), tokens]  # of each order: the number of the n-gram that ends at each token
    while len(grams) <= highest + 1:
        grams.append(np.unique(grams[-1][np.arange(len(tokens)) - 1] * size + tokens, return_inverse=True)[1])
    lower = np.full(len(scored), 1 / size)  # p(w | h'), by the counts of what comes before
    for order in range(1, highest + 1):
        whole = after >= order - 1  # as long a context as that is within the held-out tokens
        ends = np.arange(order - 1, n)
        own = _mixed(grams, order, ends, np.ones(len(ends)), scored, lower)
        yield np.where(whole, own, lower)
        ends = np.arange(order, n)
        ends = ends[np.unique(grams[order + 1][ends], return_index=True)[1]]  # different ones, with a token before
        below = _mixed(grams, order, ends, np.ones(len(ends)), scored, lower)
        lower = np.where(whole, below, lower)


def _mixed(
    grams: list[np.ndarray], order: int, ends: np.ndarray, weights: np.ndarray, scored: np.ndarray, lower: np.ndarray
) -> np.ndarray:
    """p(w | h) at the tokens `scored`, of the n-grams of an order that end at `ends`, each counted by its weight."""
    gram, context = grams[order], grams[order - 1][np.arange(len(grams[0])) - 1]
    counts = np.bincount(gram[ends], weights, minlength=int(gram.max()) + 1)
    some, first = np.unique(gram[ends], return_index=True)
    of, seen = context[ends[first]], counts[some]  # the context of each different n-gram, and how often there is that
    taken = discounts(seen)[np.minimum(seen, 3).astype(np.int64)]
    size = int(context.max()) + 1
    total, kept_back = (np.bincount(of, values, minlength=size) for values in (seen, taken))
    discounted = np.zeros(len(counts))
    discounted[some] = seen - taken
    h = context[scored]
    with np.errstate(invalid="ignore"):
        mixed = (discounted[gram[scored]] + kept_back[h] * lower) / total[h]
    return np.where(total[h] > 0, mixed, lower)


def discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken from a count of 0, 1, 2 and of 3 or more, (4,), by how many n-grams have each count from 1 to 4.

    Where these do not give what can be taken, as of few n-grams, plain Kneser–Ney's one discount, or a half.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == k)) for k in (1, 2, 3, 4))
    if not n1 or not n2:
        return np.array([0, 0.5, 0.5, 0.5])
    y = n1 / (n1 + 2 * n2)
    found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3 if n3 else -1])
    usable = bool(np.all(found[1:] > 0) and np.all(found <= np.arange(4)))
    return found if usable else np.array([0, y, y, y])
