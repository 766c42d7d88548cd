"""Differences of metrics that may be 0: as scipy tests them, with ties, zeros and diverged runs. CPU, 1 s."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.samples import measured
from ablate.analysis.tuning import tuned
from ablate.stats import paired
from ablate.stats.difference import paired_difference


def test_as_scipy_has_it() -> None:
    rng = np.random.default_rng(2)
    a, b = pd.Series(rng.uniform(0.5, 1, 12)), pd.Series(rng.uniform(0, 0.6, 12))
    test = paired_difference(a, b)
    assert test.p_above() == pytest.approx(stats.wilcoxon(a - b, alternative="greater").pvalue)
    assert test.p_below() == pytest.approx(stats.wilcoxon(a - b, alternative="less").pvalue)
    assert test.p_above(0.3) == pytest.approx(stats.wilcoxon(a - b - 0.3, alternative="greater").pvalue)
    assert test.means == pytest.approx((a.mean(), b.mean()))
    assert test.n == 12
    averages = [(x + y) / 2 for i, x in enumerate(a - b) for y in list(a - b)[i:]]
    assert test.difference == pytest.approx(np.median(averages))


def test_its_interval_is_what_the_test_does_not_reject() -> None:
    rng = np.random.default_rng(3)
    test = paired_difference(pd.Series(rng.normal(0.7, 0.1, 9)), pd.Series(rng.normal(0.5, 0.1, 9)))
    step = 1e-6
    assert test.p_above(test.low + step) > 0.025 >= test.p_above(test.low - step)
    assert test.p_below(test.high - step) > 0.025 >= test.p_below(test.high + step)


def test_a_difference_is_the_logarithm_of_a_ratio_of_exponentials() -> None:
    rng = np.random.default_rng(4)
    a, b = pd.Series(rng.normal(0, 1, 10)), pd.Series(rng.normal(0.5, 1, 10))
    difference, ratio = paired_difference(a, b), paired(np.exp(a), np.exp(b))
    assert difference.difference == pytest.approx(math.log(ratio.ratio))
    assert (difference.low, difference.high) == pytest.approx((math.log(ratio.low), math.log(ratio.high)))
    for bound in (0.0, 0.4, -1.0):
        assert difference.p_below(bound) == ratio.p_below(math.exp(bound))
        assert difference.needed(bound) == ratio.needed(math.exp(bound))


def test_only_seeds_that_both_have() -> None:
    a = pd.Series([0.9, 0.8, 0.7], index=[0, 1, 2])
    test = paired_difference(a, pd.Series([0.1, 0.3, 0.9], index=[2, 1, 5]))
    assert test.n == 2
    assert test.means == pytest.approx((0.75, 0.2))
    assert (test.low, test.high) == (-math.inf, math.inf)


def test_equal_at_the_top_tells_nothing_of_order_and_all_of_equivalence() -> None:
    ones = pd.Series([1.0] * 8)
    test = paired_difference(ones, ones)
    assert (test.difference, test.p_above(), test.p_below()) == (0, 1, 1)
    assert test.needed() is None
    assert test.p_below(0.05) == test.p_above(-0.05) == pytest.approx(0.5**8)


def test_a_diverged_run_is_worse_than_any_other() -> None:
    runs = pd.DataFrame({"accuracy": [0.9, math.nan, 0.0], "status": ["ok", "diverged", "ok"]})
    values = measured(runs.assign(perplexity=[2.0, math.nan, 3.0]), "accuracy")
    assert values.tolist() == [0.9, -math.inf, 0.0]
    fine, broken = pd.Series([0.5] * 8), pd.Series([-math.inf] * 8)
    test = paired_difference(fine, broken)
    assert test.difference == math.inf
    assert test.p_above() == pytest.approx(0.5**8)
    assert test.means[0] == 0.5
    assert math.isnan(test.means[1])
    both = paired_difference(broken, broken)
    assert (both.n, both.p_above(), both.p_below()) == (8, 1, 1)


def test_of_a_metric_that_is_better_when_higher_a_setting_that_diverges_is_never_the_best(
    cell: Callable[..., pd.DataFrame],
) -> None:
    fine, best_but_once = cell([0.6, 0.6, 0.6, 0.6], lr=1.0), cell([None, 0.9, 0.9, 0.9], lr=2.0)
    runs = pd.concat([fine, best_but_once], ignore_index=True)
    assert tuned(runs, "lr", "accuracy")["value"].tolist() == [1.0]
