"""Several tests at once."""

import numpy as np
from numpy.typing import ArrayLike


def holm(p: ArrayLike) -> np.ndarray:
    """p-values adjusted for their number (Holm 1979), in the given order: they keep the error rate of the family.

    The family is all that is given at once; a NaN stays one and does not count.
    """
    given = np.asarray(p, dtype=float)
    order = np.argsort(given)  # NaN comes last
    m = int((~np.isnan(given)).sum())
    adjusted = np.full(len(given), np.nan)
    steps = given[order[:m]] * np.arange(m, 0, -1)
    adjusted[order[:m]] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def e_bh(log_e: ArrayLike) -> np.ndarray:
    """The levels at which each of several e-values, given by their logarithms, is found by e-BH (Wang & Ramdas 2022).

    Those found at a level α are false in a share of at most α in the mean, however the e-values depend on each other;
    where all are, one is found in at most α of all cases. A NaN stays one and does not count.
    """
    given = np.asarray(log_e, dtype=float)
    order = np.argsort(-given)  # NaN comes last
    m = int((~np.isnan(given)).sum())
    adjusted = np.full(len(given), np.nan)
    with np.errstate(over="ignore"):
        steps = m / np.arange(1, m + 1) * np.exp(-given[order[:m]])
    adjusted[order[:m]] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return adjusted


def of_a_page(p: ArrayLike, log_e: ArrayLike) -> np.ndarray:
    """`holm` of the p-values and `e_bh` of the e-values of one page, each NaN where the other is given.

    The two share the level by their numbers, so that where every hypothesis of the page is true one is found in at most
    α of all cases.
    """
    fixed, sequential = holm(p), e_bh(log_e)
    m, of_p, of_e = len(fixed), int((~np.isnan(fixed)).sum()), int((~np.isnan(sequential)).sum())
    family = (of_p + of_e) / max(1, of_p), (of_p + of_e) / max(1, of_e)
    if m and np.any(~np.isnan(fixed) & ~np.isnan(sequential)):
        raise ValueError("a hypothesis has a p or an e, not both")
    return np.minimum(1.0, np.where(np.isnan(fixed), sequential * family[1], fixed * family[0]))
