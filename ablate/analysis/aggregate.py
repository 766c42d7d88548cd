"""From runs to settings: mean, spread and interval over the seeds, the means those that comparisons are made of."""

import numpy as np
import pandas as pd
from scipy import special

from ablate.analysis.frames import in_order
from ablate.config.columns import columns_in
from ablate.config.metrics import METRICS, FailedMetrics, by_difference, no_logarithm
from ablate.stats import bootstrap_means
from ablate.stats.intervals import BOOTSTRAP_FROM

INTERVALS = ("_low", "_high", "_boot_low", "_boot_high")


def aggregate(runs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row per setting, from one row per run.

    `n` counts the runs that finished, `diverged` those that did not; a diverged run enters no mean. For each
    metric m: m (the geometric mean, or, where a metric may be 0, the arithmetic one, as `samples.typical` has it), m_sd
    (of the values themselves), m_median, m_iqm (interquartile mean), and two intervals of m at `level`, m_low … m_high
    (Student t, of a geometric mean on logarithms) and m_boot_low … m_boot_high (seeded bootstrap), which end where the
    metric does. Spread and t interval are empty for fewer than two runs, the bootstrap for fewer than six, of which it
    covers too little.
    """
    if runs.empty:
        return pd.DataFrame()
    setting, setting_ids = pd.factorize(runs["setting_id"])
    finished = (runs["status"] == "ok").to_numpy()
    first = runs.drop_duplicates("setting_id").reset_index(drop=True)
    n = np.bincount(setting[finished], minlength=len(setting_ids))
    trained = epochs_trained(runs[finished], first)
    settings = first[["setting_id", *columns_in(first), "parameters"]].assign(
        updates=first["updates_per_epoch"] * (first["epochs"] if trained is None else trained),
        **({} if trained is None else {"epochs_trained": trained}),
        n=n,
        diverged=np.bincount(setting, minlength=len(setting_ids)) - n,
        **{name: first[name] for name in ("match", "in_files") if name in first},
        **({"sees_future": any_sees_future(runs, setting_ids)} if "sees_future" in runs else {}),
        seed=0,
    )
    columns: dict[str, np.ndarray] = {}
    for metric, facts in METRICS.items():
        values = _values(runs, metric)
        known = finished & ~np.isnan(values)
        summary = summaries(values[known], setting[known], len(setting_ids), level, geometric=not by_difference(metric))
        summary |= {ending: np.clip(summary[ending], *facts.bounds) for ending in INTERVALS}
        columns |= {metric + ending: column for ending, column in summary.items()}
    return in_order(pd.concat([settings, pd.DataFrame(columns)], axis=1)).drop(columns="seed")


def without_logarithm(runs: pd.DataFrame) -> list[str]:
    """A line for each metric that is compared on logarithms and is not above 0 in some runs, whoever declared it."""
    finished = runs[runs["status"] == "ok"]
    lines = [no_logarithm(facts, _values(finished, metric).tolist()) for metric, facts in METRICS.items()]
    return [line for line in lines if line]


def metric_warnings(failed: FailedMetrics, runs: pd.DataFrame, of: object) -> list[str]:
    """A line for each metric that fails, or has no logarithm, in some runs of `of`, a sweep's folder."""
    return failed.lines(len(runs), of) + without_logarithm(runs)


def _values(runs: pd.DataFrame, metric: str) -> np.ndarray:
    """(runs,); NaN where a run has none."""
    return runs[metric].to_numpy(float, na_value=np.nan) if metric in runs else np.full(len(runs), np.nan)


def epochs_trained(finished: pd.DataFrame, settings: pd.DataFrame) -> pd.Series | None:
    """The mean epochs of the runs of each setting that finished; None where no rule ended any of them earlier."""
    if "ended_by" not in finished or finished["ended_by"].isna().all():
        return None
    mean = finished["epochs_done"].astype(float).groupby(finished["setting_id"]).mean()
    return settings["setting_id"].map(mean).fillna(settings["epochs"])


def any_sees_future(runs: pd.DataFrame, setting_ids: pd.Index) -> np.ndarray:
    """Whether any run of each setting does; None where none was probed."""
    probed = runs.loc[runs["sees_future"].notna(), ["setting_id", "sees_future"]]
    known = probed["sees_future"].astype(bool).groupby(probed["setting_id"]).any()
    return np.array([known.get(setting) for setting in setting_ids], dtype=object)


def summaries(
    values: np.ndarray, setting: np.ndarray, settings: int, level: float, geometric: bool = False
) -> dict[str, np.ndarray]:
    """What the values (runs,) of each setting (runs,), numbered from 0, come to: ending of a column → (settings,).

    `geometric`: mean and intervals are those of the logarithms of positive values, brought back by exp.
    """
    order = np.lexsort((values, setting))
    values, setting = values[order], setting[order]
    n = np.bincount(setting, minlength=settings)
    start = np.cumsum(n) - n
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # values that lie decades apart
        _, sd = _mean_and_sd(values, setting, n)
        scaled = np.log(values) if geometric else values
        mean, scaled_sd = _mean_and_sd(scaled, setting, n)
        half = np.where(n > 1, special.stdtrit(np.maximum(n - 1, 1), 0.5 + level / 2) * scaled_sd / np.sqrt(n), np.nan)
        rank, cut = np.arange(len(setting)) - start[setting], n // 4
        middle = (rank >= cut[setting]) & (rank < (n - cut)[setting])
        iqm = np.bincount(setting[middle], values[middle], minlength=settings) / (n - 2 * cut)
    median = np.full(settings, np.nan)
    some = n > 0
    median[some] = (values[(start + (n - 1) // 2)[some]] + values[(start + n // 2)[some]]) / 2
    boot = np.full((settings, 2), np.nan)
    for size in np.unique(n[n >= BOOTSTRAP_FROM]):
        of_size = np.flatnonzero(n == size)
        boot[of_size] = bootstrap_means(scaled[start[of_size][:, None] + np.arange(size)], level)
    back = np.exp if geometric else np.asarray
    with np.errstate(over="ignore"):
        return {
            "": back(mean),
            "_sd": sd,
            "_median": median,
            "_iqm": iqm,
            "_low": back(mean - half),
            "_high": back(mean + half),
            "_boot_low": back(boot[:, 0]),
            "_boot_high": back(boot[:, 1]),
        }


def _mean_and_sd(values: np.ndarray, setting: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(settings,) each: arithmetic mean and standard deviation (n − 1) of the values (runs,) of each setting."""
    mean = np.bincount(setting, values, minlength=len(n)) / n
    squares = np.bincount(setting, np.square(values - mean[setting]), minlength=len(n))
    return mean, np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)
