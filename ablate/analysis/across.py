"""Settings over several data sets: which ranks first, by how much, and whether that differs from chance.

Every setting that was trained on all data sets takes part. The loss of a run on a data set is by how much it is worse
than the best setting there: on logarithms, so that exp of it is a ratio, or of a metric that may be 0 the difference.
So data sets of different difficulty count alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.frames import setting_names, swept_knobs
from ablate.analysis.samples import added_up, setting_losses
from ablate.config.metrics import METRICS, by_difference
from ablate.stats import holm
from ablate.stats.data_sets import Bootstrap, cliques, critical_difference, friedman_p, mean_ranks, signed_rank_p

DATA = ("corpus", "corpus_sha256", "unit", "cleaning")
"""The columns that tell data sets apart."""

BROUGHT = ("max_tokens", "val_tokens", "test_tokens")
"""Knobs that may follow from the data set: how much of it there is."""

MOST_SETTINGS = 20
"""Of more, the best take part: all pairs of them are compared."""

PROFILE_POINTS = 60

Shown = Callable[[Any], Any]


@dataclass(frozen=True)
class Across:
    """What a sweep over several data sets says of its settings."""

    metric: str
    level: float
    data_sets: list[str]
    settings: pd.DataFrame
    """One row per setting, the best mean rank first: `at` (its name), the swept knobs, n (runs on all data sets
    together), mean_rank, iqm, iqm_low, iqm_high (interquartile mean of the runs' losses and its bootstrap interval, as
    a ratio to the best setting of each data set, or a difference), best_on (data sets where its mean is the best)."""
    pairs: pd.DataFrame
    """One row per pair: at, reference, improvement, improvement_low, improvement_high (probability that a run of `at`
    is better than one of `reference` on the same data set), ranks_apart, p (signed ranks over data sets), p_holm."""
    profile: pd.DataFrame
    """The share of runs (share, low, high) of each setting (at) whose ratio to the best, or difference, is at most
    tau."""
    friedman_p: float
    critical_difference: float
    cliques: list[tuple[str, ...]]
    """Settings whose mean ranks lie closer than that."""
    left_out: int = 0
    """Settings that were not trained on all data sets, or are beyond the best MOST_SETTINGS."""


def across(runs: pd.DataFrame, metric: str, level: float = 0.95) -> Across | None:
    """None where fewer than two settings were trained on each of two data sets or more, or nothing was measured."""
    if "sees_future" in runs:  # which no prediction is compared with
        runs = runs[~runs["sees_future"].eq(True)]
    if runs.empty or runs["corpus_sha256"].nunique(dropna=False) < 2:
        return None
    knobs = [name for name in swept_knobs(runs) if name not in DATA and not _is_brought(runs, name)]
    settings = setting_losses(runs, metric)
    if not knobs or settings.empty:
        return None
    settings = settings.assign(data_set=named_data_sets(settings), at=setting_names(settings, knobs)).drop_duplicates(
        ["data_set", "at"]
    )
    table = settings.pivot(index="data_set", columns="at", values="value")
    whole = table.dropna(axis=1)
    if len(whole) < 2 or whole.shape[1] < 2:
        return None
    every = pd.Series(mean_ranks(whole.to_numpy()), index=whole.columns).sort_values(kind="stable")
    losses = whole[every.index[:MOST_SETTINGS]].to_numpy()
    ranks = pd.Series(mean_ranks(losses), index=every.index[:MOST_SETTINGS]).sort_values(kind="stable")
    names = [str(name) for name in ranks.index]
    losses = whole[names].to_numpy()
    samples = _samples(runs, settings, metric, list(whole.index), names)
    bootstrap = Bootstrap(samples, level)
    apart = critical_difference(len(names), len(whole), level)
    shown = _shown(metric)
    rows = []
    for place, name in enumerate(names):
        first = settings[settings["at"] == name].iloc[0]
        point, low, high = (float(shown(value)) for value in bootstrap.iqm(place))
        n = sum(len(row[place]) for row in samples)
        best_on = int((losses[:, place] <= losses.min(axis=1)).sum())
        rows.append(
            {"at": name, **{knob: first[knob] for knob in knobs}, "n": n, "mean_rank": float(ranks.iloc[place])}
            | {"iqm": point, "iqm_low": low, "iqm_high": high, "best_on": best_on}
        )
    joined = [tuple(names[place] for place in group) for group in cliques(ranks.tolist(), apart)]
    return Across(
        metric,
        level,
        [str(name) for name in whole.index],
        pd.DataFrame(rows),
        _pairs(bootstrap, losses, names, ranks.to_numpy()),
        _profile(bootstrap, names, shown),
        friedman_p(losses),
        apart,
        joined,
        left_out=table.shape[1] - len(names),
    )


def _is_brought(runs: pd.DataFrame, knob: str) -> bool:
    """Whether a knob follows from the data set: how much of it is read."""
    return knob in BROUGHT and bool((runs.groupby("corpus_sha256", dropna=False)[knob].nunique(dropna=False) < 2).all())


def named_data_sets(settings: pd.DataFrame) -> pd.Series:
    """What tells the data sets of these settings apart, as a name of each: `time_machine`, `python_docs (word, keep)`.

    Their unit or cleaning stand with it where these vary, and the beginning of a hash where all else is the same.
    """
    further = [name for name in ("unit", "cleaning") if settings[name].nunique(dropna=False) > 1]
    told = settings[further].astype(str).agg(", ".join, axis=1) if further else pd.Series("", index=settings.index)
    same = settings.groupby([settings["corpus"].astype(str), told])["corpus_sha256"].transform("nunique") > 1
    hashes = settings["corpus_sha256"].astype(str).str[:6].where(same, "")
    beside = (told + ", " + hashes).str.strip(", ")
    named: pd.Series = settings["corpus"].astype(str) + (" (" + beside + ")").where(beside != "", "")
    return named


def _samples(
    runs: pd.DataFrame, settings: pd.DataFrame, metric: str, data_sets: Sequence[str], names: Sequence[str]
) -> list[list[np.ndarray]]:
    """Data set → setting → by how much its runs are worse than the best setting's mean there, (n,)."""
    worse = added_up(runs, metric) * (-1 if METRICS[metric].better == "higher" else 1)
    of_setting = {setting: own.dropna().to_numpy(float) for setting, own in worse.groupby(runs["setting_id"])}
    ids = settings.set_index(["data_set", "at"])["setting_id"]
    best = settings[settings["at"].isin(names)].groupby("data_set")["value"].min()
    return [[of_setting[ids[data_set, name]] - best[data_set] for name in names] for data_set in data_sets]


def _shown(metric: str) -> Shown:
    """From losses to what a reader sees: a difference in the metric's unit, or a ratio."""
    return np.asarray if by_difference(metric) else np.exp


def _pairs(bootstrap: Bootstrap, losses: np.ndarray, names: Sequence[str], ranks: np.ndarray) -> pd.DataFrame:
    rows = []
    for a, b in combinations(range(len(names)), 2):
        point, low, high = bootstrap.improvement(a, b)
        rows.append(
            {"at": names[a], "reference": names[b], "improvement": point, "improvement_low": low}
            | {"improvement_high": high, "ranks_apart": float(ranks[b] - ranks[a])}
            | {"p": signed_rank_p(losses[:, a], losses[:, b])}
        )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def _profile(bootstrap: Bootstrap, names: Sequence[str], shown: Shown) -> pd.DataFrame:
    finite = np.concatenate([own[np.isfinite(own)] for row in bootstrap.samples for own in row])
    if not len(finite):
        return pd.DataFrame(columns=["at", "tau", "share", "low", "high"])
    taus = np.unique(np.quantile(finite, np.linspace(0, 1, PROFILE_POINTS)))
    parts = []
    for place, name in enumerate(names):
        share, low, high = bootstrap.profile(place, taus)
        parts.append(pd.DataFrame({"at": name, "tau": shown(taus), "share": share, "low": low, "high": high}))
    return pd.concat(parts, ignore_index=True)
