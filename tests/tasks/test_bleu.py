"""BLEU: the published figures, what the course leaves undefined, and a corpus by hand. CPU, 1 s."""

import math
import sys

import pytest

from ablate.config.errors import ConfigError
from ablate.tasks.bleu import corpus_bleu, require_sacrebleu, sentence_bleu


@pytest.mark.parametrize(
    ("prediction", "reference", "k", "bleu"),
    [
        ("il est riche .", "il est calme .", 2, 0.65804),
        ("je suis en retard ?", "je suis chez moi .", 2, 0.44721),
        ("a a", "a b", 1, 0.70711),
    ],
)
def test_published_values(prediction: str, reference: str, k: int, bleu: float) -> None:
    assert sentence_bleu(prediction, reference, k) == pytest.approx(bleu, abs=5e-6)


def test_it_is_defined_for_every_prediction() -> None:
    assert sentence_bleu("", "va !") == 0
    assert sentence_bleu("va", "va !") == pytest.approx(math.exp(-1))  # no 2-gram: p_1 alone, and the brevity penalty
    assert sentence_bleu("chat", "va !") == 0
    assert sentence_bleu("va !", "va !") == sentence_bleu("va", "va", 4) == 1
    assert sentence_bleu("va va va !", "va !") == pytest.approx(
        math.sqrt(2 / 4) * (1 / 3) ** 0.25
    )  # longer: no penalty


def test_a_corpus_takes_the_best_of_several_references_and_pools_the_counts() -> None:
    predictions = {"x": "le chat dort ici ce soir", "y": "il est là ."}
    references = {"x": ["le chien dort", "le chat dort ici"], "y": ["il est là ."]}
    found = corpus_bleu(predictions, references)
    precisions = (8 / 10, 6 / 8, 4 / 6, 2 / 4)  # of 1-, 2-, 3- and 4-grams of both sentences together
    assert found == pytest.approx(100 * math.prod(precisions) ** 0.25)
    assert corpus_bleu({"y": "il est là ."}, {"y": ["il est là ."]}) == pytest.approx(100)


def test_without_sacrebleu_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(ConfigError, match=r"^[^\n]*pip install sacrebleu[^\n]*val_pairs=0\)$"):
        require_sacrebleu()
