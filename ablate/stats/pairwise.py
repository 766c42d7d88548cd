"""Many pairs of settings compared at once: of each pair what `ratio` and `difference` say of it alone, digit by digit.

A table can have tens of thousands of pairs. What a setting brings to all of its pairs is computed once, and Welch's t
and the rank test of all pairs in arrays. A pair of which these are not the test, because runs diverged, nothing
spreads, or both settings are the same, is compared by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special

from ablate.stats import rank_sum
from ablate.stats.differences import DifferenceTest, difference
from ablate.stats.effect import Effect
from ablate.stats.independent import constant, two_samples, without_nan
from ablate.stats.power import detectable_each, fewest_each
from ablate.stats.ratios import RatioTest, logs, ratio

Samples = Mapping[str, pd.Series]
"""Setting → its values by seed."""
Pairs = Sequence[tuple[str, str]]
"""Settings of which the first is compared with the second."""

TOGETHER = 1000
"""Pairs whose values are ranked at once."""


@dataclass(frozen=True)
class Comparisons:
    """Arrays (pairs,) of what `Effect` has by the same names, in the unit of the reader."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    p: np.ndarray
    rank_p: np.ndarray
    rank_least_p: np.ndarray
    method: np.ndarray
    _welch: "_Welch" = field(repr=False)
    _alone: Mapping[int, Effect] = field(repr=False)

    def needed(self, level: float) -> list[int | None]:
        """About how many runs of each setting decide each pair at this level; see Contrast.needed."""
        runs = self._welch.needed(self.n, level)
        for place, test in self._alone.items():
            runs[place] = test.at(level).needed()
        return runs


def pairwise_ratios(samples: Samples, pairs: Pairs, level: float = 0.95) -> Comparisons:
    """`ratios.ratio` of every pair."""
    values = _Values.of(samples, pairs, logs)
    return _compared(values, values.may_be_identical(), lambda a, b: ratio(a, b, level), RatioTest, level)


def pairwise_differences(samples: Samples, pairs: Pairs, level: float = 0.95) -> Comparisons:
    """`differences.difference` of every pair."""
    values = _Values.of(samples, pairs, np.asarray)
    nowhere = np.zeros(len(pairs), bool)
    return _compared(values, nowhere, lambda a, b: difference(a, b, level), DifferenceTest, level)


def pairwise_improvements(samples: Samples, pairs: Pairs, better: str = "lower") -> np.ndarray:
    """`independent.probability_of_improvement` of every pair (pairs,)."""
    values, out = _Values.of(samples, pairs, np.asarray), np.full(len(pairs), np.nan)
    for places, one, other in values.by_size(np.arange(len(pairs))):
        m, n = one.shape[1], other.shape[1]
        w, _ = rank_sum.doubled_rank_sums(one, other)
        above = (w - m * (m + 1)) / 2  # pairs of runs of which the first has the larger value; ties count half
        out[places] = (above if better == "higher" else m * n - above) / (m * n)
    return out


@dataclass(frozen=True)
class _Values:
    """The values of the settings that are compared, and for each pair (pairs,) the places of its two settings."""

    samples: list[pd.Series]
    known: list[np.ndarray]  # scaled, without NaN
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, samples: Samples, pairs: Pairs, scale: Callable[[pd.Series], np.ndarray]) -> "_Values":
        place = {name: number for number, name in enumerate(dict.fromkeys(name for pair in pairs for name in pair))}
        own = [samples[name] for name in place]
        first, second = (np.array([place[pair[side]] for pair in pairs], dtype=int) for side in (0, 1))
        return cls(own, [without_nan(scale(sample)) for sample in own], first, second)

    def by_size(self, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Some of the pairs, and their values (pairs, m) and (pairs, n): those of equal m and n together.

        Pairs without a value on either side are left out.
        """
        n = np.array([len(values) for values in self.known], dtype=int)
        sizes = np.stack([n[self.first[chosen]], n[self.second[chosen]]], axis=1)
        for size in np.unique(sizes[sizes.all(axis=1)], axis=0):
            alike = chosen[(sizes == size).all(axis=1)]
            for start in range(0, len(alike), TOGETHER):
                places = alike[start : start + TOGETHER]
                sides = ([self.known[k] for k in side[places]] for side in (self.first, self.second))
                yield places, *map(np.stack, sides)

    def may_be_identical(self) -> np.ndarray:
        """Whether no seed that both settings of a pair have tells them apart (pairs,)."""
        seeds, of = pd.factorize(np.concatenate([[], *(sample.index for sample in self.samples)]))
        table = np.full((len(self.samples), len(of)), np.nan)
        owner = np.repeat(np.arange(len(self.samples)), [len(sample) for sample in self.samples])
        table[owner, seeds] = np.concatenate([[], *(sample.to_numpy(float) for sample in self.samples)])
        out = np.zeros(len(self.first), bool)
        for start in range(0, len(out), TOGETHER):
            some = slice(start, start + TOGETHER)
            one, other = table[self.first[some]], table[self.second[some]]
            out[some] = ((one == other) | np.isnan(one) | np.isnan(other)).all(axis=1)
        return out


def _compared(
    values: _Values,
    alone: np.ndarray,
    single: Callable[[pd.Series, pd.Series], Effect],
    kind: type[Effect],
    level: float,
) -> Comparisons:
    """Those `alone` (pairs,), and those that Welch's t cannot judge, by `single`; all others at once."""
    settings = _Moments.of(values.known)
    one, other = settings.at(values.first), settings.at(values.second)
    n = np.minimum(one.n, other.n)
    spreads = ~(one.constant & other.constant) | (n < 2)
    alone = alone | ~np.isfinite(one.mean) | ~np.isfinite(other.mean) | ~spreads
    welch = _Welch.of(one, other, level)
    rank_p, rank_least_p = np.full((2, len(n)), np.nan)
    for places, first, second in values.by_size(np.flatnonzero(~alone)):
        rank_p[places] = np.minimum(1.0, 2 * np.minimum(*rank_sum.tails_each(first, second)))
        rank_least_p[places] = rank_sum.least_p(first.shape[1], second.shape[1])
    tests = {
        place: single(values.samples[values.first[place]], values.samples[values.second[place]])
        for place in np.flatnonzero(alone).tolist()
    }
    told = welch.estimate, welch.low, welch.high
    estimate, low, high = (np.array([kind.shown(value) for value in side.tolist()]) for side in told)
    method = np.full(len(n), kind(two_samples([], [], level)).method, dtype=object)
    out = Comparisons(
        estimate, low, high, n, np.minimum(1.0, 2 * welch.tail), rank_p, rank_least_p, method, welch, tests
    )
    for place, test in tests.items():
        out.estimate[place], out.low[place], out.high[place] = test.estimate, test.low, test.high
        out.n[place], out.p[place], out.method[place] = test.n, test.p(), test.method
        out.rank_p[place], out.rank_least_p[place] = test.rank_p, test.rank_least_p
    return out


@dataclass(frozen=True)
class _Moments:
    """What Welch's t reads of samples, arrays (samples,)."""

    n: np.ndarray
    mean: np.ndarray  # NaN of none, and not finite where runs diverged
    variance: np.ndarray  # NaN of fewer than two
    constant: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[np.ndarray]) -> "_Moments":
        n = np.array([len(sample) for sample in samples], dtype=int)
        mean, variance = np.full((2, len(n)), np.nan)
        same = np.zeros(len(n), bool)
        for size in np.unique(n[n > 0]):
            alike = np.flatnonzero(n == size)
            rows = np.stack([samples[k] for k in alike.tolist()])
            with np.errstate(invalid="ignore"):
                mean[alike], same[alike] = rows.mean(axis=1), constant(rows)
                if size > 1:
                    variance[alike] = rows.var(axis=1, ddof=1)
        return cls(n, mean, variance, same)

    def at(self, places: np.ndarray) -> "_Moments":
        return _Moments(self.n[places], self.mean[places], self.variance[places], self.constant[places])


@dataclass(frozen=True)
class _Welch:
    """Welch's t test of pairs, arrays (pairs,), on the scale on which effects add up; as `independent.Welch`."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tail: np.ndarray  # the smaller one-sided p
    spread: np.ndarray  # standard deviation of the difference of two runs
    like: np.ndarray  # samples of equal spread that are worth as many degrees of freedom

    @classmethod
    def of(cls, one: _Moments, other: _Moments, level: float) -> "_Welch":
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = [side.variance / side.n for side in (one, other)]
            error = np.sqrt(sum(shares))
            df = _squared(sum(shares)) / sum(
                _squared(share) / (side.n - 1) for share, side in zip(shares, (one, other), strict=True)
            )
            estimate = one.mean - other.mean
            half = np.where(np.isnan(error), np.inf, error * special.stdtrit(df, 0.5 + level / 2))
            tail = np.minimum(special.stdtr(df, estimate / error), special.stdtr(df, -estimate / error))
            spread = one.variance + other.variance
            like = _squared(spread) / (_squared(one.variance) + _squared(other.variance))
            return cls(
                estimate,
                estimate - half,
                estimate + half,
                np.where(np.isnan(error), 1.0, tail),
                np.sqrt(spread),
                like,
            )

    def needed(self, n: np.ndarray, level: float, power: float = 0.8) -> list[int | None]:
        """As `Contrast.needed` of each pair, n (pairs,) the runs of its smaller sample."""
        with np.errstate(invalid="ignore"):
            fewest = fewest_each(
                np.abs(self.estimate),
                lambda n: detectable_each(self.spread, n, level, power, cost=1.0, samples=self.like),
                2,
            )
        least = np.where(self.tail <= (1 - level) / 2, 0, n + 1)
        return [None if np.isnan(runs) else max(int(runs), int(more)) for runs, more in zip(fewest, least, strict=True)]


def _squared(values: np.ndarray) -> np.ndarray:
    """To the last digit as Python squares a number, which numpy does only so."""
    squares: np.ndarray = np.float_power(values, 2)
    return squares
