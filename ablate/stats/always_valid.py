"""Contrasts whose evidence holds however often somebody looked, and whatever made them add runs.

Runs are paired by seed: the weighted sums, seed by seed, are independent values with the contrast as their mean,
whether spreads are equal or not and whatever the settings share in a seed, and each further seed adds one. So one
sequential t test serves two settings, a trend, a gap that narrows, and a single setting against a bound. Where runs
diverged or nothing spreads there is no mean and the sign test decides, on the median; elsewhere it is the check.

Intervals are confidence sequences: in a share `level` of all sweeps they hold the truth at every number of seeds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import special

from ablate.stats.contrast import Contrast
from ablate.stats.evidence import critical_t, decisive, mean_evidence, p_of, share_evidence
from ablate.stats.independent import constant, standard_deviation
from ablate.stats.paired import sums_by_seed
from ablate.stats.power import standardised_interval
from ablate.stats.signed_rank import DECIMALS, median


@dataclass(frozen=True)
class AlwaysValid(Contrast):
    """Of the sums by seed (k,), those of which both runs diverged left out; n counts all seeds that were compared."""

    sums: np.ndarray = field(repr=False, compare=False)

    def log_e_below(self, bound: float = 0.0) -> float:
        """Logarithm of the e-value of "the contrast lies below the bound"."""
        return self._above(-self.sums, -bound)

    def log_e_above(self, bound: float = 0.0) -> float:
        """Logarithm of the e-value of "the contrast lies above the bound"."""
        return self._above(self.sums, bound)

    def _above(self, sums: np.ndarray, bound: float) -> float:
        raise NotImplementedError

    def p_below(self, bound: float = 0.0) -> float:
        return p_of(self.log_e_below(bound))

    def p_above(self, bound: float = 0.0) -> float:
        return p_of(self.log_e_above(bound))

    @property
    def is_always_valid(self) -> bool:
        return True

    @property
    def rank_name(self) -> str:
        return "sign test"

    def rank_tails(self, bound: float = 0.0) -> tuple[float, float]:
        below, above = (signs_above(sums) for sums in (bound - self.sums, self.sums - bound))
        return p_of(below), p_of(above)

    @property
    def rank_least_p(self) -> float:
        n = len(self.sums)
        return min(1.0, 2 * p_of(float(share_evidence(n, n, 0.5))))


@dataclass(frozen=True)
class SequentialT(AlwaysValid):
    """The t test of finite sums: exact at every n for normal values; for others as far as the t test is."""

    def _above(self, sums: np.ndarray, bound: float) -> float:
        return float(mean_evidence(sums.mean() - bound, self._sd, len(sums))) if len(sums) > 1 else 0.0

    @cached_property
    def _sd(self) -> float:
        return float(self.sums.std(ddof=1))

    @property
    def method(self) -> str:
        return "always-valid t, by seed"

    @property
    def _least(self) -> int:
        return next(n for n in range(2, 1000) if critical_t(n, decisive(self.level)) < math.inf)

    def _detectable(self, n: int, power: float) -> float:
        """What reaches the decisive evidence at n itself; some sweeps reach it before."""
        if len(self.sums) < 2 or n < 2:
            return math.nan
        t = critical_t(n, decisive(self.level)) + float(special.stdtrit(n - 1, power))
        return t * self._sd / math.sqrt(n)

    def _effects(self, bound: float, level: float) -> tuple[float, float]:
        n = len(self.sums)
        if n < 2 or not self._sd:
            return math.nan, math.nan
        t = (self.estimate - bound) * math.sqrt(n) / self._sd
        low, high = standardised_interval(t, n - 1, level)
        return low * self._sd / math.sqrt(n), high * self._sd / math.sqrt(n)


@dataclass(frozen=True)
class SequentialSigns(AlwaysValid):
    """The sign test: whether more than half of the seeds show a sum above the bound; one that is equal is left out."""

    reason: str = ""

    def _above(self, sums: np.ndarray, bound: float) -> float:
        return signs_above(sums - bound)

    @property
    def method(self) -> str:
        return f"always-valid sign test, by seed: {self.reason}"

    @property
    def _least(self) -> int:
        return next(n for n in range(1, 1000) if float(share_evidence(n, n, 0.5)) >= decisive(self.level))

    def _detectable(self, n: int, power: float) -> float:
        spread = standard_deviation(self.sums)
        if math.isnan(spread):
            return math.nan
        # Signs need π/2 times the runs that a t test needs, on normal values.
        t = critical_t(max(n, 2), decisive(self.level)) + float(special.stdtrit(max(n - 1, 1), power))
        return t * spread * math.sqrt(math.pi / 2 / n)


def signs_above(sums: np.ndarray) -> float:
    """Logarithm of the e-value of "more than half of the sums are above 0"."""
    signs = np.sign(np.round(sums, DECIMALS)) if len(sums) else sums
    above, below = int((signs > 0).sum()), int((signs < 0).sum())
    return float(share_evidence(above, above + below, 0.5))


def by_seed(weights: Mapping[str, float], values: Mapping[str, pd.Series], level: float = 0.95) -> AlwaysValid:
    """The weighted sum of settings, over the seeds (the index) that all of them have a value for."""
    sums, silent = sums_by_seed(weights, values)
    n, sums = len(sums), sums[~silent]
    if not np.isfinite(sums).all():
        return _signs(sums, n, level, "runs diverged")
    if len(sums) > 1 and constant(sums):
        return _signs(sums, n, level, "no spread")
    if len(sums) < 2:
        return SequentialT(float(sums.mean()) if len(sums) else math.nan, -math.inf, math.inf, n, level, sums)
    centre, error = float(sums.mean()), float(sums.std(ddof=1)) / math.sqrt(len(sums))
    half = error * critical_t(len(sums), decisive(level))
    return SequentialT(centre, centre - half, centre + half, n, level, sums)


def _signs(sums: np.ndarray, n: int, level: float, reason: str) -> SequentialSigns:
    """With the bounds of the median that its signs do not speak against: two of the sums, in order."""
    ordered, bound = np.sort(sums), decisive(level)
    beyond = [k for k in range(len(sums) + 1) if float(share_evidence(k, len(sums), 0.5)) >= bound]
    low = float(ordered[len(sums) - beyond[0]]) if beyond else -math.inf  # so many sums are at least this
    high = float(ordered[beyond[0] - 1]) if beyond else math.inf
    return SequentialSigns(median(sums), low, high, n, level, sums, reason)
