"""The signed-rank test against all sign flips, scipy and a printed table; its interval against its p. CPU, 3 s."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.stats import RatioTest, paired_ratio
from ablate.stats.signed_rank import EXACT_UP_TO, invert, least_pairs, tails, walsh_averages

INF = math.inf


def by_flipping(differences: list[float]) -> tuple[float, float]:
    """P(W ≤ w) and P(W ≥ w) over all 2ⁿ signs of the ranks that pandas gives the magnitudes."""
    kept = [d for d in differences if d != 0]
    ranks = pd.Series([abs(d) for d in kept]).rank().to_numpy()
    w = sum(rank for rank, d in zip(ranks, kept, strict=True) if d > 0)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(kept))]
    return (sum(s <= w for s in sums) / len(sums), sum(s >= w for s in sums) / len(sums))


@pytest.mark.parametrize(
    "differences",
    [
        [1.0],
        [0.5, -0.25, 2.0],
        [1, 1, -1, 2, 3],
        [1, -1, 2, -2],
        [0, 0, 1, 2, -3, 4, 5, 6],
        [INF, 1, 2, -3, 4],
        [INF, INF, -INF, 1, -2, 3, 3],
        [-INF, -INF, -INF, -INF, -INF, -INF],
        [-0.3, 0.1, 0.1, 0.1, -0.2, 0.7, 0.7, 1.1, 0.05, -0.05],
        [0, 0, 0],
        [],
    ],
)
def test_exact_against_all_sign_flips(differences: list[float]) -> None:
    assert tails(np.array(differences, dtype=float)) == pytest.approx(by_flipping(differences))


def test_what_is_equal_on_paper_is_a_tie() -> None:
    """log 4 − log 2 and log 2 − log 1 differ in the last bit only."""
    differences = np.log([4, 2, 0.3, 10]) - np.log([2, 1, 0.6, 5])
    assert tails(differences) == pytest.approx(by_flipping([1, 1, -1, 1]))


@pytest.mark.parametrize("n", [6, 13, EXACT_UP_TO, EXACT_UP_TO + 1, 200])
def test_against_scipy(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.2, 1, n)
    method = "exact" if n <= EXACT_UP_TO else "auto"  # normal in every scipy
    for tail, alternative in zip(tails(differences), ("less", "greater"), strict=True):
        expected = stats.wilcoxon(differences, alternative=alternative, method=method, correction=True).pvalue
        assert tail == pytest.approx(expected, rel=1e-9)


def test_normal_and_exact_meet() -> None:
    differences = np.random.default_rng(3).normal(0.3, 1, EXACT_UP_TO + 1)
    exact = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert tails(differences)[1] == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize(("n", "critical"), [(6, 0), (7, 2), (8, 3), (10, 8), (15, 25), (20, 52), (25, 89)])
def test_against_the_printed_table(n: int, critical: int) -> None:
    """Wilcoxon's critical values, two-sided 5 %: the largest rank sum of the rarer sign that is significant."""

    def p(rank_sum: int) -> float:
        """Two-sided, where the negative differences have this rank sum."""
        left, signs = rank_sum, np.ones(n)
        for rank in range(n, 0, -1):
            if rank <= left:
                signs[rank - 1], left = -1, left - rank
        return 2 * tails(signs * np.arange(1, n + 1))[1]

    assert p(critical) <= 0.05 < p(critical + 1)


@pytest.mark.parametrize(("level", "n"), [(0.95, 6), (0.9, 5), (0.99, 8), (0.8, 4)])
def test_least_pairs(level: float, n: int) -> None:
    rejects = [2 * tails(np.ones(k))[1] <= 1 - level for k in (n - 1, n)]
    assert rejects == [False, True]
    assert least_pairs(level) == n


def test_walsh_averages() -> None:
    assert list(walsh_averages(np.array([1.0, 2.0, 4.0]))) == [1, 1.5, 2, 2.5, 3, 4]
    assert list(walsh_averages(np.array([-INF, 1.0, INF]))) == [-INF, -INF, 1, INF, INF]


def test_an_inverted_step_function() -> None:
    """p rises from 0.01 to 0.2 at 3 and falls back at 7."""
    interval = invert(
        np.array([3.0, 7.0]), lambda x: 0.2 if x < 7 else 0.01, lambda x: 0.01 if x < 3 else 0.2, level=0.95
    )
    assert interval == (3, 7)
    assert invert(np.array([3.0]), lambda _: 1.0, lambda _: 1.0, level=0.95) == (-INF, INF)


def test_the_interval_of_darwins_maize() -> None:
    """Cross- against self-fertilised maize in eighths of an inch (Darwin 1876; Fisher 1935): differences of 15 pairs.

    For n = 15, P(W ≤ 25) = 0.0240, so that the 95 % interval runs from the 26th to the 95th of 120 Walsh averages.
    """
    differences = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]) / 100
    averages = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(differences, 2))
    a, b = pd.Series(np.exp(differences)), pd.Series(np.ones(15))
    test = paired_ratio(a, b)
    assert test.ratio == pytest.approx(np.exp(np.median(averages)))
    assert (test.low, test.high) == pytest.approx((np.exp(averages[25]), np.exp(averages[94])))
    assert test.p() == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def agree(test: RatioTest) -> None:
    """A bound is rejected exactly where it lies outside the interval."""
    alpha = (1 - test.level) / 2
    ends = [end for end in (test.low, test.high) if 0 < end < INF]
    inside = [end * (1 + side * 1e-6) for end, side in zip((test.low, test.high), (1, -1), strict=True) if end in ends]
    outside = [end * (1 + side * 1e-6) for end, side in zip((test.low, test.high), (-1, 1), strict=True) if end in ends]
    for bound in inside:
        assert min(test.p_below(bound), test.p_above(bound)) > alpha
    for bound in outside:
        assert min(test.p_below(bound), test.p_above(bound)) <= alpha


@pytest.mark.parametrize("n", [6, 7, 12, 40, 60])
def test_interval_and_p_agree(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        a, b = (pd.Series(np.exp(rng.normal(size=n))) for _ in range(2))
        agree(paired_ratio(a, b, level=rng.choice([0.8, 0.95])))
        # Few different values, and some that diverged: ties everywhere.
        coarse = [pd.Series(np.exp(rng.integers(0, 4, n).astype(float))) for _ in range(2)]
        coarse[0][rng.random(n) < 0.2] = INF
        agree(paired_ratio(*coarse))
