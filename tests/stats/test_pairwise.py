"""Many pairs at once against each pair by itself: `pairwise_ratios`, `pairwise_differences`, `pairwise_improvements`.

Samples have ties, no spread, diverged runs, other seeds, few values or none: whatever a sweep can bring.
"""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablate.stats import (
    difference,
    pairwise_differences,
    pairwise_improvements,
    pairwise_ratios,
    probability_of_improvement,
    ratio,
)

DRAWS = np.random.default_rng(3)


def sample(values: np.ndarray, first_seed: int = 0) -> pd.Series:
    return pd.Series(values, pd.RangeIndex(first_seed, first_seed + len(values)), dtype=float)


SAMPLES = {
    "ten": sample(np.exp(DRAWS.standard_normal(10))),
    "ten more": sample(1.3 * np.exp(DRAWS.standard_normal(10))),
    "the same ten": sample(np.exp(np.random.default_rng(3).standard_normal(10))),
    "some of the same": sample(np.exp(np.random.default_rng(3).standard_normal(10))[3:], 3),
    "other seeds": sample(np.exp(DRAWS.standard_normal(7)), 40),
    "ties": sample(np.round(np.exp(DRAWS.standard_normal(12)), 0) + 1),
    "more ties": sample(np.array([1.0, 1.0, 2.0, 2.0, 2.0, 3.0])),
    "alike": sample(np.full(5, 2.0)),
    "alike, too": sample(np.full(6, 3.0)),
    "one": sample(np.array([1.5])),
    "another": sample(np.array([2.5])),
    "none": sample(np.array([])),
    "diverged": sample(np.array([1.0, 1.2, np.inf, 1.1])),
    "all diverged": sample(np.full(3, np.inf)),
    "forty": sample(np.exp(0.1 * DRAWS.standard_normal(40))),
    "a hundred": sample(np.exp(0.1 * DRAWS.standard_normal(100))),
    "far away": sample(100 + DRAWS.random(8)),
}
PAIRS = list(product(SAMPLES, SAMPLES))
NUMBERS = ("estimate", "low", "high", "n", "rank_p", "rank_least_p")


@pytest.mark.full
@pytest.mark.parametrize("level", [0.95, 0.8])
@pytest.mark.parametrize(("at_once", "alone"), [(pairwise_ratios, ratio), (pairwise_differences, difference)])
def test_every_pair_has_what_it_has_alone(at_once: Any, alone: Any, level: float) -> None:
    found = at_once(SAMPLES, PAIRS, level)
    needed = found.needed(1 - (1 - level) / 10)
    for place, (one, other) in enumerate(PAIRS):
        test = alone(SAMPLES[one], SAMPLES[other], level)
        expected = {name: getattr(test, name) for name in NUMBERS} | {"p": test.p()}
        told = {name: getattr(found, name)[place] for name in expected}
        assert told == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True), (one, other)
        assert found.method[place] == test.method
        assert needed[place] == test.at(1 - (1 - level) / 10).needed(), (one, other)


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_every_improvement_is_that_of_the_pair_alone(better: str) -> None:
    expected = [probability_of_improvement(SAMPLES[one], SAMPLES[other], better) for one, other in PAIRS]
    np.testing.assert_array_equal(pairwise_improvements(SAMPLES, PAIRS, better), expected)


def test_a_fact_is_no_test() -> None:
    """Settings that are the same seed by seed, among others that are not: no p, and nothing that would decide it."""
    found = pairwise_ratios(SAMPLES, [("ten", "ten more"), ("ten", "the same ten"), ("ten", "some of the same")])
    assert list(np.isnan(found.p)) == [False, True, True]
    assert found.needed(0.95)[1:] == [None, None]


def test_no_pairs() -> None:
    found = pairwise_ratios({}, [])
    assert len(found.p) == 0
    assert found.needed(0.95) == []
    assert len(pairwise_improvements({}, [])) == 0
