"""Whether a part of the training tells which settings will be the best at its end."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ablate.analysis.curves import Portion, StoredCurves
from ablate.config.metrics import METRICS, TAIL, by_difference
from ablate.stats.ranks import kendall_tau_b, ranks

FEWEST_SETTINGS = 4
MOST_RUNS = 2000
"""Runs whose curves are read: of more, as many seeds of each setting as there is room for."""
MOST_SETTINGS = 500
"""Of more, evenly spaced ones."""
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Of the epochs, after which the settings are ranked."""
DRAWS = 1000
DECIMALS = 12
"""Means that agree so far are equal: which is larger would follow from the order in which they were added up."""
COLUMNS = ("epochs", "of", "settings", "spearman", "low", "high", "kendall", "best", "regret")


def budget_correlation(
    runs: pd.DataFrame,
    curves: pd.DataFrame | StoredCurves,
    metric: str = "perplexity",
    epochs: Sequence[int] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row per budget: how well ranks of the settings after so many epochs predict those at the end. Columns:

    epochs, of       after how many epochs, of how many; by default SHARES of them
    settings         that are ranked: those of as many epochs as most have, none of whose runs diverged
    spearman         rank correlation between the settings' means after `epochs` and those at the end, with its interval
    low, high        over seeds: the percentile bootstrap, the runs of each setting drawn anew, both their values
                     together; empty where a setting has one run only
    kendall          Kendall's τ-b of the same
    best             the setting (setting_id) that is the best after `epochs`
    regret           its value at the end over that of the best setting there, or of a metric that may be 0 by how much
                     it is worse

    The value of a run after e epochs is the mean of the last 5 % of them, of positive metrics the geometric one: single
    epochs mislead. A metric that is measured now and then has its last reading there. No row for fewer than four such
    settings, or where the curves have no such metric, or none of one of their runs.
    """
    none = pd.DataFrame(columns=list(COLUMNS))
    chosen = _ranked(runs)
    if chosen["setting_id"].nunique() < FEWEST_SETTINGS:
        return none
    last = int(chosen[_done(chosen)].iloc[0])
    asked = epochs or sorted({max(1, round(share * last)) for share in SHARES})
    budgets = [one for one in asked if 0 < one < last]
    if not budgets:
        return none
    measures = [
        _values(own, metric, [*budgets, last])
        for own in _portions(curves, chosen["run_id"], metric)
        if metric in own.columns
    ]
    if not measures:
        return none
    values = pd.concat(measures).sort_index()
    if len(values) < len(chosen):
        return none
    values = values.merge(chosen[["run_id", "setting_id"]], left_index=True, right_on="run_id").dropna()
    rows_of, measured = values.groupby("setting_id", sort=False).indices, values[[*budgets, last]].to_numpy()
    by_setting = {str(one): measured[rows_of[one]] for one in values["setting_id"].unique()}
    if len(by_setting) < FEWEST_SETTINGS:
        return none
    lower = METRICS.known(metric).better != "higher"
    names, means = list(by_setting), np.stack([one.mean(axis=0) for one in by_setting.values()]).round(DECIMALS)
    # Of each budget and the end (draws, settings).
    drawn = [ranks(one.round(DECIMALS)) for one in _drawn(list(by_setting.values()))]
    rows = []
    for place, budget in enumerate(budgets):
        early, late = means[:, place], means[:, -1]
        low, high = _interval(_correlations(drawn[place], drawn[-1]), level)
        best = int(early.argmin() if lower else early.argmax())
        lost = late[best] - late.min() if lower else late.max() - late[best]
        rows.append(
            {
                "epochs": budget,
                "of": last,
                "settings": len(names),
                "spearman": float(_correlations(ranks(early[None]), ranks(late[None]))[0]),
            }
            | {"low": low, "high": high, "kendall": kendall_tau_b(early, late)}
            | {"best": names[best], "regret": float(lost if by_difference(metric) else np.exp(lost))}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _done(runs: pd.DataFrame) -> str:
    """The column that says how many epochs a run had."""
    return "epochs_done" if "epochs_done" in runs else "epochs"


def _ranked(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the settings that are ranked."""
    chosen = runs[runs["status"].eq("ok").groupby(runs["setting_id"]).transform("all")]
    if chosen.empty:
        return chosen
    done = _done(chosen)
    chosen = chosen[chosen[done] == chosen.drop_duplicates("setting_id")[done].mode().iloc[0]]
    settings = chosen["setting_id"].unique()
    if len(settings) > MOST_SETTINGS:
        settings = settings[np.linspace(0, len(settings) - 1, MOST_SETTINGS).round().astype(int)]
        chosen = chosen[chosen["setting_id"].isin(settings)]
    most = max(1, MOST_RUNS // len(settings))
    kept: pd.DataFrame = chosen[chosen.groupby("setting_id").cumcount() < most]
    return kept


def _portions(curves: pd.DataFrame | StoredCurves, run_ids: pd.Series, metric: str) -> Iterator[Portion]:
    """The curves of these runs: of each its epochs, and the metric where it was measured."""
    if isinstance(curves, StoredCurves):
        yield from curves.some(run_ids).portions(("epoch", metric))
    else:
        yield Portion.of(curves[curves["run_id"].isin(run_ids)], ("epoch", metric))


def _values(curves: Portion, metric: str, budgets: Sequence[int]) -> pd.DataFrame:
    """run_id → its value after each of these epochs, on the scale on which means are taken; NaN where not measured."""
    epoch, value, run = curves.columns["epoch"], curves.columns[metric], curves.run
    logs = not by_difference(metric)
    known = value > 0 if logs else ~np.isnan(value)
    epoch, run, value = epoch[known], run[known], np.log(value[known]) if logs else value[known]
    runs, found = len(curves.run_ids), {}
    for budget in budgets:
        reached = epoch <= budget
        tail = reached & (epoch > (1 - TAIL) * budget)
        measured = np.bincount(run[tail], minlength=runs)
        found[budget] = np.full(runs, np.nan)
        seen = np.flatnonzero(reached)
        last = seen[np.diff(run[seen], append=-1) != 0]  # of each run, as its epochs are in order
        found[budget][run[last]] = value[last]
        sums = np.bincount(run[tail], value[tail], minlength=runs)
        np.divide(sums, measured, out=found[budget], where=measured > 0)
    return pd.DataFrame(found, index=pd.Index(curves.run_ids, name="run_id"))


def _drawn(samples: Sequence[np.ndarray]) -> np.ndarray:
    """The means of settings (n, budgets), the runs of each drawn anew: (budgets, draws, settings); the seed is 0."""
    rng = np.random.default_rng(0)
    means = []
    for own in samples:
        times = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=DRAWS) / len(own)
        means.append(times @ own if len(own) > 1 else np.full((DRAWS, own.shape[1]), np.nan))
    return np.ascontiguousarray(np.stack(means).transpose(2, 1, 0))


def _correlations(early: np.ndarray, late: np.ndarray) -> np.ndarray:
    """Spearman's ρ of each row of ranks: (draws, settings) twice → (draws,); NaN where one of the two has no order."""
    a, b = early - early.mean(axis=1, keepdims=True), late - late.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        found: np.ndarray = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return found


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    if np.isnan(values).any():
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
