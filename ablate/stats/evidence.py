"""E-values that stay valid however often somebody looks, and the confidence sequences that they invert to.

An e-process is a function of the runs so far whose mean, where a hypothesis is true, is at most 1 whenever one stops,
whatever made one stop; so the hypothesis is ever given an e of 1/α or more in at most α of all sweeps (Ville 1939;
Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid inference"). Two kinds serve all claims:

    of a mean     the likelihood ratio of the t statistic, mixed over the effect sizes on one side
                  (Lai 1976; Grünwald, de Heide & Koolen 2024; Wang & Ramdas 2024)
    of a share    the likelihood ratio of the count, mixed over the shares on one side (Robbins 1970): a bet on the
                  next run by the runs so far, as in Waudby-Smith & Ramdas (2024). Of one half: the sign test

Both depend on the runs through a sum alone, not on their order. Where the hypothesis holds with more room than at its
bound they are smaller, run by run, so that the bound is the worst case.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

EFFECT_SD = 1.0
"""Standard deviation of the normal distribution of effects (mean over standard deviation) that the t mixture has.

Half of it, or half as much again, changes the mean number of seeds by a sixth at most (docs/claims.md).
"""


def mean_evidence(mean: ArrayLike, sd: ArrayLike, n: ArrayLike) -> np.ndarray:
    """Logarithm of the e-value of "the mean is above 0" against "0 or below", of n normal values of unknown spread.

    Exact for normal values; 0 for n < 2. With y = Σx/√(n Σx²), k = nc²/(1 + nc²) and c = `EFFECT_SD`, mixing the
    likelihood ratio of y over the effects δ > 0 of a normal distribution of standard deviation c gives

        e = 2 √(1 − k) · (1 − k y²)^(−n/2) · P(t with n degrees of freedom ≤ y √(n k / (1 − k y²)))

    The mean of this and of the same for "below" is the mixture over all effects of Lai (1976). It is cut at what n
    seeds that all point one way give by the sign test: beyond that, few runs would owe their evidence to the shape of
    the normal distribution alone. At 95 % nothing is decided from fewer than 7.
    """
    mean, sd, n = np.broadcast_arrays(np.asarray(mean, float), np.asarray(sd, float), np.asarray(n, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        y = mean / np.sqrt(mean**2 + (n - 1) / n * sd**2)
        k = n * EFFECT_SD**2 / (1 + n * EFFECT_SD**2)
        left = 1 - k * y**2
        tail = special.stdtr(n, y * np.sqrt(n * k / left))
        log_e = math.log(2) + np.log1p(-k) / 2 - n / 2 * np.log(left) + np.log(tail)
    log_e = np.minimum(log_e, share_evidence(n, n, 0.5))
    told: np.ndarray = np.where((n < 2) | np.isnan(log_e), 0.0, log_e)
    return told


@lru_cache(maxsize=65536)
def critical_t(n: int, log_e: float) -> float:
    """The t statistic of n values with which `mean_evidence` reaches log_e; ∞ where n values never can."""
    # In y = t/√(t² + n − 1): evidence grows with it.
    low, high = 0.0, 1.0
    if n < 2 or float(mean_evidence(1.0, 0.0, n)) < log_e:
        return math.inf
    for _ in range(60):
        middle = (low + high) / 2
        spread = math.sqrt(n * (1 - middle**2) / (n - 1)) / middle if middle else math.inf
        low, high = (low, middle) if float(mean_evidence(1.0, spread, n)) >= log_e else (middle, high)
    return high * math.sqrt((n - 1) / (1 - high**2)) if high < 1 else math.inf


def share_evidence(count: ArrayLike, n: ArrayLike, share: ArrayLike) -> np.ndarray:
    """Logarithm of the e-value of "more than this share of runs do it" against "no more", where count of n do.

    The binomial likelihood ratio, mixed over the shares above by Jeffreys' Beta(½, ½), cut off at the share. Exact for
    independent runs.
    """
    count, n, share = np.broadcast_arrays(np.asarray(count, float), np.asarray(n, float), np.asarray(share, float))
    a, b = count + 0.5, n - count + 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log(special.betainc(b, a, 1 - share)) - np.log(special.betainc(0.5, 0.5, 1 - share))
        mixed = special.betaln(a, b) - special.betaln(0.5, 0.5) + above
        null = special.xlogy(count, share) + special.xlog1py(n - count, -share)
        log_e: np.ndarray = np.where(n > 0, mixed - null, 0.0)
    return log_e


def share_sequence(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The confidence sequence of a share: what neither side's evidence speaks against with 2/(1 − level) or more.

    It holds at every n at once. (0, 1) of no runs.
    """
    bound = decisive(level)
    low = _falling(lambda share: float(share_evidence(count, n, share)), bound) if count else 0.0
    high = 1 - _falling(lambda share: float(share_evidence(n - count, n, share)), bound) if count < n else 1.0
    return low, high


def _falling(log_e: Callable[[float], float], bound: float) -> float:
    """The share between 0 and 1 at which a falling evidence comes down to the bound."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if log_e(middle) >= bound else (low, middle)
    return low


def decisive(level: float) -> float:
    """Logarithm of the e-value of one side that decides at a level: log 40 at 95 %, for either side errs in 2.5 %."""
    return math.log(2 / (1 - level))


def p_of(log_e: float) -> float:
    """The p that stays valid however often one looks: 1/e."""
    return math.exp(-log_e) if log_e > 0 else 1.0
