"""Ranks and Kendall's τ-b against scipy.stats, which takes half a second to load. Needs nothing."""

import numpy as np
import pytest
from scipy import stats

from ablate.stats.ranks import kendall_tau_b, ranks

RNG = np.random.default_rng(0)
ROWS = {
    "apart": RNG.normal(size=(40, 17)),
    "tied": RNG.integers(0, 4, size=(40, 17)).astype(float),
    "equal": np.ones((2, 5)),
    "one": RNG.normal(size=(3, 1)),
    "infinite": np.array([[np.inf, 1.0, np.inf, -np.inf]]),
    "unknown": np.array([[1.0, np.nan, 1.0], [2.0, 1.0, 2.0]]),
}


@pytest.mark.parametrize("name", ROWS)
def test_ranks_are_those_of_scipy(name: str) -> None:
    np.testing.assert_array_equal(ranks(ROWS[name]), stats.rankdata(ROWS[name], axis=1))


@pytest.mark.parametrize("name", ["apart", "tied"])
def test_tau_is_that_of_scipy(name: str) -> None:
    for a, b in zip(ROWS[name], ROWS[name][::-1], strict=True):
        assert kendall_tau_b(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)


def test_without_an_order_there_is_no_tau() -> None:
    assert np.isnan(kendall_tau_b(np.ones(5), np.arange(5.0)))
