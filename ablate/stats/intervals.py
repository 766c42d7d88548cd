"""What a few values come to: interquartile mean and bootstrap intervals, each with the source of its formula."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


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
    expands them: otherwise the interval of five values is a fifth too narrow. Without `rng` the seed is 0. NaN for
    fewer than two values.
    """
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    n = len(known)
    if n < 2:
        return math.nan, math.nan
    resampled = known[(rng or np.random.default_rng(0)).integers(n, size=(draws, n))]
    low, high = np.quantile(statistic(resampled, axis=-1), _percentiles(n, level))
    return float(low), float(high)


def bootstrap_means(rows: np.ndarray, level: float = 0.95, draws: int = 2000) -> np.ndarray:
    """`bootstrap_interval` of the mean of every row (cells, n), for all of them at once: (cells, 2)."""
    n = rows.shape[1]
    if n < 2:
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
