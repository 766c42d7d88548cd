"""Which knobs decide a metric over a grid: PED-ANOVA, and functional ANOVA where scikit-learn is installed."""

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.samples import cell_losses
from ablate.errors import UserError

EVALUATORS = {"ped-anova": "PED-ANOVA", "fanova": "fANOVA"}
TOP = 0.25
"""The share of cells that count as good; Watanabe et al. take 0.1 of thousands, a grid has tens."""
MOST_POINTS = 100_000
"""Points of the full grid over which the forest's prediction is decomposed."""


def importance(runs: pd.DataFrame, metric: str, knobs: Sequence[str], evaluator: str = "auto") -> pd.DataFrame:
    """knob, importance (they sum to 1, or are all 0), evaluator (the name of the one that was used); largest first.

    `evaluator`: ped-anova, fanova, or auto: fANOVA where scikit-learn can be imported, else PED-ANOVA. Both look
    at the mean log metric of each cell, or at the mean of a metric that may be 0. Raises UserError for an evaluator
    that there is not.
    """
    if evaluator == "auto":
        evaluator = "fanova" if find_spec("sklearn") else "ped-anova"
    if evaluator not in EVALUATORS:
        raise UserError(f"evaluator is {evaluator!r}; choose auto, ped-anova or fanova")
    if evaluator == "fanova" and not find_spec("sklearn"):
        raise UserError("evaluator=fanova needs scikit-learn; pip install scikit-learn, or choose ped-anova")
    cells = cell_losses(runs, metric)
    codes = np.stack([pd.factorize(cells[knob], use_na_sentinel=False)[0] for knob in knobs], axis=1)
    raw = (ped_anova if evaluator == "ped-anova" else fanova)(codes, cells["value"].to_numpy())
    shares = raw / raw.sum() if raw.sum() > 0 else raw
    table = pd.DataFrame({"knob": list(knobs), "importance": shares, "evaluator": EVALUATORS[evaluator]})
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def ped_anova(codes: np.ndarray, values: np.ndarray, top: float = TOP) -> np.ndarray:
    """Raw importance of each knob (knobs,) from the cells' settings (cells, knobs) and values (cells,).

    Watanabe, Bansal & Hutter (2023): the Pearson divergence, Σ q (p/q − 1)², of the distribution of the knob's values
    among the best cells, p, from that among all cells, q. A grid has discrete values: counts take the place of kernel
    densities. From it is taken what it would be on average for as many cells chosen blindly (a χ² over so few
    favours knobs with many values); what is left is at least 0.
    """
    N = len(values)
    best = values <= np.sort(values)[max(1, round(top * N)) - 1]
    K = int(best.sum())
    out = []
    for code in codes.T:
        q = np.bincount(code) / N
        p = np.bincount(code[best], minlength=len(q)) / K
        blind = (len(q) - 1) / K * (N - K) / max(1, N - 1)
        out.append(max(0.0, float(np.sum(q * np.square(p / q - 1))) - blind))
    return np.array(out)


def fanova(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Raw importance of each knob (knobs,): the variance of its marginal in a random forest (Hutter et al. 2014).

    The settings (cells, knobs) are numbered values; cells that mostly diverged (∞) are left out.
    """
    finite = np.isfinite(values)
    if finite.sum() < 2:
        return np.zeros(codes.shape[1])
    ensemble = importlib.import_module("sklearn.ensemble")
    forest = ensemble.RandomForestRegressor(n_estimators=64, random_state=0, n_jobs=1)
    one_hot, columns = _one_hot(codes)
    forest.fit(one_hot(codes[finite]), values[finite])
    return marginal_variances(columns, lambda points: forest.predict(one_hot(points)))


def _one_hot(codes: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], list[int]]:
    """A function that codes settings as indicators, a column per value; and the number of values of each knob."""
    levels = [int(code.max()) + 1 for code in codes.T]
    return lambda points: np.concatenate(
        [np.eye(n)[code] for n, code in zip(levels, points.T, strict=True)], axis=1
    ), levels


def marginal_variances(levels: Sequence[int], predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The variance of the main effect of each knob (knobs,) of `predict` over the whole grid of their values.

    Every combination counts alike; of more than 100,000 as many are drawn, seeded.
    """
    points: Any
    if np.prod(levels, dtype=float) <= MOST_POINTS:
        points = np.array(list(product(*(range(n) for n in levels))))
    else:
        points = np.random.default_rng(0).integers(levels, size=(MOST_POINTS, len(levels)))
    predicted = predict(points)
    marginals = [np.bincount(code, predicted) / np.bincount(code) for code in points.T]
    return np.array([float(np.var(marginal)) for marginal in marginals])
