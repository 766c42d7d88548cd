"""Differences of metrics that may be 0: as scipy tests them, with ties, zeros and diverged runs. CPU, 1 s."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.stats import difference, difference_contrast, paired_difference, paired_ratio, ratio

INF = math.inf


def test_as_scipy_has_it() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.uniform(0.5, 1, 12), rng.uniform(0, 0.6, 9)
    test = difference(a, b)
    expected = stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert test.p() == pytest.approx(expected.pvalue, rel=1e-12)
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high))
    assert test.difference == pytest.approx(a.mean() - b.mean())
    assert test.means == pytest.approx((a.mean(), b.mean()))
    assert test.rank_p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue, rel=1e-12)
    assert test.n == 9
    shifted = stats.ttest_ind(a, b + 0.3, equal_var=False, alternative="greater")
    assert test.p_above(0.3) == pytest.approx(shifted.pvalue, rel=1e-12)


def test_paired_as_scipy_has_it() -> None:
    rng = np.random.default_rng(2)
    a, b = pd.Series(rng.uniform(0.5, 1, 12)), pd.Series(rng.uniform(0, 0.6, 12))
    test = paired_difference(a, b)
    assert test.p_above() == pytest.approx(stats.wilcoxon(a - b, alternative="greater").pvalue)
    assert test.p_below() == pytest.approx(stats.wilcoxon(a - b, alternative="less").pvalue)
    assert test.p_above(0.3) == pytest.approx(stats.wilcoxon(a - b - 0.3, alternative="greater").pvalue)
    averages = [(x + y) / 2 for i, x in enumerate(a - b) for y in list(a - b)[i:]]
    assert test.difference == pytest.approx(np.median(averages))


@pytest.mark.parametrize("paired", [False, True])
def test_its_interval_is_what_the_test_does_not_reject(paired: bool) -> None:
    rng = np.random.default_rng(3)
    a, b = pd.Series(rng.normal(0.7, 0.1, 9)), pd.Series(rng.normal(0.5, 0.1, 9))
    test = paired_difference(a, b) if paired else difference(a, b)
    step = 1e-6
    assert test.p_above(test.low + step) > 0.025 >= test.p_above(test.low - step)
    assert test.p_below(test.high - step) > 0.025 >= test.p_below(test.high + step)


@pytest.mark.parametrize("paired", [False, True])
def test_a_difference_is_the_logarithm_of_a_ratio_of_exponentials(paired: bool) -> None:
    rng = np.random.default_rng(4)
    a, b = pd.Series(rng.normal(0, 1, 10)), pd.Series(rng.normal(0.5, 1, 10))
    apart = (paired_difference if paired else difference)(a, b)
    times = (paired_ratio if paired else ratio)(np.exp(a), np.exp(b))
    assert apart.difference == pytest.approx(math.log(times.ratio))
    assert (apart.low, apart.high) == pytest.approx((math.log(times.low), math.log(times.high)))
    for bound in (0.0, 0.4, -1.0):
        assert apart.p_below(bound) == pytest.approx(times.p_below(math.exp(bound)))
        assert apart.needed(bound) == times.needed(math.exp(bound))


def test_pairs_are_of_seeds_that_both_have() -> None:
    a = pd.Series([0.9, 0.8, 0.7], index=[0, 1, 2])
    b = pd.Series([0.1, 0.3, 0.9], index=[2, 1, 5])
    test = paired_difference(a, b)
    assert test.n == 2
    assert test.means == pytest.approx((0.75, 0.2))
    assert (test.low, test.high) == (-math.inf, math.inf)
    assert difference(a, b).means == pytest.approx((0.8, 1.3 / 3))  # of samples, all


def test_equal_at_the_top_tells_nothing_of_order_and_all_of_equivalence() -> None:
    """A ceiling that both reach is no fact of equal training: the exact rank test, here of 8 runs each."""
    few = pd.Series([0.9, 0.8, 0.7])  # by chance, of few examples
    assert not difference(few, few.copy()).is_fact
    ones = pd.Series([1.0] * 8)
    test = difference(ones, ones)
    assert not test.is_fact
    assert (test.difference, test.low, test.high, test.p_above(), test.p_below()) == (0, 0, 0, 1, 1)
    assert test.needed() is None
    assert test.p_below(0.05) == test.p_above(-0.05) == pytest.approx(1 / math.comb(16, 8))


def test_a_diverged_run_is_worse_than_any_other() -> None:
    fine, broken = [0.5, 0.6, 0.55, 0.7, 0.65, 0.62], [-INF] * 6
    test = difference(fine, broken)
    assert test.difference == INF
    assert test.p_above() == pytest.approx(1 / 924)
    assert test.means[0] == pytest.approx(np.mean(fine))
    assert math.isnan(test.means[1])
    assert "rank sum" in test.method
    both = difference(broken, broken)
    assert (both.n, both.p_above(), both.p_below()) == (6, 1, 1)


def test_a_sum_of_means_is_that_of_its_values() -> None:
    """Values from 0 to 1; with diverged runs, which are below any other, the signed-rank test of the sums by seed."""
    rng = np.random.default_rng(7)
    settings = {name: pd.Series(rng.uniform(size=9)) for name in "abc"}
    test = difference_contrast({"a": 1.0, "b": -0.5, "c": -0.5}, settings)
    assert test.difference == pytest.approx(settings["a"].mean() - settings["b"].mean() / 2 - settings["c"].mean() / 2)
    one_lost = settings | {"b": settings["b"].replace(settings["b"][3], -INF)}
    expected = settings["a"] - settings["c"]
    ranks = difference_contrast({"a": 1.0, "c": -1.0, "b": 1e-9}, one_lost)
    assert ranks.n == 9
    assert ranks.p_below(2) == pytest.approx(
        stats.wilcoxon((expected - 2).where(expected.index != 3, -9), alternative="less").pvalue
    )
    broken = settings | {"b": pd.Series([-INF] * 9)}
    assert difference_contrast({"a": 1.0, "b": -0.5, "c": -0.5}, broken).difference == INF
    assert difference_contrast({"a": 1.0, "b": 0.5, "c": -0.5}, broken).difference == -INF
