"""A knob tuned anew in every cell, without the luck of the draw."""

import numpy as np
import pandas as pd

from ablate.analysis.aggregate import summarise
from ablate.analysis.frames import setting, swept_knobs
from ablate.analysis.samples import measured
from ablate.errors import UserError, listing
from ablate.metrics import METRICS


def tuned(runs: pd.DataFrame, knob: str, metric: str, level: float = 0.95) -> pd.DataFrame:
    """One row per setting of the other swept knobs: the value of `knob` that is best there, and what it reaches.

    The value is chosen by the mean over the first half of the seeds; n, diverged, mean, low and high (Student t) come
    from the other half alone. The best of several noisy means is too good on the seeds that made it the best (the
    winner's curse); on fresh ones it is not. Columns: the other swept knobs, at (their values as typed), cell_id,
    value, n, diverged, mean, low, high. Diverged runs speak against a value and enter no mean.

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
    table = runs.assign(measured=measured(runs, metric), chooses=runs["seed"].isin(seeds[: len(seeds) // 2]))
    table = table.loc[table["measured"].notna(), [*swept, "cell_id", "measured", "chooses"]]
    rows = []
    for _, group in table.groupby(others, dropna=False, sort=False) if others else [((), table)]:
        means = group[group["chooses"]].groupby("cell_id", sort=False)["measured"].mean()
        if means.empty:
            continue
        best = means.idxmax() if METRICS[metric].better == "higher" else means.idxmin()
        fresh = group[~group["chooses"] & (group["cell_id"] == best)]
        cell = group[group["cell_id"] == best].iloc[0]
        finite = fresh.loc[np.isfinite(fresh["measured"]), "measured"]
        summary = summarise(finite, "mean", level)
        rows.append(
            {name: cell[name] for name in others}
            | {"at": setting(cell, others), "cell_id": best, "value": cell[knob]}
            | {"n": len(finite), "diverged": len(fresh) - len(finite)}
            | {"mean": summary["mean"], "low": summary["mean_low"], "high": summary["mean_high"]}
        )
    columns = [*others, "at", "cell_id", "value", "n", "diverged", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
