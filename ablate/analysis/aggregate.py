"""From runs to cells: mean, spread and interval over the seeds."""

import pandas as pd
from scipy import stats

from ablate.analysis.frames import KNOBS, in_order
from ablate.metrics import METRICS


def aggregate(runs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row per cell, from one row per run.

    `n` counts the runs that finished, `diverged` those that did not; a diverged run enters no mean. For each
    metric m: m (the mean), m_sd, m_median, and m_low … m_high, the Student t interval of the mean at `level`
    (empty for fewer than two runs).
    """
    rows = []
    for cell, group in runs.groupby("cell_id", sort=False):
        finished = group[group["status"] == "ok"]
        out = {
            "cell_id": cell,
            **{name: group[name].iloc[0] for name in KNOBS},
            "parameters": group["parameters"].iloc[0],
            "updates": group["updates_per_epoch"].iloc[0] * group["epochs"].iloc[0],
            "n": len(finished),
            "diverged": len(group) - len(finished),
        }
        for metric in METRICS:
            out |= summarise(finished[metric].dropna().astype(float), metric, level)
        rows.append(out)
    return in_order(pd.DataFrame(rows).assign(seed=0)).drop(columns="seed")


def summarise(values: pd.Series, name: str, level: float) -> dict[str, float]:
    """Mean, standard deviation, median and t interval of the mean."""
    n, mean = len(values), values.mean()
    sd = values.std(ddof=1)
    half = stats.t.ppf(0.5 + level / 2, n - 1) * sd / n**0.5 if n > 1 else float("nan")
    return {
        name: mean,
        f"{name}_sd": sd,
        f"{name}_median": values.median(),
        f"{name}_low": mean - half,
        f"{name}_high": mean + half,
    }
