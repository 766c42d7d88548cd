"""How well sentences are translated: the course's BLEU of one sentence, and the corpus BLEU that others report."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ablate.config.errors import ConfigError

PUBLISHED_ORDER = 2
"""The longest n-grams of the published BLEU figures."""


def sentence_bleu(prediction: str, reference: str, k: int = PUBLISHED_ORDER) -> float:
    """BLEU(k) = exp(min(0, 1 − length of reference / length of prediction)) · Π_{n=1..k} p_n^(1/2^n), from 0 to 1.

    p_n is the share of the prediction's n-grams that the reference has, each as often as it has it. n goes no further
    than the prediction is long; an empty prediction has 0. Not the BLEU of Papineni et al. 2002, whose p_n weigh the
    same: neither figure can stand for the other.
    """
    predicted, wanted = prediction.split(), reference.split()
    if not predicted:
        return 0.0
    score = math.exp(min(0.0, 1 - len(wanted) / len(predicted)))
    for n in range(1, min(k, len(predicted)) + 1):
        ngrams = _ngrams(predicted, n)
        score *= ((ngrams & _ngrams(wanted, n)).total() / ngrams.total()) ** (0.5**n)
    return score


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def corpus_bleu(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> float:
    """BLEU of a corpus (Papineni et al. 2002) by sacrebleu, from 0 to 100: prediction and references of each source.

    Sentences are cut into words already, so that nothing is cut here: sacrebleu's tok:none, smooth:exp.
    """
    count = max(map(len, references.values()))
    streams = [[own[k] if k < len(own) else None for own in references.values()] for k in range(count)]
    scored = _sacrebleu().corpus_score([predictions[source] for source in references], streams)
    return float(scored.score)


def require_sacrebleu() -> None:
    """Raise ConfigError where sacrebleu is missing: before a training, not after it."""
    _sacrebleu()


def _sacrebleu() -> Any:
    # Imported only where held-out translations are scored.
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ConfigError(
            "held-out translations are scored by sacrebleu, which is not installed; "
            "pip install sacrebleu, or hold no pairs out (task.val_pairs=0)"
        ) from error
    return BLEU(tokenize="none", force=True)
