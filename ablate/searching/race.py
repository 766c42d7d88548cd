"""How many seeds a configuration deserves, and what its seeds say. Metrics here are positive, lower is better.

While it races, every configuration has the same seeds and two are compared seed by seed; what is reported in the end is
compared as everywhere (`ablate.stats`). A run that diverged counts as infinite: worse than any that did not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from ablate.stats import paired_ratio, ratio, t_interval

RANKS_FROM = 4
"""Pairs from which a signed-rank test is used: its one-sided p cannot go below 2 to the power of minus the pairs."""

Results = Mapping[int, float]
"""Seed → metric."""


def ladder(first: int, k: int) -> list[int]:
    """After how many seeds a configuration is judged: few, then twice as many each time, then all.

    `ladder(2, 6)` is [2, 4, 6], `ladder(2, 5)` is [2, 5]: a step that would add little is left out.
    """
    steps = [min(first, k)]
    while steps[-1] * 2 < k:
        steps.append(steps[-1] * 2)
    if len(steps) > 1 and k < 1.5 * steps[-1]:
        steps.pop()
    return steps if steps[-1] == k else [*steps, k]


def estimate(results: Results) -> float:
    """The geometric mean over the seeds: the perplexity of the mean cross-entropy. Infinite if any is."""
    values = list(results.values())
    if len(values) == 1:
        return values[0]
    return math.exp(sum(map(math.log, values)) / len(values)) if all(map(math.isfinite, values)) else math.inf


def interval(results: Results, level: float = 0.95) -> tuple[float, float]:
    """The Student t interval of the geometric mean; unbounded for fewer than two seeds or a diverged one."""
    low, high = t_interval(np.log(list(results.values())), level)
    return (0.0, math.inf) if math.isnan(low) else (math.exp(low), math.exp(high))


def differences(results: Results, best: Results) -> np.ndarray:
    """Logarithms of the ratios to the best configuration, seed by seed."""
    pairs = [(results[seed], best[seed]) for seed in results if seed in best and math.isfinite(best[seed])]
    return np.array([math.log(mine) - math.log(other) if math.isfinite(mine) else math.inf for mine, other in pairs])


def spread(best: Results, others: Sequence[Results]) -> float:
    """How much one pair of runs differs by chance: the median, over the configurations with enough seeds, of the
    standard deviation of their differences from the best one.

    Until there are three such configurations, √2 times the standard deviation of the best one's own seeds.
    """
    found = []
    for results in others:
        d = differences(results, best)
        if len(d) >= 3 and np.isfinite(d).all():
            found.append(float(d.std(ddof=1)))
    if len(found) >= 3:
        return float(np.median(found))
    own = np.log([value for value in best.values() if math.isfinite(value)])
    return math.sqrt(2) * float(own.std(ddof=1)) if len(own) >= 3 else math.nan


def worse(results: Results, best: Results, noise: float) -> float:
    """One-sided p of the hypothesis that this configuration is as good as the best one; small where it is worse.

    From four common seeds on by the exact signed-rank test; with fewer, which ranks could never decide, by the mean
    difference against `noise`, the standard deviation of one pair that all races together have shown. 1 where
    nothing can be said. The test is repeated as seeds come in, so it is a rule for spending them, not a finding.
    """
    d = differences(results, best)
    if len(d) == 0:
        return 1.0
    if not np.isfinite(d).all():
        return 0.0  # diverged where the best one did not
    if len(d) >= RANKS_FROM:
        return paired_ratio(pd.Series(results), pd.Series(best)).p_above()
    if not noise > 0:
        return 1.0
    return float(special.ndtr(-d.mean() * math.sqrt(len(d)) / noise))


@dataclass(frozen=True)
class Ratio:
    """How much lower one configuration is than another: the ratio of geometric means, as `stats.ratio` has it."""

    ratio: float
    low: float
    high: float
    n: int
    p: float  # two-sided
    method: str = ""


def ratio_to(results: Results, reference: Results, level: float = 0.95) -> Ratio:
    """Results over those of the reference, by the test that tables and verdicts use; a diverged run is the worst."""
    test = ratio(pd.Series(results, dtype=float), pd.Series(reference, dtype=float), level)
    return Ratio(test.ratio, test.low, test.high, test.n, test.p(), test.method)
