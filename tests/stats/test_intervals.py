"""Interquartile means, bootstrap intervals, Holm's correction, probability of improvement: by hand. CPU, 2 s."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.stats import (
    bootstrap_interval,
    bootstrap_means,
    holm,
    iqm,
    outlying,
    probability_of_improvement,
    share_interval,
    t_interval,
)

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([100, 2, 1, 3], 2.5),
        ([9, 1, 2, 3, 4, 5, 6, 7], 4.5),
        ([1, 2, 6], 3),
        ([1, 50, 2, 3, 4], 3),
        ([5], 5),
    ],
)
def test_interquartile_mean(values: list[float], mean: float) -> None:
    assert iqm(values) == mean
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_interquartile_mean_of_rows_and_of_nothing() -> None:
    assert list(iqm([[1, 2, 3, 100], [0, 0, 4, 4]])) == [2.5, 2]
    assert list(iqm([[1, 0], [2, 0], [3, 4], [100, 4]], axis=0)) == [2.5, 2]
    assert math.isnan(iqm([]))


def test_bootstrap_by_all_resamples() -> None:
    """The means of all 6⁶ resamples, and their quantiles, widened as Hesterberg expands them."""
    values = [6.0, 1.0, 2.0, 8.0, 0.5, 3.0]
    means = [sum(drawn) / 6 for drawn in itertools.product(values, repeat=6)]
    tail = stats.norm.cdf(-math.sqrt(6 / 5) * stats.t.ppf(0.9, 5))
    expected = np.quantile(means, [tail, 1 - tail])
    assert bootstrap_interval(values, level=0.8, draws=50_000) == pytest.approx(expected, rel=0.02)


def test_bootstrap_of_any_statistic_is_seeded() -> None:
    values = np.random.default_rng(0).normal(size=15)
    median = bootstrap_interval(values, np.median)
    assert median == bootstrap_interval([*values, NAN], np.median)
    mean = bootstrap_interval(values)
    assert mean == bootstrap_interval(values, rng=np.random.default_rng(0))
    assert mean != bootstrap_interval(values, rng=np.random.default_rng(1))
    low, high = bootstrap_interval(values, iqm)
    assert low < iqm(values) < high
    assert bootstrap_interval([3.0] * 6) == (3, 3)


@pytest.mark.parametrize("n", [0, 1, 3, 5])
def test_no_bootstrap_of_a_few(n: int) -> None:
    """With 3 values an interval of 95 % covers 76 %: none is better."""
    values = np.arange(float(n))
    assert np.isnan(bootstrap_interval(values)).all()
    assert np.isnan(bootstrap_means(values[None])).all()


@pytest.mark.parametrize("n", [6, 11])
def test_all_settings_at_once_are_each_by_itself(n: int) -> None:
    rows = np.random.default_rng(n).lognormal(size=(1001, n))
    together = bootstrap_means(rows, level=0.9)
    assert together.shape == (1001, 2)
    for k in (0, 499, 500, 1000):
        assert together[k] == pytest.approx(bootstrap_interval(rows[k], level=0.9))


@pytest.mark.parametrize("n", [6, 20])
def test_coverage_of_the_bootstrap(n: int) -> None:
    """The interval of a mean of n normal values holds it in 95 % of samples, give or take 3 %."""
    intervals = bootstrap_means(np.random.default_rng(n).normal(2, 1, (2000, n)))
    assert np.mean((intervals[:, 0] <= 2) & (intervals[:, 1] >= 2)) == pytest.approx(0.95, abs=0.03)


def test_t_interval_is_scipys() -> None:
    values = np.random.default_rng(2).normal(size=7)
    expected = stats.t.interval(0.9, 6, values.mean(), stats.sem(values))
    assert t_interval(values, 0.9) == pytest.approx(expected, rel=1e-12)
    for few in ([], [2.0], [1.0, INF]):
        assert np.isnan(t_interval(few)).all()


@pytest.mark.parametrize(("count", "n"), [(0, 6), (6, 6), (5, 6), (13, 40)])
def test_share_interval_is_scipys(count: int, n: int) -> None:
    exact = stats.binomtest(count, n).proportion_ci(0.95, "exact")
    assert share_interval(count, n) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert np.isnan(share_interval(0, 0)).all()


@pytest.mark.parametrize(
    ("values", "outside"),
    [
        ([1.0, 1.1, 0.9, 1.05, 9.0], [4]),
        ([1.0, 1.1, 0.9, 1.05, 1.2], []),
        ([1.0, 1.1, 0.9, 1.05, INF, NAN], [4]),
        ([1.0, 1.0, 1.0, 1.0, 2.0], []),  # a group without a spread has no measure of distance
        ([1.0, 50.0, 2.0], []),  # of three none can be told from the others
        ([-5.0, 0.5, 0.51, 0.52, 0.5], [0]),
    ],
)
def test_runs_outside_their_group(values: list[float], outside: list[int]) -> None:
    assert list(np.flatnonzero(outlying(values))) == outside


def test_a_run_lies_outside_at_five_scaled_deviations() -> None:
    """Around a median of 0 the deviations 1, 1, 2, 2 and that of the last have a median of 2 (with 0: 1.5)."""
    group = [-2.0, -1.0, 0.0, 1.0, 2.0]
    scale = 1.4826 * 1.5  # of 0 1 1 2 2 x, around a median of 0.5: 0.5 0.5 1.5 1.5 2.5 …
    assert not outlying([*group, 0.5 + 4.99 * scale])[-1]
    assert outlying([*group, 0.5 + 5.01 * scale])[-1]


def test_holm_by_hand() -> None:
    """0.01·4, max(0.04, 0.02·3), max(0.06, 0.03·2), max(0.06, 0.5·1), in the order given."""
    assert list(holm([0.03, NAN, 0.01, 0.5, 0.02])) == pytest.approx([0.06, NAN, 0.04, 0.5, 0.06], nan_ok=True)
    assert list(holm([0.4, 0.4, 0.9])) == [1, 1, 1]
    assert list(holm([0.04])) == [0.04]
    assert len(holm([])) == 0
    assert np.isnan(holm([NAN, NAN])).all()


def test_holm_keeps_the_familywise_error() -> None:
    p = np.random.default_rng(0).random((4000, 10))
    wrong = np.mean([holm(row).min() <= 0.05 for row in p])
    assert wrong == pytest.approx(1 - (1 - 0.05 / 10) ** 10, abs=0.014)


def test_probability_of_improvement() -> None:
    assert probability_of_improvement([1, 2], [2, 3]) == (3 + 0.5) / 4
    assert probability_of_improvement([1, 2], [2, 3], better="higher") == 0.5 / 4
    assert probability_of_improvement([1, INF], [INF, 2, NAN]) == (1 + 1 + 0.5) / 4
    assert probability_of_improvement(pd.Series([1.0], index=[7]), pd.Series([3.0], index=[2])) == 1
    assert math.isnan(probability_of_improvement([], [1]))
