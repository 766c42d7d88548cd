"""Tests of ratios: samples worked by hand, diverged runs, coverage, error rate and power by simulation. CPU, 6 s."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.stats import (
    RatioTest,
    always_valid_ratio,
    detectable_ratio,
    least_runs,
    paired_ratio,
    pairwise_ratios,
    ratio,
    ratio_contrast,
    seeds_for,
)

INF, NAN = math.inf, math.nan


def series(*values: float, seeds: list[int] | None = None) -> pd.Series:
    return pd.Series(values, index=seeds or range(len(values)), dtype=float)


# --- paired by seed -----------------------------------------------------------------------------------------


def test_paired_by_hand() -> None:
    """Ratios 2, 2, 4, 8, 1/2, 4: log₂ 1, 1, 2, 3, −1, 2 have magnitudes of ranks 2, 2, 4.5, 6, 2, 4.5."""
    test = paired_ratio(series(2, 4, 4, 8, 1, 12), series(1, 2, 1, 1, 2, 3))
    assert test.n == 6
    # 21 Walsh averages of the log₂: −1 0 0 0.5 0.5 1 1 1 1 1.5 1.5 1.5 1.5 2 2 2 2 2 2.5 2.5 3; the 11th is 1.5
    assert test.ratio == pytest.approx(2**1.5)
    # W− = 2. Of 64 signs W− is 0 in 1 and 2 in 3 (any one of the three tied): P(W− ≤ 2) = 4/64.
    assert test.p_above() == pytest.approx(4 / 64)
    assert test.p() == pytest.approx(8 / 64)
    # W+ ≥ 19 with probability 4/64, so W+ ≤ 19 has 1 − P(W+ ≥ 21) = 63/64: no sum lies between 19 and 21
    assert test.p_below() == pytest.approx(63 / 64)
    # Only if all six are on one side of the bound is it rejected.
    assert (test.low, test.high) == pytest.approx((0.5, 8))
    assert test.method == "Wilcoxon signed-rank, exact, paired by seed"


def test_only_common_seeds_are_paired() -> None:
    a = series(9, 2, 4, 6, 100, NAN, seeds=[7, 0, 1, 2, 3, 4])
    b = series(3, 2, 1, NAN, 5, 50, seeds=[2, 1, 0, 3, 4, 8])
    test = paired_ratio(a, b)
    assert test.n == 3  # seed 3 has no value of b, seed 4 none of a
    assert test.ratio == pytest.approx(2)


def test_order_of_seeds_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    a, b = (pd.Series(np.exp(rng.normal(size=9))) for _ in range(2))
    assert paired_ratio(a, b) == paired_ratio(a.sample(frac=1, random_state=1), b)


def test_swapped_sides_turn_everything_round() -> None:
    rng = np.random.default_rng(5)
    a, b = (pd.Series(np.exp(rng.normal(size=9))) for _ in range(2))
    a[3] = INF
    for test, back in ((paired_ratio(a, b), paired_ratio(b, a)), (ratio(a, b), ratio(b, a))):
        assert (1 / test.ratio, 1 / test.high, 1 / test.low) == pytest.approx((back.ratio, back.low, back.high))
        assert test.p_below(1.2) == pytest.approx(back.p_above(1 / 1.2))


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_pairs_have_no_interval(n: int) -> None:
    test = paired_ratio(series(*[2.0] * n), series(*[1.0] * n))
    assert (test.low, test.high, test.n) == (0, INF, n)
    assert test.p() == pytest.approx(2 / 2**n if n else 1)
    assert math.isnan(test.ratio) if n == 0 else test.ratio == pytest.approx(2)


def test_equal_settings() -> None:
    test = paired_ratio(series(*[3.0] * 8), series(*[3.0] * 8))
    assert (test.ratio, test.low, test.high, test.p()) == (1, 1, 1, 1)
    assert test.needed() is None


def test_a_diverged_run_has_the_largest_rank() -> None:
    """Log ratios +∞, −1 … −5: W+ = 6, and 64 signs give W+ ≤ 6 in 14 ways (subsets of 1 … 6 with sums 0 … 6)."""
    b = series(*[1.0] * 6)
    test = paired_ratio(series(INF, *np.exp([-1.0, -2, -3, -4, -5])), b)
    assert test.p_below() == pytest.approx(14 / 64)
    # Walsh averages: −5 −4.5 −4 −4 −3.5 −3.5 −3 −3 −3 −2.5 −2.5 … and six infinite ones; the 11th of 21 is −2.5
    assert test.ratio == pytest.approx(math.exp(-2.5))
    assert test.high == INF
    assert test.low == pytest.approx(math.exp(-5))


def test_all_diverged_against_none() -> None:
    test = paired_ratio(series(*[INF] * 6), series(*[2.0] * 6))
    assert (test.ratio, test.low, test.high) == (INF, INF, INF)
    assert test.p_above(1000) == pytest.approx(1 / 64)
    assert test.needed() == 6
    few = paired_ratio(series(*[INF] * 4), series(*[2.0] * 4))
    assert (few.ratio, few.low, few.high) == (INF, 0, INF)
    assert few.needed() == 6


def test_both_diverged_is_a_tie_at_any_bound() -> None:
    both = paired_ratio(series(INF, INF, INF, INF, INF, INF, INF), series(*[INF] * 7))
    assert math.isnan(both.ratio)
    assert (both.low, both.high, both.n) == (0, INF, 7)
    assert (both.p(), both.p_below(0.5), both.p_above(0.5)) == (1, 1, 1)
    assert both.needed() is None
    a, b = series(1.1, 1.3, 0.9, 1.7, 1.2, 1.4), series(*[1.0] * 6)
    more = paired_ratio(pd.concat([a, series(INF, seeds=[9])]), pd.concat([b, series(INF, seeds=[9])]))
    assert more.p_above(1.05) == paired_ratio(a, b).p_above(1.05)


def test_only_positive_values_have_ratios() -> None:
    with pytest.raises(ValueError, match="positive"):
        paired_ratio(series(1, 0), series(1, 1))


def test_diverged_runs_are_the_worst_where_higher_is_better() -> None:
    """Their −∞ is no value without a logarithm."""
    test = ratio(series(3, 4, -INF, -INF), series(5, 6, 7, 8))
    assert "runs diverged" in test.method
    assert (test.low, test.n) == (0, 4)
    assert test.p_below() == pytest.approx(1 / 70)
    assert pairwise_ratios({"a": series(3, -INF), "b": series(5, 6)}, [("a", "b")]).n.tolist() == [2]


def test_a_seed_without_a_value_takes_no_part_in_a_contrast() -> None:
    values = {name: series(*[1.1 * k + 1 for k in range(7)]) for name in "abc"}
    values["a"][0], values["b"][1] = INF, NAN
    assert ratio_contrast({"a": 1, "b": 1, "c": -2}, values).n == 6


# --- two samples --------------------------------------------------------------------------------------------


def test_welch_against_scipy() -> None:
    rng = np.random.default_rng(1)
    a, b = np.exp(rng.normal(0.4, 0.3, 7)), np.exp(rng.normal(0, 0.8, 5))
    test = ratio(a, b, level=0.9)
    expected = stats.ttest_ind(np.log(a), np.log(b), equal_var=False)
    interval = expected.confidence_interval(0.9)
    assert test.ratio == pytest.approx(math.exp(np.log(a).mean() - np.log(b).mean()))
    assert (test.low, test.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert test.p() == pytest.approx(expected.pvalue, rel=1e-12)
    for bound in (0.5, 1, 1.7):
        for p, alternative in ((test.p_below(bound), "less"), (test.p_above(bound), "greater")):
            shifted = stats.ttest_ind(np.log(a), np.log(b * bound), equal_var=False, alternative=alternative)
            assert p == pytest.approx(shifted.pvalue, rel=1e-12)
    assert test.n == 5
    assert test.method == "Welch t, on logarithms"


@pytest.mark.parametrize(("a", "b"), [([2.0], [1.0, 1.1, 0.9]), ([2.0, 2.1], [1.0]), ([3.0], [1.0])])
def test_a_single_value_has_no_spread(a: list[float], b: list[float]) -> None:
    test = ratio(a, b)
    assert (test.low, test.high, test.n, test.p()) == (0, INF, 1, 1)
    assert test.ratio == pytest.approx(np.exp(np.log(a).mean() - np.log(b).mean()))
    assert test.needed() is None


def test_nothing_to_compare() -> None:
    test = ratio([], [1.0, NAN])
    assert (test.n, test.low, test.high, test.p()) == (0, 0, INF, 1)
    assert math.isnan(test.ratio)


def test_samples_without_spread() -> None:
    """No t test: the exact rank test decides, which two runs of each never can: 1 of C(4, 2) orders."""
    test = ratio([2.0, 2.0], [1.0, 1.0])
    assert (test.ratio, test.low, test.high) == (pytest.approx(2), 0, INF)
    assert (test.p_above(), test.p_below(), test.p_above(2.5)) == pytest.approx((1 / 6, 1, 1))
    assert "no spread" in test.method
    same = ratio([2.0, 2.0], [2.0, 2.0, 2.0])
    assert (same.ratio, same.p()) == (1, 1)
    six = ratio([2.0] * 6, [1.0] * 6)
    assert (six.low, six.high) == pytest.approx((2, 2))
    assert (six.p(), six.p_above(2.5)) == pytest.approx((2 / 924, 1))
    # digits beyond the twelfth are rounding, not spread
    assert "no spread" in ratio([0.1 + 0.2, 0.3], [0.2, 0.2]).method


def test_one_constant_sample_leaves_the_spread_of_the_other() -> None:
    a, b = np.array([3.0, 3.0, 3.0]), np.array([2.0, 2.2, 2.1, 2.4])
    t = (math.log(3) - np.log(b).mean()) / stats.sem(np.log(b))
    assert ratio(a, b).p() == pytest.approx(2 * stats.t.sf(t, 3), rel=1e-12)


def test_the_rank_test_stands_beside() -> None:
    rng = np.random.default_rng(8)
    a, b = np.exp(rng.normal(0.4, 0.3, 7)), np.exp(rng.normal(0, 0.8, 5))
    test = ratio(a, b)
    assert test.rank_p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue, rel=1e-12)
    for tail, alternative in zip(test.rank_tails(1.3), ("less", "greater"), strict=True):
        shifted = stats.mannwhitneyu(a, 1.3 * b, alternative=alternative, method="exact")
        assert tail == pytest.approx(shifted.pvalue, rel=1e-12)
    assert test.rank_least_p == pytest.approx(2 / math.comb(12, 5))


def test_identical_runs_are_a_fact() -> None:
    """Equal seed by seed, and other than other seeds: no chance, no p."""
    a = series(1.5, 1.7, 1.6)
    same = ratio(a, a.sample(frac=1, random_state=0))
    assert same.is_fact
    assert (same.ratio, same.low, same.high, same.n) == (1, 1, 1, 3)
    assert math.isnan(same.p())
    assert (same.p_below(1.01), same.p_above(1.01), same.p_above(0.99), same.p_below()) == (0, 1, 0, 1)
    assert not ratio(a, a.iloc[::-1].set_axis(a.index)).is_fact  # other seeds' values
    assert not ratio(series(1, 1, 1), series(1, 1, 1)).is_fact  # a ceiling, which others may reach too
    assert not ratio(series(1.5), series(1.5)).is_fact
    assert not ratio(a.to_numpy(), a.to_numpy()).is_fact  # nothing says which run has which seed


def test_counts_that_agree_are_no_fact() -> None:
    """Two settings reach a value after 12 and 15 epochs each: by chance, as few numbers of epochs are to be had."""
    a = series(12, 15)
    for test in (ratio(a, a.copy()), always_valid_ratio({"a": 1.0, "b": -1.0}, {"a": a, "b": a.copy()})):
        assert not test.is_fact
        assert test.p_above() > 0.4
        assert test.p_below(1.05) > 0.025
    assert list(pairwise_ratios({"a": a, "b": a.copy()}, [("a", "b")]).p) == pytest.approx([1])


def test_diverged_runs_make_it_a_rank_test() -> None:
    """a = 4, 6, 8, 9, ∞ above all of b: one of C(10, 5) = 252 orders."""
    test = ratio([4, 6, 8, 9, INF], [1, 2, 2.5, 3, 3.5])
    assert "rank sum" in test.method
    assert test.p_above() == pytest.approx(1 / 252)
    assert test.ratio == pytest.approx(np.median([a / b for a in (4, 6, 8, 9, INF) for b in (1, 2, 2.5, 3, 3.5)]))
    assert 1 < test.low < test.ratio < test.high
    for bound, outside in ((test.low * 0.999, True), (test.low * 1.001, False)):
        assert (test.p_above(bound) <= 0.025) == outside
    both = ratio([INF, INF, INF], [INF, INF, INF])
    assert math.isnan(both.ratio)
    assert (both.low, both.high, both.p()) == (0, INF, 1)


# --- several settings ---------------------------------------------------------------------------------------


def test_a_contrast_is_that_of_its_logs() -> None:
    """Against the formulas of Welch and Satterthwaite, and scipy for one and for two settings."""
    rng = np.random.default_rng(5)
    settings = {name: series(*np.exp(rng.normal(size=n))) for name, n in zip("abcd", (9, 7, 8, 6), strict=True)}
    weights = {"a": 1.0, "b": -1.0, "c": -0.5, "d": 0.5}
    test = ratio_contrast(weights, settings)
    logs = {name: np.log(values) for name, values in settings.items()}
    centre = sum(weight * logs[name].mean() for name, weight in weights.items())
    shares = {name: weight**2 * logs[name].var() / len(logs[name]) for name, weight in weights.items()}
    error = math.sqrt(sum(shares.values()))
    df = error**4 / sum(share**2 / (len(logs[name]) - 1) for name, share in shares.items())
    assert test.n == 6
    assert test.ratio == pytest.approx(math.exp(centre))
    assert test.p_below(2) == pytest.approx(stats.t.cdf((centre - math.log(2)) / error, df), rel=1e-12)
    assert test.high == pytest.approx(math.exp(centre + error * stats.t.ppf(0.975, df)))
    two = ratio_contrast({"a": 1.0, "b": -1.0}, settings)
    assert two.p() == pytest.approx(ratio(settings["a"], settings["b"]).p(), rel=1e-12)
    one = ratio_contrast({"a": 1.0}, settings)
    assert one.p() == pytest.approx(stats.ttest_1samp(logs["a"], 0).pvalue, rel=1e-12)


def test_a_diverged_run_makes_a_contrast_a_test_of_ranks_by_seed() -> None:
    """Without a mean no t test; the sign of the sum of the weights of what diverged in a seed decides."""
    ones = series(*[1.0] * 8)
    broken = ones.replace(1.0, INF)
    settings = {"a": broken, "b": ones, "c": broken}
    assert ratio_contrast({"a": 1.0, "b": -1.0}, settings).ratio == INF
    assert ratio_contrast({"a": -1.0, "b": 1.0}, settings).ratio == 0
    assert ratio_contrast({"a": 1.0, "c": -1.0, "b": 2.0}, settings).ratio == 1  # both without bound, at the same rate
    whole = ratio_contrast({"a": 1.0, "c": -2.0, "b": 1.0}, settings)
    assert (whole.ratio, whole.p_below()) == (0, pytest.approx(0.5**8))
    assert "signed-rank" in whole.method


def test_one_value_of_a_contrast_has_no_interval() -> None:
    test = ratio_contrast({"a": 1.0, "b": -1.0}, {"a": series(2.0), "b": series(1.0, 1.1)})
    assert (test.low, test.high, test.p_below(), test.p_above()) == (0, INF, 1, 1)
    assert test.needed() is None


# --- over many sweeps ---------------------------------------------------------------------------------------


def simulated(kind: str, truth: float, n: int, draws: int, seed: int) -> list[RatioTest]:
    """Tests of samples of which the true ratio is known: log-normal, with heavy tails where paired."""
    rng = np.random.default_rng(seed)
    if kind == "paired":
        differences = truth + rng.standard_t(3, size=(draws, n)) * 0.2
        return [paired_ratio(pd.Series(np.exp(row)), pd.Series(np.ones(n))) for row in differences]
    a, b = truth + rng.normal(0, 0.3, (draws, n)), rng.normal(0, 0.1, (draws, n))
    return [ratio(np.exp(x), np.exp(y)) for x, y in zip(a, b, strict=True)]


@pytest.mark.full
@pytest.mark.parametrize(("kind", "n"), [("paired", 6), ("paired", 12), ("welch", 4), ("welch", 10)])
def test_coverage(kind: str, n: int) -> None:
    """The 95 % interval holds the true ratio in 95 % of samples, within four standard errors of 1,000 draws."""
    tests = simulated(kind, truth=0.4, n=n, draws=1000, seed=n)
    held = np.mean([test.low <= math.exp(0.4) <= test.high for test in tests])
    slack = 4 * math.sqrt(0.95 * 0.05 / 1000)
    # Two-sided at 5 % with six pairs means 2/64: the exact test keeps below its level, never above.
    exact = {6: 1 - 2 / 64, 12: 0.957}.get(n, 0.95) if kind == "paired" else 0.95
    assert held == pytest.approx(exact, abs=slack)


@pytest.mark.full
@pytest.mark.parametrize(("kind", "n"), [("paired", 8), ("welch", 5)])
def test_false_alarms(kind: str, n: int) -> None:
    p = np.array([test.p() for test in simulated(kind, truth=0.0, n=n, draws=1000, seed=n)])
    for alpha in (0.05, 0.2):
        assert np.mean(p <= alpha) < alpha + 4 * math.sqrt(alpha * (1 - alpha) / 1000)


# --- how many seeds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sd", "n"), [(0.1, 8), (0.3, 20), (0.05, 40)])
def test_a_detectable_ratio_is_detected_in_four_of_five(sd: float, n: int) -> None:
    effect = math.log(detectable_ratio(sd, n))
    logs = sd * np.random.default_rng(n).standard_normal((500, 2, n))
    found = [ratio(np.exp(effect + a), np.exp(b)).p() <= 0.05 for a, b in logs]
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)


def test_seeds_and_ratio_say_the_same() -> None:
    for effect, sd in ((0.05, 0.1), (-0.2, 0.2), (0.5, 1.0)):
        n = seeds_for(effect, sd)
        assert n is not None
        assert detectable_ratio(sd, n) <= math.exp(abs(effect)) < detectable_ratio(sd, n - 1)


def test_what_no_number_of_seeds_settles() -> None:
    assert math.isnan(detectable_ratio(0.1, 1))
    assert math.inf > detectable_ratio(0.1, 2) > detectable_ratio(0.1, 6) > detectable_ratio(0.1, 7) > 1
    assert seeds_for(0.0, 0.1) is None
    assert seeds_for(0.001, 0.1) is None  # about 160,000


@pytest.mark.parametrize(("level", "n"), [(0.95, 4), (0.9, 4), (0.99, 5), (0.8, 3)])
def test_least_runs(level: float, n: int) -> None:
    rejects = [2 / math.comb(2 * k, k) <= 1 - level for k in (n - 1, n)]
    assert rejects == [False, True]
    assert least_runs(level) == n


def test_needed_of_pairs() -> None:
    """With log ratios of mean 0.1 and sd 0.2: about (1.96 + 0.84)² · 4 · 1.05 = 33 pairs."""
    logs = stats.norm.ppf((np.arange(8) + 0.5) / 8)
    logs = 0.1 + 0.2 * (logs - logs.mean()) / logs.std(ddof=1)
    test = paired_ratio(pd.Series(np.exp(logs)), series(*[1.0] * 8))
    assert test.p() > 0.05
    needed = test.needed()
    assert needed is not None
    assert 33 <= needed <= 37
    assert test.at(0.99).needed() > needed  # type: ignore[operator]
    # further from the bound, fewer; the nearer, the more
    assert test.needed(bound=0.8) < needed < test.needed(bound=1.02)  # type: ignore[operator]


def test_undecided_needs_more_than_there_are() -> None:
    """Log ratios whose estimate and spread would settle it with six, but one sign among seven is wrong."""
    test = paired_ratio(series(*np.exp([1, 1.1, 1.2, 1.3, 1.4, 1.5, -1.45])), series(*[1.0] * 7))
    assert test.p() > 0.05
    assert test.needed() > 7  # type: ignore[operator]


def test_diverged_runs_do_not_widen_what_is_needed() -> None:
    logs = [0.1, 0.3, 0.2, -0.1, 0.25, 0.15]
    without = paired_ratio(series(*np.exp(logs)), series(*[1.0] * 6))
    with_one = paired_ratio(series(*np.exp(logs), INF), series(*[1.0] * 7))
    assert with_one.needed() <= without.needed()  # type: ignore[operator]


def test_needed_of_two_samples() -> None:
    """sd 0.2 in both and a log ratio of 0.2: n = 2 · (1.96 + 0.84)² = 16 of each, and one or two for the t."""
    spread = np.array([-1, 0, 1]) * 0.2
    test = ratio(np.exp(0.2 + spread), np.exp(spread))
    assert test.p() > 0.05
    assert 16 <= test.needed() <= 18  # type: ignore[operator]
