"""Several data sets at once: against the papers' own tables, scipy, and samples counted by hand. CPU, 1 s."""

import math

import numpy as np
import pytest
from scipy import stats

from ablate.stats.data_sets import (
    Bootstrap,
    cliques,
    critical_difference,
    friedman_p,
    mean_ranks,
    signed_rank_p,
)

DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
"""AUC of C4.5, +m, +cf and +m+cf on 14 data sets: Demšar (2006), table 6."""


def test_ranks_of_the_paper() -> None:
    assert mean_ranks(-DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_friedman_is_scipys_as_an_f_by_iman_and_davenport() -> None:
    D, S = DEMSAR.shape
    chi2 = stats.friedmanchisquare(*DEMSAR.T).statistic
    F = (D - 1) * chi2 / (D * (S - 1) - chi2)
    assert friedman_p(-DEMSAR) == pytest.approx(stats.f.sf(F, S - 1, (D - 1) * (S - 1)))
    assert 0.01 < friedman_p(-DEMSAR) < 0.05  # F(3, 39) = 3.69 there
    assert friedman_p(np.array([[1.0, 2, 3]] * 3)) == 0
    assert math.isnan(friedman_p(np.ones((3, 3))))
    assert math.isnan(friedman_p(DEMSAR[:, :2]))


@pytest.mark.parametrize(
    ("settings", "level", "q"), [(2, 0.95, 1.960), (4, 0.95, 2.569), (10, 0.95, 3.164), (4, 0.9, 2.291)]
)
def test_the_critical_difference_of_the_paper(settings: int, level: float, q: float) -> None:
    """Demšar (2006), table 5."""
    expected = q * math.sqrt(settings * (settings + 1) / (6 * 14))
    assert critical_difference(settings, 14, level) == pytest.approx(expected, rel=5e-4)


def test_bars_join_what_no_difference_parts() -> None:
    assert cliques([1.0, 3.9, 2.1, 3.0], 1.5) == [(0, 2), (2, 3), (3, 1)]
    assert cliques([1.0, 1.2, 1.4], 1.0) == [(0, 1, 2)]
    assert cliques([1.0, 3.0], 1.0) == []


def test_signed_ranks_are_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 9))
    assert signed_rank_p(a, b) == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue)
    assert signed_rank_p(a, a) == 1


@pytest.fixture(scope="module")
def bootstrap() -> Bootstrap:
    """Two data sets, two settings; the second is worse by 1 on the first and by 3 on the second."""
    rng = np.random.default_rng(1)
    of = [[rng.normal(0, 1, 10), rng.normal(1, 1, 8)], [rng.normal(0, 1, 10), rng.normal(3, 1, 8)]]
    return Bootstrap(of)


def test_the_interquartile_mean_is_that_of_all_runs_together(bootstrap: Bootstrap) -> None:
    for setting in (0, 1):
        point, low, high = bootstrap.iqm(setting)
        together = np.concatenate([row[setting] for row in bootstrap.samples])
        assert point == pytest.approx(stats.trim_mean(together, 0.25))  # as rliable has it
        assert low < point < high
    assert bootstrap.iqm(0)[2] < bootstrap.iqm(1)[1]


def test_the_probability_of_improvement_is_the_mean_over_data_sets(bootstrap: Bootstrap) -> None:
    point, low, high = bootstrap.improvement(0, 1)
    each = [stats.mannwhitneyu(b, a).statistic / (len(a) * len(b)) for a, b in bootstrap.samples]
    assert point == pytest.approx(np.mean(each))
    assert low < point < high <= 1
    assert bootstrap.improvement(1, 0)[0] == pytest.approx(1 - point)


def test_a_profile_is_the_share_of_runs_in_the_mean_over_data_sets(bootstrap: Bootstrap) -> None:
    taus = np.array([-9.0, 0.5, 9.0])
    share, low, high = bootstrap.profile(1, taus)
    assert share.tolist() == pytest.approx([0, np.mean([(row[1] <= 0.5).mean() for row in bootstrap.samples]), 1])
    assert (low <= share).all()
    assert (share <= high).all()


def test_runs_that_diverged_are_the_worst_and_single_runs_have_no_interval() -> None:
    some = Bootstrap([[np.array([0.0, 0, 0, np.inf]), np.array([1.0, 1, 1, 1])]] * 2)
    assert some.iqm(0)[0] == 0
    assert some.improvement(0, 1)[0] == 0.75
    assert not np.isnan(some.profile(0, np.array([5.0]))).any()
    point, low, _ = Bootstrap([[np.array([0.0]), np.array([1.0])]]).improvement(0, 1)
    assert point == 1
    assert math.isnan(low)


@pytest.mark.slow
def test_intervals_cover_what_they_promise() -> None:
    """The share of 400 made-up sweeps whose interval holds the true interquartile mean and the true probability."""
    rng, held = np.random.default_rng(2), []
    for _ in range(400):
        of = [[rng.normal(0, 1, 20), rng.normal(0.5, 1, 20)] for _ in range(4)]
        some = Bootstrap(of)
        ends = [some.iqm(1)[1:], some.improvement(0, 1)[1:]]
        truths = 0.5, stats.norm.cdf(0.5 / math.sqrt(2))
        held.append([low <= truth <= high for (low, high), truth in zip(ends, truths, strict=True)])
    assert (np.mean(held, axis=0) > 0.9).all(), np.mean(held, axis=0)
