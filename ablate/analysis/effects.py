"""What each knob of a grid does on average, and how much of all variation comes from it.

On the logarithm of the metric, so that effects are factors; on the metric itself where it may be 0. Diverged runs have
no such value and are left out: count them beside these numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Self

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from scipy import special

from ablate.analysis.samples import added_up
from ablate.config.metrics import METRICS, by_difference

MOST_COLUMNS = 1000
"""Columns of the design matrix; an interaction, or the seeds, that would exceed them counts as residual."""

ROUNDING = 1e-9
"""Values that differ by less than this share of themselves are equal."""


def main_effects(runs: pd.DataFrame, metric: str, knobs: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """One row per knob and value, numbers by size: knob, value, n (runs), mean, low, high, in units of the metric.

    `mean` is the geometric mean over the settings that have this value, each setting counting alike; the arithmetic
    one of a metric that may be 0. The interval is that of
    Student's t over the seeds: each seed gives its mean deviation over those settings, so that what the other knobs do,
    the same for every seed, does not widen it, and ends where the metric does. Where settings have different numbers of
    runs, each counts by how far its own mean can be off (`_over_seeds`). Empty where a setting has fewer than two.
    """
    known = _finite(runs, metric)
    known = known.assign(setting_mean=known.groupby("setting_id")["added_up"].transform("mean"))
    rows, names = [], ("mean", "low", "high")
    for knob in knobs:
        for value, group in known.groupby(knob, dropna=False, sort=is_numeric_dtype(known[knob])):
            mean = group.drop_duplicates("setting_id")["setting_mean"].mean()
            error, df = _over_seeds(group)
            half = special.stdtrit(df, 0.5 + level / 2) * error
            told = np.array([mean, mean - half, mean + half])
            with np.errstate(over="ignore"):
                told = np.clip(told if by_difference(metric) else np.exp(told), *METRICS.known(metric).bounds)
            rows.append({"knob": knob, "value": value, "n": len(group)} | dict(zip(names, told, strict=True)))
    return pd.DataFrame(rows, columns=["knob", "value", "n", *names])


def _over_seeds(runs: pd.DataFrame) -> tuple[float, float]:
    """Standard error of the mean of the settings' means, and its degrees of freedom, from the runs of these settings.

    A seed adds to the error what it does in all settings together. With n runs of every setting, of the same seeds,
    that is the t interval of the n seeds' means. (NaN, NaN) where a setting has a single run.
    """
    n = runs.groupby("setting_id")["seed"].transform("size")
    if n.min() < 2:
        return np.nan, np.nan
    deviation: pd.Series = (runs["added_up"] - runs["setting_mean"]) / np.sqrt(n * (n - 1))
    by_seed = pd.DataFrame({"deviation": deviation, "weight": 1 / n**2}).groupby(runs["seed"]).sum()
    error = np.sqrt(np.square(by_seed["deviation"]).sum()) / runs["setting_id"].nunique()
    # As many seeds of equal weight are worth as much (Satterthwaite 1946).
    return float(error), by_seed["weight"].sum() ** 2 / np.square(by_seed["weight"]).sum() - 1


def variance_split(runs: pd.DataFrame, metric: str, knobs: Sequence[str]) -> pd.DataFrame:
    """source, share: how much of the variance over all runs comes from where; the shares sum to 1.

    Empty where there is no variance to split: fewer than two runs with a value, or all values equal up to rounding.
    The variance is that of the logarithm of the metric, or of the metric itself where it may be 0. Sources are each
    knob, each two-way interaction ("a × b"), "seed" (what a seed does in all settings alike) and "residual" (everything
    else: higher interactions, and what a seed does in a setting of its own). On a complete balanced grid this is the
    classical analysis of variance. On any other the sources overlap: first the knobs, then the seed, then the
    interactions are added one by one, in their order and in the reverse one, and each has the mean of what it explains
    in both (for two knobs that is what Lindeman, Merenda & Gold, 1980, propose).
    """
    known = _finite(runs, metric)
    if not varies(known["added_up"].to_numpy()):
        return pd.DataFrame({"source": pd.Series(dtype=object), "share": pd.Series(dtype=float)})
    knobs = [knob for knob in knobs if known[knob].nunique(dropna=False) > 1]
    values = known["added_up"].to_numpy() - known["added_up"].mean()
    total = float(values @ values)
    codes = {name: pd.factorize(known[name], use_na_sentinel=False)[0] for name in (*knobs, "seed")}
    levels = {knob: codes[knob] for knob in knobs}
    room = MOST_COLUMNS - sum(int(code.max()) + 1 for code in levels.values())
    optional = [("seed", ["seed"]), *((f"{a} × {b}", [a, b]) for a, b in combinations(knobs, 2))]
    for source, columns in optional:
        code = _together([codes[name] for name in columns])
        if 0 < code.max() < room:
            levels[source] = code
            room -= int(code.max()) + 1
    squares = dict.fromkeys(levels, 0.0)
    pairs = [source for source in levels if " × " in source]
    seed = [source for source in levels if source not in (*knobs, *pairs)]
    left = _Unexplained.of(levels, values)
    for stage in (knobs, seed, pairs):
        for order in (stage[::-1], stage):
            after = left
            for source in order:
                gain, after = after.explained_by(source)
                squares[source] += gain / 2
        left = after
    sources = [*knobs, *(name for name, _ in optional[1:]), "seed"]
    explained = np.array([squares.get(source, 0.0) for source in sources])
    # Rounding may add up to more than there is, and another machine rounds otherwise.
    shares = explained / max(total, float(explained.sum()))
    rest = 1 - float(shares.sum())
    rest = rest if rest > ROUNDING else 0.0
    return pd.DataFrame({"source": [*sources, "residual"], "share": [*shares, rest]})


def varies(values: np.ndarray) -> bool:
    """Whether finite values (n,) differ by more than rounding."""
    return len(values) > 1 and bool(np.ptp(values) > ROUNDING * max(1.0, float(np.abs(values).max())))


@dataclass(frozen=True)
class _Unexplained:
    """What some sources have left to be explained by the others.

    The design matrix has a column for each level of each source that says which runs have it. Of it, less what is
    explained already, only its products with itself and with the values are kept. To begin with, they follow from how
    many runs have two levels together: the matrix itself, as long as there are runs, is never made.
    """

    columns: Mapping[str, slice]
    """Source → the columns of its levels."""
    products: np.ndarray
    """Of the columns with one another (columns, columns)."""
    towards: np.ndarray
    """Of the columns with the values (columns,)."""
    least: float
    """Up to it an eigenvalue of the products is 0: indicators of all levels are linearly dependent."""

    @classmethod
    def of(cls, levels: Mapping[str, np.ndarray], values: np.ndarray) -> Self:
        """`levels`: source → the number of each run's level (N,); values (N,) of mean 0."""
        sizes = [int(code.max()) + 1 for code in levels.values()]
        ends = np.cumsum(sizes)
        columns = {name: slice(end - size, end) for name, end, size in zip(levels, ends, sizes, strict=True)}
        counts = np.concatenate([np.zeros(0), *(np.bincount(code) for code in levels.values())])
        towards = np.concatenate([np.zeros(0), *(np.bincount(code, values) for code in levels.values())])
        products = -np.outer(counts, counts) / len(values)
        for one, other in product(levels, repeat=2):
            products[columns[one], columns[other]] += _crossed(levels[one], levels[other])
        return cls(columns, products, towards, 1e-9 * float(np.abs(products).max(initial=0.0)))

    def explained_by(self, source: str) -> tuple[float, Self]:
        """The sum of squares that a source explains, and what is left then."""
        own = self.columns[source]
        scales, vectors = np.linalg.eigh(self.products[own, own])
        kept = scales > self.least
        basis = vectors[:, kept] / np.sqrt(scales[kept])
        along, across = basis.T @ self.towards[own], basis.T @ self.products[own]
        left = replace(self, products=self.products - across.T @ across, towards=self.towards - along @ across)
        return float(along @ along), left


def _crossed(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """How often two numbered things (N,) have two numbers together: (numbers of the one, numbers of the other)."""
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)


def _together(codes: Sequence[np.ndarray]) -> np.ndarray:
    """The number of each run's combination (N,), of those that there are, from the numbers of its parts."""
    joint = codes[0]
    for code in codes[1:]:
        joint = joint * (int(code.max()) + 1) + code
    return np.unique(joint, return_inverse=True)[1].reshape(-1)


def _finite(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    values = added_up(runs, metric)
    known: pd.DataFrame = runs.assign(added_up=values)[np.isfinite(values)]
    return known
