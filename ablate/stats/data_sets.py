"""Several data sets at once: mean ranks, aggregates over all runs, probability of improvement, performance profiles.

Axes: D data sets, S settings; the runs of a setting on a data set are a sample (n,) of *losses*, of which lower is
better, and which differ by comparable amounts on all data sets (`ablate.analysis.across`). +∞ is a diverged run.

The interval estimates are those of Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical
precipice": stratified bootstrap percentiles, the runs of each setting on each data set drawn anew. They speak of more
seeds on these data sets, not of other data sets; ranks, and their tests (Demšar 2006, "Statistical comparisons of
classifiers over multiple data sets"), take each data set as one observation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from ablate.stats.independent import probability_of_improvement
from ablate.stats.intervals import iqm
from ablate.stats.ranks import ranks
from ablate.stats.signed_rank import tails

DRAWS = 1000
"""Of the bootstrap."""

FEWEST_RUNS = 2
"""Runs of each setting on each data set from which drawing them anew says anything."""

Samples = Sequence[Sequence[np.ndarray]]
"""Data set → setting → losses (n,)."""


def mean_ranks(losses: np.ndarray) -> np.ndarray:
    """Losses (D, S) → the mean rank of each setting (S,), 1 the best; equal ones share the mean of their ranks."""
    found: np.ndarray = ranks(losses).mean(axis=0)
    return found


def friedman_p(losses: np.ndarray) -> float:
    """p of H0: every order of the settings is as likely on each data set; losses (D, S).

    The F statistic of Iman and Davenport (1980), which Demšar (2006) recommends over Friedman's χ²; with ties χ² is
    corrected. NaN for fewer than two data sets or three settings, and where all settings are equal everywhere.
    """
    D, S = losses.shape
    if D < 2 or S < 3:
        return math.nan
    ranked = ranks(losses)
    within = ((ranked - (S + 1) / 2) ** 2).sum()
    if within == 0:
        return math.nan
    chi2 = (S - 1) * D**2 * ((ranked.mean(axis=0) - (S + 1) / 2) ** 2).sum() / within
    left = D * (S - 1) - chi2
    if left <= 1e-12:  # the same order everywhere
        return 0.0
    return float(special.fdtrc(S - 1, (D - 1) * (S - 1), (D - 1) * chi2 / left))


def critical_difference(settings: int, data_sets: int, level: float = 0.95) -> float:
    """How far two mean ranks have to lie apart to differ by Nemenyi's test: q √(S (S + 1) / 6 D) (Demšar 2006).

    q is the quantile of the studentised range of S settings, over √2.
    """
    from scipy import stats  # half a second of imports, for several data sets alone

    q = stats.studentized_range.ppf(level, settings, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(settings * (settings + 1) / (6 * data_sets)))


def cliques(ranks: Sequence[float], apart: float) -> list[tuple[int, ...]]:
    """The largest sets of settings of which no two mean ranks lie `apart` or farther: the bars of the diagram.

    Each by the places of its settings in `ranks`, the best first; those of one setting are left out.
    """
    order = sorted(range(len(ranks)), key=lambda place: ranks[place])
    found: list[tuple[int, ...]] = []
    for start in range(len(order)):
        group = tuple(place for place in order[start:] if ranks[place] - ranks[order[start]] < apart)
        if len(group) > 1 and not any(set(group) <= set(other) for other in found):
            found.append(group)
    return found


def signed_rank_p(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided exact p of Wilcoxon's signed-rank test over data sets: losses of two settings (D,); NaN of none."""
    differences = a - b
    differences = differences[~np.isnan(differences)]  # both diverged
    return min(1.0, 2 * min(tails(differences))) if len(differences) else math.nan


@dataclass(frozen=True)
class Bootstrap:
    """The losses of all settings on all data sets, and as many sets of them drawn anew within each of these samples.

    Percentiles of what has infinite values are those of a value that occurred.
    """

    samples: Samples
    level: float = 0.95
    draws: int = DRAWS

    @cached_property
    def drawn(self) -> list[list[np.ndarray]]:
        """Data set → setting → losses (draws, n); the seed is 0."""
        rng = np.random.default_rng(0)
        return [[own[rng.integers(len(own), size=(self.draws, len(own)))] for own in row] for row in self.samples]

    @property
    def says_anything(self) -> bool:
        return min(len(own) for row in self.samples for own in row) >= FEWEST_RUNS

    def interval(self, of_draws: np.ndarray) -> np.ndarray:
        """The percentiles of a statistic (draws, …) → (2, …)."""
        if not self.says_anything:
            return np.full((2, *of_draws.shape[1:]), np.nan)
        tail = (1 - self.level) / 2
        found: np.ndarray = np.quantile(of_draws, [tail, 1 - tail], axis=0, method="nearest")
        return found

    def iqm(self, setting: int) -> tuple[float, float, float]:
        """The interquartile mean of all losses of a setting, over all data sets, and its interval."""
        low, high = self.interval(iqm(np.concatenate([row[setting] for row in self.drawn], axis=1)))
        return float(iqm(np.concatenate([row[setting] for row in self.samples]))), float(low), float(high)

    def improvement(self, a: int, b: int) -> tuple[float, float, float]:
        """P(a run of setting a is better than one of b) on the same data set, in the mean over these; its interval."""
        point = np.mean([probability_of_improvement(row[a], row[b]) for row in self.samples])
        low, high = self.interval(np.mean([_wins(row[a], row[b]) for row in self.drawn], axis=0))
        return float(point), float(low), float(high)

    def profile(self, setting: int, taus: np.ndarray) -> np.ndarray:
        """The share of runs whose loss is at most τ, in the mean over data sets, and its interval: (3, taus)."""
        shares = np.mean([(own[setting][:, None] <= taus).mean(axis=0) for own in self.samples], axis=0)
        of_draws = np.mean([(own[setting][:, :, None] <= taus).mean(axis=1) for own in self.drawn], axis=0)
        return np.stack([shares, *self.interval(of_draws)])


def _wins(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`probability_of_improvement` in every draw: (draws, n), (draws, m) → (draws,)."""
    left, right = a[:, :, None], b[:, None, :]
    wins: np.ndarray = ((left < right) + (left == right) / 2).mean(axis=(1, 2))
    return wins
