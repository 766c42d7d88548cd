"""Which settings no other setting beats in quality and speed at once."""

import numpy as np
import pandas as pd

from ablate.config.metrics import DEFAULT_METRIC


def pareto(settings: pd.DataFrame, quality: str = DEFAULT_METRIC, speed: str = "tokens_per_s") -> pd.DataFrame:
    """The settings with a quality (lower is better) and a speed, fastest first, plus `on_front` and `surely`.

    A setting is dominated by one that is no worse in both and better in one. `on_front`: by its means, no setting
    dominates this one. `surely`: the intervals (columns quality_low … speed_high) cannot change that: on the
    front even at the worst corner of its own and the best corners of all others, or dominated the other way round. A
    setting without an interval is never sure of anything.
    """
    if quality not in settings or speed not in settings:
        return settings.iloc[:0].assign(**{quality: [], speed: []}, on_front=[], surely=[])
    both = settings[settings[quality].notna() & settings[speed].notna()]
    points = both.sort_values([speed, quality], ascending=[False, True], ignore_index=True)

    def numbers(name: str, missing: float) -> np.ndarray:
        column = points[name] if name in points else pd.Series(np.nan, index=points.index)
        return column.astype(float).fillna(missing).to_numpy()

    mean = numbers(quality, np.nan), numbers(speed, np.nan)
    best = numbers(f"{quality}_low", -np.inf), numbers(f"{speed}_high", np.inf)
    worst = numbers(f"{quality}_high", np.inf), numbers(f"{speed}_low", -np.inf)
    on_front = ~dominated(mean, mean)
    surely = np.where(on_front, ~dominated(worst, best), dominated(best, worst))
    return points.assign(on_front=on_front, surely=surely)


def dominated(own: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Whether each point (n,), by its `own` quality and speed, is dominated by another point's `others`."""
    out = np.empty(len(own[0]), dtype=bool)
    for i, (quality, speed) in enumerate(zip(*own, strict=True)):
        no_worse = (others[0] <= quality) & (others[1] >= speed)
        better = (others[0] < quality) | (others[1] > speed)
        better[i] = False
        out[i] = bool((no_worse & better).any())
    return out
