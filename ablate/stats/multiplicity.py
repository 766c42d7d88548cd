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
