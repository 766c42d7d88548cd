"""Prediction by partial matching: against the worked example of its paper, and as a distribution. CPU, 0.1 s."""

import math
import random

import pytest

from ablate.data.ppm import Counts, bits_after


@pytest.fixture
def abracadabra() -> Counts:
    counts = Counts(order=2)
    counts.add("abracadabra")
    return counts


@pytest.mark.parametrize(
    ("symbol", "probability"),
    [("c", 1 / 2), ("d", 1 / 2 * 1 / 6), ("t", 1 / 2 * 3 / 6 * 5 / 12 * 1 / 251)],
)
def test_the_table_of_the_paper(abracadabra: Counts, symbol: str, probability: float) -> None:
    """Cleary, Teahan and Witten (1995), tables 1 and 2: what follows abracadabra, of 256 symbols."""
    assert abracadabra.after["a"] == {"b": 2, "c": 1, "d": 1}
    assert abracadabra.after[""] == {"a": 5, "b": 2, "r": 2, "c": 1, "d": 1}
    assert abracadabra.bits(symbol, "abracadabra", 256) == pytest.approx(-math.log2(probability))


@pytest.mark.parametrize("seed", range(3))
def test_after_any_context_the_symbols_share_one(seed: int) -> None:
    source = random.Random(seed)
    counts = Counts()
    counts.add("".join(source.choices("abcde", [8, 4, 2, 1, 1], k=200)))
    for before in ("", "ab", "zz", "abcab", "".join(source.choices("abcde", k=5))):
        total = sum(2 ** -counts.bits(symbol, before, 8) for symbol in "abcdefgh")
        assert total == pytest.approx(1)


def test_a_text_costs_what_its_symbols_cost_one_after_the_other() -> None:
    counts, total = Counts(), 0.0
    counts.add("banana ")
    whole = "banana "
    for symbol in "bandana":
        total += counts.bits(symbol, whole, 27)
        whole += symbol
        counts = Counts()
        counts.add(whole)
    assert bits_after("banana ", "bandana", 27) == pytest.approx(total)
    assert bits_after("", "a", 27) == pytest.approx(math.log2(27))
