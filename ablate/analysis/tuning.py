"""A knob tuned anew in every setting, without the luck of the draw."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from ablate.analysis.frames import setting_name, swept_knobs
from ablate.analysis.samples import added_up, measured, typical
from ablate.config.errors import UserError, listing
from ablate.config.metrics import METRICS


def choosing(seeds: Collection[int]) -> np.ndarray:
    """The seeds that choose among settings, the lower half; the others judge what is chosen."""
    half: np.ndarray = np.sort(np.unique(list(seeds)))[: len(set(seeds)) // 2]
    return half


def tuned(runs: pd.DataFrame, knob: str, metric: str, level: float = 0.95) -> pd.DataFrame:
    """One row per setting of the other swept knobs: the value of `knob` that is best there, and what it reaches.

    The value is chosen by the mean over the first half of the seeds; n, diverged, mean, low and high (Student t) come
    from the other half alone. The best of several noisy means is too good on the seeds that made it the best (the
    winner's curse); on fresh ones it is not. Means are geometric, of a metric that may be 0 arithmetic. Columns: the
    other swept knobs, at (their values as typed), setting_id, value, n, diverged, mean, low, high. Diverged runs speak
    against a value and enter no mean.

    Raises UserError where `knob` was not swept or there is only one seed.
    """
    swept = swept_knobs(runs)
    if knob not in swept:
        raise UserError(f"{knob} was not swept here; choose {listing(swept)}" if swept else "no knob was swept here")
    seeds = np.sort(runs["seed"].unique())
    if len(seeds) < 2:
        raise UserError(
            "tuning needs two seeds or more: one half to choose by, the other to report; give seeds=2 or more"
        )
    others = [name for name in swept if name != knob]
    table = runs.assign(measured=measured(runs, metric), scaled=added_up(runs, metric))
    table["chooses"] = table["seed"].isin(choosing(seeds))
    table = table.loc[table["measured"].notna(), [*swept, "setting_id", "measured", "scaled", "chooses"]]
    rows = []
    for _, group in table.groupby(others, dropna=False, sort=False) if others else [((), table)]:
        means = group[group["chooses"]].groupby("setting_id", sort=False)["scaled"].mean()
        if means.empty:
            continue
        best = means.idxmax() if METRICS[metric].better == "higher" else means.idxmin()
        fresh = group[~group["chooses"] & (group["setting_id"] == best)]
        setting = group[group["setting_id"] == best].iloc[0]
        diverged = int(np.isinf(fresh["measured"]).sum())
        mean, low, high = typical(fresh["measured"], metric, level)
        rows.append(
            {name: setting[name] for name in others}
            | {"at": setting_name(setting, others), "setting_id": best, "value": setting[knob]}
            | {"n": len(fresh) - diverged, "diverged": diverged, "mean": mean, "low": low, "high": high}
        )
    columns = [*others, "at", "setting_id", "value", "n", "diverged", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
