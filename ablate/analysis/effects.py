"""What each knob of a grid does on average, and how much of all variation comes from it.

On the logarithm of the metric, so that effects are factors; on the metric itself where it may be 0. Diverged runs have
no such value and are left out: count them beside these numbers.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations

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
    the same for every seed, does not widen it, and ends where the metric does. Empty with fewer than two seeds.
    """
    known = _finite(runs, metric)
    setting_mean = known.groupby("setting_id")["added_up"].transform("mean")
    known = known.assign(setting_mean=setting_mean, deviation=known["added_up"] - setting_mean)
    rows, names = [], ("mean", "low", "high")
    for knob in knobs:
        for value, group in known.groupby(knob, dropna=False, sort=is_numeric_dtype(known[knob])):
            mean = group.drop_duplicates("setting_id")["setting_mean"].mean()
            by_seed = group.groupby("seed")["deviation"].mean()
            S = len(by_seed)
            half = special.stdtrit(S - 1, 0.5 + level / 2) * by_seed.std(ddof=1) / S**0.5 if S > 1 else np.nan
            told = np.array([mean, mean - half, mean + half])
            told = np.clip(told, *METRICS[metric].bounds) if by_difference(metric) else np.exp(told)
            rows.append({"knob": knob, "value": value, "n": len(group)} | dict(zip(names, told, strict=True)))
    return pd.DataFrame(rows, columns=["knob", "value", "n", *names])


def interactions(runs: pd.DataFrame, metric: str, knobs: Sequence[str]) -> pd.DataFrame:
    """One row per pair of knobs: knobs ("a × b") and share, its part of all variance beyond what both do alone."""
    split = variance_split(runs, metric, knobs)
    pairs = split[split["source"].str.contains(" × ", regex=False)].rename(columns={"source": "knobs"})
    return pairs.sort_values("share", ascending=False, kind="stable", ignore_index=True)


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
    blocks = {knob: _indicators(known[knob]) for knob in knobs}
    room = MOST_COLUMNS - sum(block.shape[1] for block in blocks.values())
    optional = [("seed", ["seed"]), *((f"{a} × {b}", [a, b]) for a, b in combinations(knobs, 2))]
    for source, columns in optional:
        levels = known.groupby(columns, dropna=False, sort=False).ngroup()
        if 1 < levels.nunique() <= room:
            blocks[source] = _indicators(levels)
            room -= blocks[source].shape[1]
    explained = _explained_by(blocks, values)
    squares = dict.fromkeys(blocks, 0.0)
    pairs = [source for source in blocks if " × " in source]
    seed = [source for source in blocks if source not in (*knobs, *pairs)]
    for before, stage in (([], knobs), (knobs, seed), ([*knobs, *seed], pairs)):
        for order in (stage, stage[::-1]):
            for k, source in enumerate(order):
                gain = explained([*before, *order[: k + 1]]) - explained([*before, *order[:k]])
                squares[source] += max(0.0, gain) / 2  # below 0 by rounding only
    sources = [*knobs, *(name for name, _ in optional[1:]), "seed"]
    rows = [(source, squares.get(source, 0.0) / total) for source in sources]
    rest = max(0.0, 1 - sum(share for _, share in rows))
    return pd.DataFrame([*rows, ("residual", rest)], columns=["source", "share"])


def varies(values: np.ndarray) -> bool:
    """Whether finite values (n,) differ by more than rounding."""
    return len(values) > 1 and bool(np.ptp(values) > ROUNDING * max(1.0, float(np.abs(values).max())))


def _explained_by(blocks: dict[str, np.ndarray], values: np.ndarray) -> Callable[[Sequence[str]], float]:
    """A function: the sum of squares of `values` (N,) that the named blocks of columns explain together."""
    design = np.concatenate(list(blocks.values()), axis=1) if blocks else np.zeros((len(values), 0))
    design = design - design.mean(axis=0)
    gram, towards = design.T @ design, design.T @ values
    owner = np.repeat(list(blocks), [block.shape[1] for block in blocks.values()])

    @cache
    def of(sources: frozenset[str]) -> float:
        chosen = np.flatnonzero(np.isin(owner, list(sources)))
        if not len(chosen):
            return 0.0
        scales, vectors = np.linalg.eigh(gram[np.ix_(chosen, chosen)])
        along = vectors.T @ towards[chosen]
        kept = scales > 1e-9 * scales.max(initial=0.0)  # indicators of all levels are linearly dependent
        return float(np.sum(np.square(along[kept]) / scales[kept]))

    return lambda sources: of(frozenset(sources))


def _indicators(levels: pd.Series) -> np.ndarray:
    """(N, levels): 1 where a run has the level, else 0."""
    code, names = pd.factorize(levels, use_na_sentinel=False)
    indicators: np.ndarray = np.eye(len(names))[code]
    return indicators


def _finite(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    values = added_up(runs, metric)
    known: pd.DataFrame = runs.assign(added_up=values)[np.isfinite(values)]
    return known
