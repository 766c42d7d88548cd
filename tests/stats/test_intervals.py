"""Interquartile means, bootstrap intervals, Holm's correction, probability of improvement: by hand. CPU, 2 s."""

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
    probability_of_improvement,
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
    """Of 27 resamples of 1, 2, 6; with n = 3 the widened 80 % interval leaves 1.04 % on either side, less than 1/27."""
    low, high = bootstrap_interval([6, 1, 2], level=0.8, draws=20_000)
    assert (low, high) == (1, 6)
    tail = stats.norm.cdf(-math.sqrt(3 / 2) * stats.t.ppf(0.9, 2))
    assert tail < 1 / 27
    # At 50 % it is 16 % on either side. Means of all resamples: 1 in 1, 4/3 in 3, 5/3 in 3, so the 5th of 27 is 5/3;
    # from above 6 in 1, 14/3 in 3, 13/3 in 3.
    assert bootstrap_interval([1, 2, 6], level=0.5, draws=20_000) == pytest.approx((5 / 3, 13 / 3))


def test_bootstrap_of_any_statistic_is_seeded() -> None:
    values = np.random.default_rng(0).normal(size=15)
    median = bootstrap_interval(values, np.median)
    assert median == bootstrap_interval([*values, NAN], np.median)
    mean = bootstrap_interval(values)
    assert mean == bootstrap_interval(values, rng=np.random.default_rng(0))
    assert mean != bootstrap_interval(values, rng=np.random.default_rng(1))
    low, high = bootstrap_interval(values, iqm)
    assert low < iqm(values) < high
    assert all(math.isnan(end) for end in bootstrap_interval([3.0]))
    assert bootstrap_interval([3.0, 3.0]) == (3, 3)


@pytest.mark.parametrize("n", [2, 5, 11])
def test_all_cells_at_once_are_each_by_itself(n: int) -> None:
    rows = np.random.default_rng(n).lognormal(size=(1001, n))
    together = bootstrap_means(rows, level=0.9)
    assert together.shape == (1001, 2)
    for k in (0, 499, 500, 1000):
        assert together[k] == pytest.approx(bootstrap_interval(rows[k], level=0.9))
    assert np.isnan(bootstrap_means(rows[:, :1])).all()


@pytest.mark.parametrize("n", [5, 20])
def test_coverage_of_the_bootstrap(n: int) -> None:
    """The interval of a mean of n normal values holds it in 95 % of samples, give or take 3 %."""
    intervals = bootstrap_means(np.random.default_rng(n).normal(2, 1, (2000, n)))
    assert np.mean((intervals[:, 0] <= 2) & (intervals[:, 1] >= 2)) == pytest.approx(0.95, abs=0.03)


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
