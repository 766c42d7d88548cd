"""Perplexity and its tail against the formulas, by hand. CPU, under 1 s."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.metrics import perplexity, tail_perplexity


def test_perplexity_is_the_exponential_of_the_cross_entropy() -> None:
    assert perplexity(math.log(28)) == pytest.approx(28)
    assert perplexity(0.0) == 1


def test_what_overflows_is_infinite_and_nan_stays_nan() -> None:
    assert perplexity(710.0) == math.inf
    assert perplexity(math.inf) == math.inf
    assert math.isnan(perplexity(math.nan))


@pytest.mark.parametrize(("epochs", "averaged"), [(1, 1), (19, 1), (20, 1), (21, 2), (100, 5), (500, 25)])
def test_tail_is_the_last_twentieth_of_the_epochs_and_at_least_one(epochs: int, averaged: int) -> None:
    curve = [math.e] * (epochs - averaged) + [1.0] * averaged
    assert tail_perplexity(curve) == pytest.approx(1.0)
    if averaged < epochs:
        longer = [math.e] * (epochs - averaged) + [math.e] + [1.0] * (averaged - 1)
        assert tail_perplexity(longer) == pytest.approx(math.exp(1 / averaged))


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=120))
def test_tail_is_a_geometric_mean(curve: list[float]) -> None:
    last = curve[-max(1, -(-len(curve) // 20)) :]
    assert tail_perplexity(curve) == pytest.approx(np.prod(np.array(last)) ** (1 / len(last)), rel=1e-9)
