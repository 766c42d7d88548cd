"""Which settings cannot be told from the one with the best mean, though this was picked by the very same runs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ablate.config.metrics import by_difference
from ablate.stats import pairwise_differences, pairwise_ratios


@dataclass(frozen=True)
class Rivals:
    """The other settings that were measured, by how they stand to the best one."""

    equal: tuple[str, ...]
    """Whose mean is the same."""
    near: tuple[str, ...]
    """That no test tells from it."""
    untested: tuple[str, ...]
    """Of which, or of the best itself, there are too few runs for any test."""


def rivals(
    values: Mapping[str, pd.Series], means: Mapping[str, float], best: str, metric: str, level: float = 0.95
) -> Rivals:
    """Every other setting against the best, by the test of two settings (Welch's t).

    values   setting → its values by seed, or by process; means: setting → what is shown of it

    The best was not named beforehand: any pair might have become the one of first and second. So p is corrected by
    Bonferroni over all k (k − 1) / 2 pairs of the k settings, which holds whichever of them comes out best.
    """
    there = [name for name, own in values.items() if len(own) and np.isfinite(means.get(name, np.nan))]
    others = [name for name in there if name != best]
    same = np.isclose([means[name] for name in others], means[best], rtol=1e-9, atol=0)
    equal = {name for name, is_same in zip(others, same, strict=True) if is_same}
    rest = [name for name in others if name not in equal]
    if not rest:
        return Rivals(tuple(others), (), ())
    compare = pairwise_differences if by_difference(metric) else pairwise_ratios
    p = compare(values, [(best, name) for name in rest], level).p
    few = np.array([min(len(values[best]), len(values[name])) < 2 for name in rest])
    apart = p * (len(there) * (len(there) - 1) / 2) <= 1 - level
    near = tuple(name for name, is_near in zip(rest, ~apart & ~few, strict=True) if is_near)
    untested = tuple(name for name, is_few in zip(rest, few, strict=True) if is_few)
    return Rivals(tuple(name for name in others if name in equal), near, untested)
