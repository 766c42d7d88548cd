"""The rank-sum test of Wilcoxon (1945), Mann and Whitney (1947): exact with ties and infinite values.

Equal values share their mean rank, and the null distribution is that of the ranks so shared: each choice of m of the
m + n ranks is equally likely (Hollander, Wolfe & Chicken, Nonparametric Statistical Methods, 2014, section 4.1). An
infinite value (a diverged run) is larger, or smaller, than any other and equal to its like.
"""

import math
from functools import lru_cache

import numpy as np
from scipy import special

from ablate.stats.signed_rank import DECIMALS

EXACT_UP_TO = 60
"""Values of both samples up to which the null distribution is enumerated; beyond, it is taken as normal."""


def least_p(m: int, n: int) -> float:
    """The smallest two-sided p that the exact test of m and n runs can give, where no two are equal."""
    return min(1.0, 2 / math.comb(m + n, m))


def tails(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """P(W ≤ w) and P(W ≥ w) of w, the sum of the ranks of a (m,) among a and b (n,), where both have one distribution.

    (1, 1) where a sample is empty.
    """
    at_most, at_least = tails_each(a[None], b[None])
    return float(at_most[0]), float(at_least[0])


def tails_each(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`tails` of many pairs of samples, a (pairs, m) and b (pairs, n): two arrays (pairs,)."""
    m, n = a.shape[1], b.shape[1]
    if not (m and n):
        return np.ones(len(a)), np.ones(len(a))
    if m > n:
        at_most, at_least = tails_each(b, a)
        return at_least, at_most
    w, ranks = doubled_rank_sums(np.round(a, DECIMALS), np.round(b, DECIMALS))
    if m + n <= EXACT_UP_TO:
        distributions = [_distribution(row.tobytes(), m) for row in ranks]
        at_most, at_least = (
            np.array([both[side][at] for both, at in zip(distributions, w.tolist(), strict=True)]) for side in (0, 1)
        )
        return at_most, at_least
    # The variance with ties of Lehmann (1975); a whole rank is 2 here, so the correction for continuity is 1.
    mean, sd = m * (m + n + 1), np.sqrt(m * n / (m + n - 1) * ranks.var(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        at_most, at_least = (np.where(sd > 0, special.ndtr((d + 1) / sd), 1.0) for d in (w - mean, mean - w))
    return at_most, at_least


def doubled_rank_sums(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs of samples, a (pairs, m) and b (pairs, n), twice the sum of the ranks of a (pairs,) among both, and
    twice all of these ranks, in order (pairs, m + n).

    Ranks are counted from 1; equal values share their mean, so that twice it is whole.
    """
    both, (m, n) = np.concatenate([a, b], axis=1), (a.shape[1], b.shape[1])
    order = np.argsort(both, axis=1)
    ordered = np.take_along_axis(both, order, axis=1)
    begins = np.ones((len(a), m + n + 1), dtype=bool)  # whether another value begins there than stood before
    begins[:, 1:-1] = ordered[:, 1:] != ordered[:, :-1]
    place = np.arange(m + n)
    first = np.maximum.accumulate(np.where(begins[:, :-1], place, 0), axis=1)
    last = np.minimum.accumulate(np.where(begins[:, 1:], place, m + n)[:, ::-1], axis=1)[:, ::-1]
    ranks = first + last + 2
    return np.where(order < m, ranks, 0).sum(axis=1), ranks


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
