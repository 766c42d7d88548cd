"""The rank-sum test of Wilcoxon (1945), Mann and Whitney (1947): exact with ties and infinite values.

Equal values share their mean rank, and the null distribution is that of the ranks so shared: each choice of m of the
m + n ranks is equally likely (Hollander, Wolfe & Chicken, Nonparametric Statistical Methods, 2014, section 4.1). An
infinite value (a diverged run) is larger, or smaller, than any other and equal to its like.
"""

import math
from functools import lru_cache

import numpy as np
from scipy import special

from ablate.stats.signed_rank import DECIMALS, doubled_ranks

EXACT_UP_TO = 60
"""Values of both samples up to which the null distribution is enumerated; beyond, it is taken as normal."""


def least_p(m: int, n: int) -> float:
    """The smallest two-sided p that the exact test of m and n runs can give, where no two are equal."""
    return min(1.0, 2 / math.comb(m + n, m))


def tails(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """P(W ≤ w) and P(W ≥ w) of w, the sum of the ranks of a (m,) among a and b (n,), where both have one distribution.

    (1, 1) where a sample is empty.
    """
    m, n = len(a), len(b)
    if not (m and n):
        return 1.0, 1.0
    if m > n:
        at_most, at_least = tails(b, a)
        return at_least, at_most
    ranks = doubled_ranks(np.round(np.concatenate([a, b]), DECIMALS))
    w = int(ranks[:m].sum())
    if m + n <= EXACT_UP_TO:
        lower, upper = _distribution(np.sort(ranks).tobytes(), m)
        return float(lower[w]), float(upper[w])
    # The variance with ties of Lehmann (1975); a whole rank is 2 here, so the correction for continuity is 1.
    mean, sd = m * (m + n + 1), math.sqrt(m * n / (m + n - 1) * float(ranks.var()))
    if not sd:
        return 1.0, 1.0
    return float(special.ndtr((w - mean + 1) / sd)), float(special.ndtr((mean - w + 1) / sd))


@lru_cache(maxsize=1024)
def _distribution(doubled: bytes, m: int) -> tuple[np.ndarray, np.ndarray]:
    """P(W ≤ w) and P(W ≥ w) for w = 0, 1 … the sum of m of the doubled ranks (int64 as bytes), drawn at random."""
    ranks = np.frombuffer(doubled, dtype=np.int64)
    ways = np.zeros((m + 1, int(ranks[-m:].sum()) + 1))  # how many choose j ranks whose sum is w
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    p = ways[m] / math.comb(len(ranks), m)
    return np.minimum(1.0, np.cumsum(p)), np.minimum(1.0, np.cumsum(p[::-1])[::-1])
