"""How many runs it takes to tell a share of runs from another."""

import math

import numpy as np

from ablate.stats.evidence import decisive, share_evidence


def runs_for_share(
    truth: float, share: float, level: float, power: float, least: int, most: int, always_valid: bool = False
) -> int | None:
    """The runs, from `least` to `most`, with which the test against `share` decides with this power if `truth` is so.

    The exact binomial test of a fixed number, or the always-valid one at the last of them. None where it takes more.
    """
    from scipy import stats  # a second of imports, for claims about shares alone

    alpha = (1 - level) / 2
    # One by one up to 50, then in steps of 2 %.
    many = 50 * 1.02 ** np.arange(math.log(most / 50) / math.log(1.02) + 1)
    runs = np.unique(np.concatenate([np.arange(1, 51), many.astype(int)]))
    runs = runs[(runs >= least) & (runs <= most)]
    above = truth > share
    if not above:  # the same of the runs that do not
        truth, share = 1 - truth, 1 - share
    if always_valid:
        critical = _critical(runs, share, decisive(level)) - 1
    else:
        critical = stats.binom.isf(alpha, runs, share)  # P(X > critical) ≤ alpha, but for rounding
        p = stats.binom.sf(critical, runs, share) if above else stats.binom.cdf(runs - critical - 1, runs, 1 - share)
        critical += p > alpha
    enough = runs[stats.binom.sf(critical, runs, truth) >= power]
    return int(enough[0]) if len(enough) else None


def _critical(runs: np.ndarray, share: float, log_e: float) -> np.ndarray:
    """The smallest count of each number of runs whose evidence is log_e; one more than there are where none is."""
    low, high = np.zeros(len(runs), int), runs + 1
    while (open_ := low < high).any():
        middle = (low + high) // 2
        enough = share_evidence(np.minimum(middle, runs), runs, share) >= log_e
        low, high = np.where(open_ & ~enough, middle + 1, low), np.where(open_ & enough, middle, high)
    return high
