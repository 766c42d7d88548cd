"""Which settings may be as good as the best: against scipy's Welch test, and how often chance alone sets one apart.
CPU, 1 s."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from ablate.analysis.rivals import Rivals, rivals


def _values(rows: np.ndarray) -> tuple[dict[str, pd.Series], dict[str, float]]:
    """Settings a, b, c … of the rows of perplexities, with their geometric means."""
    values = {chr(97 + k): pd.Series(row) for k, row in enumerate(rows)}
    return values, {name: float(np.exp(np.log(own).mean())) for name, own in values.items()}


def test_rivals_are_those_that_welch_corrected_over_all_pairs_does_not_tell_apart() -> None:
    logs = np.array([0.0, 0.02, 0.05, 0.2])[:, None] + 0.02 * np.random.default_rng(1).normal(size=(4, 6))
    values, means = _values(np.exp(logs))
    p = {other: ttest_ind(logs[0], logs[k], equal_var=False).pvalue for k, other in enumerate("abcd") if k}
    near = tuple(other for other in p if p[other] * 6 > 0.05)
    assert rivals(values, means, "a", "tail_perplexity") == Rivals((), near, ())
    assert 0 < len(near) < 3
    assert any(p[other] <= 0.05 < 6 * p[other] for other in p)  # the correction decides one of them


def test_what_is_equal_and_what_no_test_can_tell_are_kept_apart() -> None:
    values, means = _values(np.array([[1.0, 1.1], [1.0, 1.1], [5.0, 5.1]]))
    values["c"] = values["c"].iloc[:1]
    assert rivals(values, means, "a", "tail_perplexity") == Rivals(("b",), (), ("c",))


@pytest.mark.full
def test_equal_settings_are_seldom_all_worse_than_the_best_of_them() -> None:
    """A single wrong pair in at most 5 % of all sweeps, though the best is picked by the same runs."""
    rng = np.random.default_rng(2)
    wrong = 0
    for logs in 0.1 * rng.normal(size=(400, 5, 6)):
        values, means = _values(np.exp(logs))
        best = min(means, key=means.__getitem__)
        wrong += len(rivals(values, means, best, "tail_perplexity").near) < 4
    assert wrong <= 30  # 20 expected at most; more than 30 in 1 of 100 such tests


def test_pairs_are_counted_as_the_correction_counts_them() -> None:
    """Of two settings the one pair has no correction."""
    logs = np.array([[0.0, 0.1, 0.2, 0.05], [0.2, 0.26, 0.4, 0.18]])
    values, means = _values(np.exp(logs))
    p = ttest_ind(*logs, equal_var=False).pvalue
    assert len(list(combinations(values, 2))) == 1
    assert rivals(values, means, "a", "tail_perplexity", level=1 - 1.01 * p).near == ()
    assert rivals(values, means, "a", "tail_perplexity", level=1 - 0.99 * p).near == ("b",)
