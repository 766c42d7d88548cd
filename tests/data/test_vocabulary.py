"""Vocabulary: numbers by falling count, ties first-seen, against an independent sort. CPU, under 1 s."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.data.vocabulary import UNKNOWN, Vocabulary

tokens_of = st.lists(st.sampled_from(["a", "b", "c", "dd", "é", " "]), max_size=40)


def test_order_is_by_falling_count_and_ties_are_first_seen() -> None:
    assert Vocabulary("cabbage").itos == [UNKNOWN, "a", "b", "c", "g", "e"]


@pytest.mark.full
@given(tokens_of)
def test_order_equals_an_independent_sort(tokens: list[str]) -> None:
    expected = sorted(set(tokens), key=lambda token: (-tokens.count(token), tokens.index(token)))
    assert Vocabulary(tokens).itos == [UNKNOWN, *expected]


@given(tokens_of)
def test_decoding_undoes_encoding(tokens: list[str]) -> None:
    vocabulary = Vocabulary(tokens)
    ids = vocabulary.encode(tokens)
    assert vocabulary.decode(ids) == tokens
    assert all(0 < index < len(vocabulary) for index in ids)


def test_what_the_text_lacks_is_number_0() -> None:
    assert Vocabulary("abc").encode("azb") == [1, 0, 2]


def test_the_word_unk_in_a_text_is_number_0_and_stands_once() -> None:
    vocabulary = Vocabulary(["a", UNKNOWN, UNKNOWN, "b"])
    assert vocabulary.itos == [UNKNOWN, "a", "b"]
    assert vocabulary.encode([UNKNOWN]) == [0]
