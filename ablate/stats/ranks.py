"""Ranks of many rows at once, and the agreement of two orders."""

import math

import numpy as np


def ranks(values: np.ndarray) -> np.ndarray:
    """Values (rows, n) → the rank of each within its row (rows, n), from 1; equal ones share their mean. A row with NaN
    has no order: all of its ranks are NaN.

    What `scipy.stats.rankdata(values, axis=1)` gives; importing that package takes longer than most reports compute.
    """
    rows, n = values.shape
    if not values.size:
        return np.empty((rows, n))
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    begins = np.ones((rows, n), dtype=bool)  # a run of equal values
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(begins.ravel())
    lengths = np.diff(starts, append=rows * n)
    shared = np.repeat(starts % n + (lengths + 1) / 2, lengths).reshape(rows, n)
    found = np.empty((rows, n))
    np.put_along_axis(found, order, shared, axis=1)
    found[np.isnan(ordered[:, -1])] = np.nan
    return found


def kendall_tau_b(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's τ-b (1945) of values (n,) and (n,); NaN where one of the two has no order. Compares all n² pairs."""
    above, below = (np.sign(values[:, None] - values[None, :]) for values in (a, b))
    pairs = math.sqrt(np.square(above).sum()) * math.sqrt(np.square(below).sum())
    return float((above * below).sum() / pairs) if pairs else math.nan
