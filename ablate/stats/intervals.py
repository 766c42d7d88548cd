"""What a few values come to: their mean, spread and intervals, each with the source of its formula."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

BOOTSTRAP_FROM = 6
"""Values from which a bootstrap interval is told: with 3 that of 95 % covers 76 %."""

OUTLYING = 5.0
"""Scaled median absolute deviations beyond which a run lies outside its group."""


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of values (n,); (NaN, NaN) for fewer than two or infinite ones."""
    array = np.asarray(values, dtype=float)
    n = len(array)
    if n < 2 or not np.isfinite(array).all():
        return math.nan, math.nan
    half = float(special.stdtrit(n - 1, 0.5 + level / 2) * array.std(ddof=1)) / math.sqrt(n)
    return float(array.mean()) - half, float(array.mean()) + half


def geometric_mean(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Geometric mean of positive values (n,) and Student's t interval on their logarithms, which lies around it.

    NaN for no value, and for the interval of fewer than two.
    """
    logs = np.log(np.asarray(values, dtype=float))
    if not len(logs):
        return math.nan, math.nan, math.nan
    with np.errstate(over="ignore"):  # of two runs that have nothing in common the interval ends at ∞
        low, high = np.exp(t_interval(logs, level))
    return float(np.exp(logs.mean())), float(low), float(high)


def share_interval(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a share of `count` in n runs (Clopper & Pearson 1934); (NaN, NaN) of no runs.

    What the exact binomial test at (1 − level)/2 on either side does not reject.
    """
    if not n:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low = special.betaincinv(count, n - count + 1, tail) if count else 0.0
    high = special.betaincinv(count + 1, n - count, 1 - tail) if count < n else 1.0
    return float(low), float(high)


def outlying(values: ArrayLike, times: float = OUTLYING) -> np.ndarray:
    """Which of the values (n,) lie farther from their median than so many scaled median absolute deviations.

    The deviation is scaled by 1.4826, so that it is the standard deviation of normal values. One stuck run widens a t
    interval of the mean, or shifts it off the others. A diverged run (±∞) lies outside, a NaN does not; none does of
    fewer than four finite values, nor where more than half of these are equal.
    """
    array = np.asarray(values, dtype=float)
    finite = array[np.isfinite(array)]
    diverged: np.ndarray = np.isinf(array)
    if len(finite) < 4:
        return diverged
    distance: np.ndarray = np.abs(array - np.median(finite))
    scale = 1.4826 * float(np.median(np.abs(finite - np.median(finite))))
    return np.greater(distance, times * scale) if scale else diverged


def iqm(values: ArrayLike, axis: int = -1) -> Any:
    """Interquartile mean: the mean without the lowest and the highest quarter (Agarwal et al. 2021, rliable).

    A quarter is rounded down, so that up to three values all count. NaN where there are none.
    """
    ordered = np.sort(np.asarray(values, dtype=float), axis=axis)
    n = ordered.shape[axis]
    middle = np.take(ordered, np.arange(n // 4, n - n // 4), axis=axis)
    return middle.mean(axis=axis) if n else np.full(middle.sum(axis=axis).shape, np.nan)[()]


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    level: float = 0.95,
    draws: int = 2000,
    rng: np.random.Generator | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic(values, axis=-1)`; NaNs are left out.

    The percentiles are widened for small n as Hesterberg (2015, "What teachers should know about the bootstrap")
    expands them: otherwise the interval of ten values is a tenth too narrow. Without `rng` the seed is 0. NaN for
    fewer than `BOOTSTRAP_FROM` values, of which resampling tells too little.
    """
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    n = len(known)
    if n < BOOTSTRAP_FROM:
        return math.nan, math.nan
    resampled = known[(rng or np.random.default_rng(0)).integers(n, size=(draws, n))]
    low, high = np.quantile(statistic(resampled, axis=-1), _percentiles(n, level))
    return float(low), float(high)


def bootstrap_means(rows: np.ndarray, level: float = 0.95, draws: int = 2000) -> np.ndarray:
    """`bootstrap_interval` of the mean of every row (settings, n), for all of them at once: (settings, 2)."""
    n = rows.shape[1]
    if n < BOOTSTRAP_FROM:
        return np.full((len(rows), 2), np.nan)
    drawn = np.random.default_rng(0).integers(n, size=(draws, n))
    times = np.zeros((draws, n))  # how often each value is drawn
    np.add.at(times, (np.arange(draws)[:, None], drawn), 1 / n)
    chunks = [
        np.quantile(times @ rows[start : start + 500].T, _percentiles(n, level), axis=0).T
        for start in range(0, len(rows), 500)
    ]
    return np.concatenate(chunks)


def _percentiles(n: int, level: float) -> tuple[float, float]:
    tail = float(special.ndtr(-math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, 0.5 + level / 2)))
    return tail, 1 - tail
