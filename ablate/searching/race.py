"""How many seeds a configuration deserves, and what its seeds say.

While it races, every configuration has the same seeds and two are compared seed by seed; what is reported in the end is
compared as everywhere (`ablate.stats`). Effects add up on the `Scale` of a metric: on logarithms for one that is
positive, such as a perplexity, and on its own values for one that may be 0, such as an accuracy. A run that diverged
counts as infinite: worse than any that did not.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from ablate.analysis.trials import SAME
from ablate.config.metrics import METRICS, by_difference
from ablate.stats import DifferenceTest, RatioTest, difference, paired_difference, paired_ratio, ratio, t_interval

LIMIT = 0.1
"""The p below which a configuration is dropped, unless the search says otherwise."""
RANKS_FROM = 4
"""Pairs from which ranks decide, where they can; otherwise it is the spread that all races have shown together."""
Results = Mapping[int, float]
"""Seed → metric."""


@dataclass(frozen=True)
class Scale:
    """How the values of a metric are averaged and compared."""

    ratio: bool = True  # by ratios, on logarithms: for positive metrics only
    better: str = "lower"
    bounds: tuple[float, float] = (-math.inf, math.inf)  # the smallest and the largest value that there can be

    @classmethod
    def of(cls, metric: str, better: str) -> "Scale":
        """That of a known metric; of any other number, which may be negative, by differences."""
        known = metric in METRICS or metric == "tokens_per_s"
        return cls(known and not by_difference(metric), better, METRICS.known(metric).bounds)

    @property
    def worst(self) -> float:
        """The value of a run that diverged."""
        return math.inf if self.better == "lower" else -math.inf

    def losses(self, values: Iterable[float]) -> np.ndarray:
        """Values (n,) as losses: the lower the better, differences add up, ∞ for what diverged."""
        given = np.array(list(values), dtype=float)
        gone = np.isinf(given)
        with np.errstate(divide="ignore"):
            scaled = np.log(np.where(gone, 1.0, given)) if self.ratio else np.where(gone, 0.0, given)
        losses: np.ndarray = np.where(gone, np.inf, scaled if self.better == "lower" else -scaled)
        return losses

    def value(self, loss: float) -> float:
        """The value that has this loss."""
        if math.isinf(loss):
            return self.worst
        scaled = loss if self.better == "lower" else 0.0 - loss  # and not −0
        return math.exp(scaled) if self.ratio else scaled


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


def estimate(results: Results, scale: Scale = Scale()) -> float:
    """The mean over the seeds on the scale: geometric for a perplexity, arithmetic for an accuracy.

    The worst value there is where any run diverged.
    """
    values = list(results.values())
    if len(values) == 1 and math.isfinite(values[0]):
        return values[0]
    return scale.value(float(scale.losses(values).mean()))


def interval(results: Results, scale: Scale = Scale(), level: float = 0.95) -> tuple[float, float]:
    """The Student t interval of the mean on the scale, low and high; NaN where there is none.

    There is none for fewer than two seeds, or where one diverged.
    """
    losses = scale.losses(results.values())
    if len(losses) < 2 or not np.isfinite(losses).all():
        return math.nan, math.nan
    least, most = scale.bounds
    low, high = sorted(map(scale.value, t_interval(losses, level)))
    return max(least, low), min(most, high)


def same(a: float, b: float) -> bool:
    """Whether two estimates are equal, but for rounding."""
    return a == b or math.isclose(a, b, rel_tol=SAME)


def differences(results: Results, best: Results, scale: Scale = Scale()) -> np.ndarray:
    """How much worse than the best configuration on the scale, seed by seed, where the best one did not diverge.

    What is rounding alone is no difference.
    """
    seeds = [seed for seed in results if seed in best and math.isfinite(best[seed])]
    mine, theirs = (scale.losses(one[seed] for seed in seeds) for one in (results, best))
    found: np.ndarray = np.where(np.isclose(mine, theirs, rtol=SAME, atol=SAME), 0.0, mine - theirs)
    return found


def spread(best: Results, others: Sequence[Results], scale: Scale = Scale()) -> float:
    """How much one pair of runs differs by chance: the median, over the configurations with enough seeds, of the
    standard deviation of their differences from the best one.

    Until there are three such configurations, √2 times the standard deviation of the best one's own seeds.
    """
    found = []
    for results in others:
        d = differences(results, best, scale)
        if len(d) >= 3 and np.isfinite(d).all():
            found.append(float(d.std(ddof=1)))
    if len(found) >= 3:
        return float(np.median(found))
    losses = scale.losses(best.values())
    own = losses[np.isfinite(losses)]
    return math.sqrt(2) * float(own.std(ddof=1)) if len(own) >= 3 else math.nan


def worse(results: Results, best: Results, noise: float, scale: Scale = Scale(), limit: float = LIMIT) -> float:
    """One-sided p of the hypothesis that this configuration is as good as the best one; small where it is worse.

    By the signed-rank test of `ablate.stats`, from four common seeds on and where its p can fall below `limit`; else by
    the mean difference against `noise`, the standard deviation of one pair that all races together have shown. 1 where
    nothing can be said. The test is repeated as seeds come in, so it is a rule for spending them, not a finding.
    """
    d = differences(results, best, scale)
    if len(d) == 0:
        return 1.0
    if not np.isfinite(d).all():
        return 0.0  # diverged where the best one did not
    least = 0.5 ** np.count_nonzero(d)  # p of the signed ranks where all pairs that differ say the same
    if len(d) >= RANKS_FROM and least < limit:
        test = _paired(results, best, scale)
        return test.p_above() if scale.better == "lower" else test.p_below()
    if not noise > 0:
        return 1.0
    return float(special.ndtr(-d.mean() * math.sqrt(len(d)) / noise))


@dataclass(frozen=True)
class SeedComparison:
    """One configuration against another: estimate, interval and p of one test, so that they never contradict."""

    kind: str  # ratio: mine / reference; difference: mine − reference
    value: float
    low: float
    high: float
    n: int
    p: float  # two-sided
    method: str
    diverged: int  # runs of this configuration that diverged
    reference_diverged: int


def compare(results: Results, reference: Results, scale: Scale = Scale(), level: float = 0.95) -> SeedComparison:
    """These results against those of a reference. Diverged runs of either count as the worst that there is.

    `value` is NaN where the results say nothing, as where all runs of both diverged; the ends are 0, −∞ or ∞ where
    they are too few to exclude anything.
    """
    gone = [sum(map(math.isinf, one.values())) for one in (results, reference)]
    a, b = pd.Series(results, dtype=float), pd.Series(reference, dtype=float)
    if scale.ratio:
        of = ratio(a, b, level)
        return SeedComparison("ratio", of.ratio, of.low, of.high, of.n, of.p(), of.method, *gone)
    by = difference(a, b, level)
    return SeedComparison("difference", by.difference, by.low, by.high, by.n, by.p(), by.method, *gone)


def _paired(results: Results, reference: Results, scale: Scale) -> RatioTest | DifferenceTest:
    a, b = pd.Series(results, dtype=float), pd.Series(reference, dtype=float)
    return paired_ratio(a, b) if scale.ratio else paired_difference(a, b)
