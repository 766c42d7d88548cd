"""Two samples that share nothing, such as the runs of two settings."""

import math

import numpy as np
from numpy.typing import ArrayLike


def probability_of_improvement(a: ArrayLike, b: ArrayLike, better: str = "lower") -> float:
    """P(a run of `a` is better than one of `b`) over all pairs of runs, ties count half (Agarwal et al. 2021).

    `better` is lower or higher. An infinite value is that of a diverged run; a NaN is left out.
    """
    left, right = (values[~np.isnan(values)] for values in (np.asarray(a, dtype=float), np.asarray(b, dtype=float)))
    if not (len(left) and len(right)):
        return math.nan
    wins = left[:, None] < right if better == "lower" else left[:, None] > right
    return float(np.mean(wins + (left[:, None] == right) / 2))
