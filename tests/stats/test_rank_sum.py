"""The rank-sum test against all ways to divide the ranks, and scipy; its interval against its p. CPU, 2 s."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from ablate.stats import difference, ratio
from ablate.stats.independent import two_samples
from ablate.stats.rank_sum import EXACT_UP_TO, least_p, tails

INF = math.inf


def by_dividing(a: list[float], b: list[float]) -> tuple[float, float]:
    """P(W ≤ w) and P(W ≥ w) over all ways to give len(a) of scipy's ranks to the first sample."""
    ranks = stats.rankdata([*a, *b])
    w = ranks[: len(a)].sum()
    sums = np.array([sum(some) for some in itertools.combinations(ranks, len(a))])
    return float(np.mean(sums <= w)), float(np.mean(sums >= w))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1.0], [2.0]),
        ([1, 2, 5], [3, 4]),
        ([1, 1, 2, INF], [1, 2, 2, 3, INF]),
        ([INF, INF, INF], [1, 2, 3]),
        ([-INF, -INF, 0.5], [0.5, 0.5, 0.9, 0.9]),
        ([1, 1, 1, 1], [1, 1, 1]),
        ([2, 2, 2, 2, 2, 2], [1, 1, 1, 1]),
    ],
)
def test_exact_against_all_divisions(a: list[float], b: list[float]) -> None:
    assert tails(np.array(a), np.array(b)) == pytest.approx(by_dividing(a, b))


@pytest.mark.parametrize(("m", "n"), [(3, 4), (6, 6), (7, 5), (10, 20), (EXACT_UP_TO // 2, EXACT_UP_TO // 2)])
def test_against_scipy(m: int, n: int) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.normal(0.3, 1, m), rng.normal(0, 1, n)
    for tail, alternative in zip(tails(a, b), ("less", "greater"), strict=True):
        assert tail == pytest.approx(
            stats.mannwhitneyu(a, b, alternative=alternative, method="exact").pvalue, rel=1e-12
        )


@pytest.mark.parametrize("decimals", [None, 0])
def test_of_many_runs_it_is_normal_as_in_scipy(decimals: int | None) -> None:
    rng = np.random.default_rng(9)
    a, b = rng.normal(0.3, 1, 50), rng.normal(0, 1, 40)
    a, b = (a, b) if decimals is None else (np.round(a), np.round(b))
    for tail, alternative in zip(tails(a, b), ("less", "greater"), strict=True):
        assert tail == pytest.approx(
            stats.mannwhitneyu(a, b, alternative=alternative, method="asymptotic").pvalue, rel=1e-9
        )


@pytest.mark.parametrize(("runs", "name"), [(30, "exact"), (31, "normal approximation")])
def test_which_of_the_two_it_is(runs: int, name: str) -> None:
    """Up to 60 runs in all the distribution is counted out, and the test says so."""
    a, b = np.append(np.arange(29.0), math.inf), np.arange(float(runs)) + 0.3
    test = two_samples(a, b)
    assert f", {name}:" in test.method
    method = "exact" if name == "exact" else "asymptotic"
    assert test.p_below() == pytest.approx(stats.mannwhitneyu(a, b, alternative="less", method=method).pvalue, rel=1e-9)


def test_nothing_to_rank() -> None:
    assert tails(np.array([]), np.array([1.0])) == (1, 1)


def test_least_p() -> None:
    assert least_p(6, 6) == pytest.approx(2 / 924) == 2 * tails(np.arange(6.0), np.arange(6.0) + 10)[0]
    assert least_p(1, 1) == 1


@pytest.mark.parametrize("n", [4, 6, 12])
def test_interval_and_p_agree(n: int) -> None:
    """Runs that diverged, and ties everywhere: a bound is rejected exactly where it lies outside the interval."""
    rng = np.random.default_rng(n)
    for _ in range(20):
        a, b = rng.integers(0, 5, n).astype(float), rng.integers(0, 5, n).astype(float)
        a[0] = INF
        test = difference(a, b)
        assert "rank sum" in test.method
        for end, side in ((test.low, 1), (test.high, -1)):
            if math.isfinite(end):
                inside, outside = end + side * 1e-6, end - side * 1e-6
                assert min(test.p_below(inside), test.p_above(inside)) > 0.025
                assert min(test.p_below(outside), test.p_above(outside)) <= 0.025


def test_all_runs_of_one_setting_diverged() -> None:
    test = ratio([INF] * 6, [1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
    assert (test.ratio, test.low, test.high) == (INF, INF, INF)
    assert test.p_above(1000) == pytest.approx(1 / 924)
