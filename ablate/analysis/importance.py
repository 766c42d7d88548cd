"""How much each knob decides of a metric: exactly on a full grid, elsewhere by PED-ANOVA or functional ANOVA."""

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import product

import numpy as np
import pandas as pd

from ablate.analysis.effects import variance_split, varies
from ablate.analysis.frames import is_full_grid
from ablate.analysis.samples import added_up, setting_losses
from ablate.config.errors import UserError

EXACT, UNBALANCED = "ANOVA, exact", "ANOVA, unbalanced"
EVALUATORS = {"ped-anova": "PED-ANOVA, approximation", "fanova": "fANOVA, approximation"}
TOP = 0.25
"""The share of settings that count as good; Watanabe et al. take 0.1 of thousands, a grid has tens."""
MOST_POINTS = 100_000
"""Points of the full grid over which the forest's prediction is decomposed."""
FEWEST_SETTINGS = 20
"""Of fewer settings that form no full grid, no importance is told: it would say more of the estimator than of them."""
TREES = 64
RESAMPLES = 200
COLUMNS = ("knob", "importance", "low", "high", "total", "evaluator")


def importance(
    runs: pd.DataFrame,
    metric: str,
    knobs: Sequence[str],
    evaluator: str = "auto",
    level: float = 0.95,
    split: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """knob, importance, low, high, total, evaluator (the name of the one that was used); largest importance first.

    Where the settings are a full grid of the knobs: the shares of the variance that `variance_split` has, exact where
    as many runs of each setting finished; importance of the knob alone, total with all of its two-way interactions;
    they do not sum to 1, and low and high are empty. `split`: these shares, where they are known already.

    On any other settings, of at least 20 unless an evaluator is asked for: an approximation, shares of what all knobs
    account for together, which sum to 1. `evaluator`: ped-anova, fanova, or auto: fANOVA where scikit-learn can be
    imported, else PED-ANOVA. Both look at the mean log metric of each setting, or at the mean of a metric that may be
    0; low and high are quantiles at `level` over the trees of the forest, each grown on settings drawn anew, or over
    such draws; total is empty.

    Empty where nothing varies, or where there are too few settings. Raises UserError for an evaluator that there is
    not.
    """
    nothing = pd.DataFrame({name: pd.Series(dtype=float) for name in COLUMNS})
    if evaluator not in ("auto", *EVALUATORS):
        raise UserError(f"evaluator is {evaluator!r}; choose auto, ped-anova or fanova")
    if evaluator == "fanova" and not find_spec("sklearn"):
        raise UserError("evaluator=fanova needs scikit-learn; pip install scikit-learn, or choose ped-anova")
    if evaluator == "auto" and is_full_grid(runs, [(knob,) for knob in knobs]):
        finished = setting_counts(runs, metric)
        balanced = len(set(finished)) == 1 and finished[0] > 0
        split = variance_split(runs, metric, knobs) if split is None else split
        return _from_split(split, knobs, EXACT if balanced else UNBALANCED)
    too_few = evaluator == "auto" and runs["setting_id"].nunique() < FEWEST_SETTINGS
    if evaluator == "auto":
        evaluator = "fanova" if find_spec("sklearn") else "ped-anova"
    settings = setting_losses(runs, metric)
    values = settings["value"].to_numpy()
    if too_few or not varies(values[np.isfinite(values)]):
        return nothing
    codes = np.stack([pd.factorize(settings[knob], use_na_sentinel=False)[0] for knob in knobs], axis=1)
    draws = ped_anova_draws(codes, values) if evaluator == "ped-anova" else fanova_draws(codes, values)
    raw = ped_anova(codes, values) if evaluator == "ped-anova" else draws.mean(axis=0)
    if raw.sum() <= 0:
        return nothing
    low, high = np.quantile(_shares(draws), [0.5 - level / 2, 0.5 + level / 2], axis=0)
    found = {"importance": raw / raw.sum(), "low": low, "high": high, "total": np.nan}
    table = pd.DataFrame({"knob": list(knobs), **found, "evaluator": EVALUATORS[evaluator]}, columns=list(COLUMNS))
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def setting_counts(runs: pd.DataFrame, metric: str) -> list[int]:
    """How many runs of each setting have a finite value."""
    finite = np.isfinite(added_up(runs, metric))
    return [int(count) for count in finite.groupby(runs["setting_id"], sort=False).sum()]


def _from_split(split: pd.DataFrame, knobs: Sequence[str], evaluator: str) -> pd.DataFrame:
    """The table from a variance split."""
    shares = dict(zip(split["source"], split["share"], strict=True))
    rows = []
    for knob in knobs if shares else ():
        total = sum(share for source, share in shares.items() if knob in source.split(" × "))
        rows.append((knob, shares.get(knob, 0.0), np.nan, np.nan, total, evaluator))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _shares(raw: np.ndarray) -> np.ndarray:
    """Each draw (draws, knobs) as shares of its sum; 0 where a draw tells nothing."""
    sums = raw.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.divide(raw, sums, out=np.zeros_like(raw), where=sums > 0)
    return shares


def ped_anova_draws(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`ped_anova` of as many settings, drawn with replacement, again and again (draws, knobs); seeded."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    return np.array([ped_anova(codes[one], values[one]) for one in drawn])


def ped_anova(codes: np.ndarray, values: np.ndarray, top: float = TOP) -> np.ndarray:
    """Raw importance of each knob (knobs,) from its numbered values (settings, knobs) and what they reach (settings,).

    Watanabe, Bansal & Hutter (2023): the Pearson divergence, Σ q (p/q − 1)², of the distribution of the knob's values
    among the best settings, p, from that among all settings, q. A grid has discrete values: counts take the place of
    kernel densities. From it is taken what it would be on average for as many settings chosen blindly (a χ² over so few
    favours knobs with many values); what is left is at least 0.
    """
    N = len(values)
    best = values <= np.sort(values)[max(1, round(top * N)) - 1]
    K = int(best.sum())
    out = []
    for code in codes.T:
        q = np.bincount(code) / N
        p = np.bincount(code[best], minlength=len(q)) / K
        p, q = p[q > 0], q[q > 0]
        blind = (len(q) - 1) / K * (N - K) / max(1, N - 1)
        out.append(max(0.0, float(np.sum(q * np.square(p / q - 1))) - blind))
    return np.array(out)


def fanova_draws(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Raw importance of each knob by each tree (trees, knobs): the variance of its marginal in a random forest (Hutter
    et al. 2014). That of the forest is the mean over the trees; their spread says how sure it is.

    The settings (settings, knobs) are numbered values; settings that mostly diverged (∞) are left out.
    """
    finite = np.isfinite(values)
    if finite.sum() < 2:
        return np.zeros((1, codes.shape[1]))
    ensemble = importlib.import_module("sklearn.ensemble")
    forest = ensemble.RandomForestRegressor(n_estimators=TREES, random_state=0, n_jobs=1)
    one_hot, columns = _one_hot(codes)
    forest.fit(one_hot(codes[finite]), values[finite])
    points = grid_of(columns)
    coded = one_hot(points)
    draws: np.ndarray = np.array([marginal_variances(points, tree.predict(coded)) for tree in forest.estimators_])
    return draws


def _one_hot(codes: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], list[int]]:
    """A function that codes settings as indicators, a column per value; and the number of values of each knob."""
    levels = [int(code.max()) + 1 for code in codes.T]
    return lambda points: np.concatenate(
        [np.eye(n)[code] for n, code in zip(levels, points.T, strict=True)], axis=1
    ), levels


def grid_of(levels: Sequence[int]) -> np.ndarray:
    """The combinations (points, knobs) of numbered values; of more than 100,000 as many are drawn, seeded."""
    if np.prod(levels, dtype=float) <= MOST_POINTS:
        return np.array(list(product(*(range(n) for n in levels))))
    return np.random.default_rng(0).integers(levels, size=(MOST_POINTS, len(levels)))


def marginal_variances(points: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The variance of the main effect of each knob (knobs,) over these points (points, knobs), which count alike, of
    what is predicted there (points,).
    """
    marginals = [np.bincount(code, predicted) / np.bincount(code) for code in points.T]
    return np.array([float(np.var(marginal)) for marginal in marginals])
