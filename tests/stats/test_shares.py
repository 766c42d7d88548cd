"""How many runs tell a share from another, against the binomial test of every number of runs. CPU, 1 s."""

import numpy as np
import pytest
from scipy import stats

from ablate.stats import runs_for_share
from ablate.stats.evidence import decisive, share_evidence


def by_every_number(truth: float, share: float, level: float, power: float, always_valid: bool, most: int) -> int:
    """The first number of runs with which enough counts decide on the side of the truth."""
    for n in range(1, most):
        counts = np.arange(n + 1)
        chances = stats.binom.pmf(counts, n, truth)
        if always_valid:
            toward = (counts, share) if truth > share else (n - counts, 1 - share)
            decides = share_evidence(toward[0], n, toward[1]) >= decisive(level)
        elif truth > share:
            decides = stats.binom.sf(counts - 1, n, share) <= (1 - level) / 2
        else:
            decides = stats.binom.cdf(counts, n, share) <= (1 - level) / 2
        if chances[decides].sum() >= power:
            return n
    raise AssertionError(f"more than {most} runs")


@pytest.mark.parametrize("always_valid", [False, True])
@pytest.mark.parametrize(
    ("truth", "share", "level"),
    [
        *((0.98, 0.8, 0.95), (0.4, 0.8, 0.95), (0.0, 0.2, 0.95), (0.7, 0.2, 0.95), (0.9, 0.5, 0.99), (0.2, 0.5, 0.8)),
        *((0.0, 0.95, 0.9), (0.125, 0.95, 0.9), (1.0, 0.05, 0.9)),  # where a count's p is the level, but for rounding
    ],
)
def test_the_fewest_runs_that_decide(truth: float, share: float, level: float, always_valid: bool) -> None:
    """Up to 50 runs every number is tried, and no count is far from those of a claim's own test."""
    expected = by_every_number(truth, share, level, 0.8, always_valid, 51)
    assert runs_for_share(truth, share, level, 0.8, 1, 10_000, always_valid) == expected
    assert runs_for_share(truth, share, level, 0.8, expected + 1, 10_000, always_valid) != expected


def test_what_no_number_of_runs_tells() -> None:
    assert runs_for_share(0.5, 0.5, 0.95, 0.8, 1, 10_000) is None
    assert runs_for_share(0.501, 0.5, 0.95, 0.8, 1, 10_000) is None
