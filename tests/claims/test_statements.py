"""From parts to the whole: partial conjunctions by hand, shares against scipy's binomial test. CPU, 1 s."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.claims.comparison import DifferenceComparison, RatioComparison, number, signed, telling_digits
from ablate.claims.parts import Part, Share
from ablate.claims.statements import AtLeast, Not, Statement, every, most, some
from ablate.stats import difference, difference_contrast, ratio


@dataclass(frozen=True)
class Known:
    """A statement whose p-values are given."""

    confirm: float
    contrary: float
    seeds: int | None = None
    margin: float = 0.0

    @property
    def leans(self) -> bool:
        return self.confirm < self.contrary

    def needed(self, level: float, power: float) -> int | None:
        return self.seeds

    def needed_between(self, level: float, power: float) -> tuple[int | None, int | None]:
        return self.seeds, self.seeds

    def log_e(self, confirming: bool) -> float:
        return math.nan

    def decisive(self, confirming: bool) -> Part:
        return self  # type: ignore[return-value]

    def parts(self) -> Iterator[Part]:
        yield self  # type: ignore[misc]


A, B, C = Known(0.01, 0.99, 20), Known(0.03, 0.97, 50), Known(0.98, 0.02, 30)


@pytest.mark.parametrize(
    ("whole", "confirm", "contrary", "decides", "contradicts"),
    [
        (every([A, B]), 0.03, 1.0, B, B),
        (every([A, B, C]), 0.98, 3 * 0.02, C, C),
        (some([A, B, C]), 3 * 0.01, 0.99, A, A),
        (most([A, B, C]), 2 * 0.03, 1.0, B, B),  # two of three: B is the second; against it two must be false
        (most([C, C, A]), 1.0, 2 * 0.02, C, C),
        (Not(every([A, B, C])), 3 * 0.02, 0.98, C, C),
        (every([most([A, B, C]), A]), 2 * 0.03, 1.0, B, A),
        (every([B]), 0.03, 0.97, B, B),
    ],
)
def test_p_values(whole: Statement, confirm: float, contrary: float, decides: Known, contradicts: Known) -> None:
    assert whole.confirm == pytest.approx(confirm)
    assert whole.contrary == pytest.approx(contrary)
    assert whole.decisive(True) is decides
    assert len(list(whole.parts())) >= 1
    if contrary < 1:
        assert whole.decisive(False) is contradicts


def test_of_equal_p_the_part_nearer_to_its_bound_is_the_weaker() -> None:
    """Exact tests of few seeds have the same p wherever all of them agree: the margin tells the parts apart."""
    far, near, no = Known(0.01, 1.0, margin=1.4), Known(0.01, 1.0, margin=0.05), Known(1.0, 0.01, margin=-0.2)
    assert every([far, near]).decisive(True) is every([near, far]).decisive(True) is near
    assert some([far, near]).decisive(True) is some([near, far]).decisive(True) is far
    worse = Known(1.0, 0.01, margin=-0.9)
    assert every([far, no, worse]).decisive(False) is every([worse, no, far]).decisive(False) is worse


def test_margins_are_distances_from_the_bound_on_the_side_of_the_claim() -> None:
    ones = pd.Series([1.0] * 8)
    part = RatioComparison("", "", ratio(2 * ones, ones), bound=4.0)
    assert part.margin == pytest.approx(math.log(2))
    assert RatioComparison("", "", ratio(2 * ones, ones), bound=4.0, below=False).margin == pytest.approx(-math.log(2))
    assert RatioComparison("", "", ratio(math.inf * ones, math.inf * ones)).margin == 0  # says nothing
    bleu = DifferenceComparison("", "", difference(31 * ones, 29 * ones), 1.0, below=False, metric="bleu")
    assert bleu.margin == pytest.approx(0.01)
    bits = DifferenceComparison("", "", difference(2 * ones, ones), metric="bits_per_character", below=False)
    assert bits.margin == pytest.approx(1.0)  # of what has no largest value in its own unit: 0 would rank nothing
    assert Share("", 6, 8, 0.5, True, 0.95).margin == pytest.approx(0.25)
    assert Share("", 6, 8, 0.5, False, 0.95).margin == pytest.approx(-0.25)


def test_a_ratio_names_what_is_not_training_perplexity() -> None:
    ones = pd.Series([1.0] * 6)
    test = ratio(2 * ones, ones)
    effects = {
        "tail_perplexity": "gru/rnn = 2.000 (2.000–2.000)",
        "perplexity": "gru/rnn: ratio of perplexity (last epoch) 2.000 (2.000–2.000)",
        "late_change": "gru/rnn = 2.000 (2.000–2.000)",
        "val_perplexity": "gru/rnn: ratio of held-out perplexity 2.000 (2.000–2.000)",
        "roughness": "gru/rnn: ratio of roughness 2.000 (2.000–2.000)",
        "tokens_per_s": "gru/rnn: ratio of tokens per second 2.000 (2.000–2.000)",
    }
    assert {metric: RatioComparison("gru/rnn", "", test, metric=metric).effect for metric in effects} == effects


def test_seeds_of_the_whole() -> None:
    assert every([A, B]).needed(0.95, 0.8) == 50
    assert every([A, B, C]).needed(0.95, 0.8) == 30  # C speaks against it: that decides
    assert some([A, B]).needed(0.95, 0.8) == 20
    assert most([A, B, C]).needed(0.95, 0.8) == 50
    assert every([A, Known(0.1, 0.9, None)]).needed(0.95, 0.8) is None
    assert some([A, Known(0.1, 0.9, None)]).needed(0.95, 0.8) == 20


def test_a_partial_conjunction_keeps_its_level() -> None:
    """At most one of three is true, so "most" is false: confirmed in no more than α of all draws."""
    rng = np.random.default_rng(0)
    draws = 20_000
    wrong = 0
    for null in rng.random((draws, 2)):
        whole = AtLeast(2, [Known(1e-9, 1.0), *(Known(p, 1 - p) for p in null)])
        wrong += whole.confirm <= 0.025
    assert wrong <= stats.binom.isf(0.001, draws, 0.025)


@pytest.mark.parametrize(("failed", "n"), [(0, 5), (0, 17), (3, 17), (14, 17), (17, 17), (30, 40)])
@pytest.mark.parametrize("share", [0.2, 0.8])
def test_shares_are_those_of_scipy(failed: int, n: int, share: float) -> None:
    at_least = Share("", failed, n, share, True, 0.95)
    at_most = Share("", failed, n, share, False, 0.95)
    greater = stats.binomtest(failed, n, share, "greater")
    less = stats.binomtest(failed, n, share, "less")
    assert (at_least.confirm, at_least.contrary) == pytest.approx((greater.pvalue, less.pvalue))
    assert (at_most.confirm, at_most.contrary) == pytest.approx((less.pvalue, greater.pvalue))
    interval = stats.binomtest(failed, n).proportion_ci(0.95, "exact")
    assert at_least.interval == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_seventeen_runs_alike_are_nearly_always() -> None:
    alpha = 0.025
    assert Share("", 16, 16, 0.8, True, 0.95).confirm > alpha
    assert Share("", 17, 17, 0.8, True, 0.95).confirm <= alpha


@pytest.mark.parametrize(("failed", "n"), [(5, 5), (6, 8), (8, 10)])
def test_runs_needed_have_the_power(failed: int, n: int) -> None:
    """Recomputed from the definition: the observed share, a half added to either side, decides in four of five."""
    share = Share("", failed, n, 0.8, True, 0.95)
    needed = share.needed(0.95, 0.8)
    truth = (failed + 0.5) / (n + 1)
    if needed is None:
        assert abs(truth - 0.8) < 0.02
        return

    def power(runs: int) -> float:
        counts = np.arange(runs + 1)
        against = stats.binom.cdf(counts, runs, 0.8) if truth < 0.8 else stats.binom.sf(counts - 1, runs, 0.8)
        return float(stats.binom.pmf(counts, runs, truth)[against <= 0.025].sum())

    assert needed > n
    assert power(needed) >= 0.8
    if needed < 50:  # beyond, it goes in steps
        assert all(power(fewer) < 0.8 for fewer in range(n + 1, needed))


def test_a_change_of_a_difference_is_told_without_the_values_behind_it() -> None:
    values = {"a": pd.Series(np.linspace(0.1, 0.2, 9)), "b": pd.Series(np.linspace(0.05, -0.05, 9))}
    part = DifferenceComparison(
        "model gru, rnn, num_steps 50, 10", "", difference_contrast({"a": 1.0, "b": -1.0}, values), 0.02, below=False
    )
    assert re.search(r"^model gru, rnn, num_steps 50, 10: .*accuracy \+0\.150 \(\+0\.1", part.effect)
    assert "against" not in part.effect
    assert part.against == ", bound +0.020"
    expected = stats.ttest_ind(values["a"], values["b"] + 0.02, equal_var=False, alternative="greater")
    assert part.confirm == pytest.approx(expected.pvalue)
    ranks = stats.mannwhitneyu(values["a"], values["b"] + 0.02, alternative="greater", method="exact")
    assert part.rank_p(True) == pytest.approx(ranks.pvalue)


def test_what_is_the_same_in_every_seed_is_a_fact() -> None:
    """It is no lower and no higher, and equal within any margin; no p."""
    values = pd.Series([1.5, 1.6, 1.7])
    part = RatioComparison("", "", ratio(values, values))
    assert part.is_fact
    assert (part.confirm, part.contrary) == (1, 0)
    near = every([RatioComparison("", "", part.test, 1.05), RatioComparison("", "", part.test, 0.95, below=False)])
    assert (near.confirm, near.contrary) == (0, 1)
    assert near.decisive(True).is_fact


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [
        (0.912, 1.034, ("0.912", "1.034")),
        (1.00012, 1.00042, ("1.0001", "1.0004")),
        (1.0, 1.0, ("1.000", "1.000")),
        (0.9999995, 1.2, ("1.000000", "1.200000")),
        (0, math.inf, ("0", "∞")),
    ],
)
def test_what_differs_from_1_is_not_printed_as_1(low: float, high: float, ends: tuple[str, str]) -> None:
    digits = telling_digits(low, high)
    assert (number(low, digits), number(high, digits)) == ends


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.98765, "0.988"), (1.0, "1.000"), (123.456, "123"), (math.inf, "∞"), (math.nan, "?"), (0.05, "0.05")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "top", "text"),
    [
        (-0.0735, math.inf, "−0.0735"),  # of a metric that has no largest value, such as a loss
        (0.0000441, math.inf, "+0.0000441"),
        (1234.5, math.inf, "+1234"),
        (0.0, math.inf, "0.0"),
        (-0.0004, 1.0, "0.000"),
        (0.586, 1.0, "+0.586"),
        (12.34, 100.0, "+12.3"),
        (math.inf, math.inf, "+∞"),
    ],
)
def test_a_difference_has_the_digits_that_tell_it_apart(value: float, top: float, text: str) -> None:
    assert signed(value, top) == text
