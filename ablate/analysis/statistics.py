"""Estimates, intervals and tests on a few values at a time: numpy and scipy, each with the source of its formula.

All tests are of ratios, on logarithms: perplexity and tokens per second are positive and differ by factors.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ablate.analysis.power import detectable_ratio, seeds_for
from ablate.analysis.ratio import RatioTest, independent, paired

__all__ = [
    "RatioTest",
    "bootstrap_interval",
    "bootstrap_means",
    "detectable_ratio",
    "holm",
    "independent",
    "iqm",
    "paired",
    "probability_of_improvement",
    "seeds_for",
]


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


def holm(p: ArrayLike) -> np.ndarray:
    """p-values adjusted for their number (Holm 1979), in the given order; a NaN stays one and does not count."""
    given = np.asarray(p, dtype=float)
    order = np.argsort(given)  # NaN comes last
    m = int((~np.isnan(given)).sum())
    adjusted = np.full(len(given), np.nan)
    steps = given[order[:m]] * np.arange(m, 0, -1)
    adjusted[order[:m]] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def probability_of_improvement(a: ArrayLike, b: ArrayLike, better: str = "lower") -> float:
    """P(a run of `a` is better than one of `b`) over all pairs of runs, ties count half (Agarwal et al. 2021).

    `better` is lower or higher. An infinite value is that of a diverged run; a NaN is left out.
    """
    left, right = (values[~np.isnan(values)] for values in (np.asarray(a, dtype=float), np.asarray(b, dtype=float)))
    if not (len(left) and len(right)):
        return math.nan
    wins = left[:, None] < right if better == "lower" else left[:, None] > right
    return float(np.mean(wins + (left[:, None] == right) / 2))
