"""The values behind a setting: one per seed from its records, one per process from the speed lane."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.frames import in_order
from ablate.config.errors import UserError, listing, nearest
from ablate.config.metrics import METRICS, by_difference
from ablate.records.timings import timings
from ablate.stats import geometric_mean, t_interval

SPEED_COLUMNS = ("setting_id", "machine", "threads", "engine", "measured_at", "launch", "tokens_per_s")


def measured(runs: pd.DataFrame, metric: str) -> pd.Series:
    """The values of a metric, one per row of `runs`; of a diverged run the worst (∞ or −∞), NaN where not measured.

    Raises UserError for a metric that there is not.
    """
    names = [name for name in METRICS.names if name in runs.columns]
    if metric not in names:
        raise UserError(f"metric is {metric!r}; choose {listing(names or METRICS.names)}{nearest(metric, names)}")
    worst = -np.inf if METRICS[metric].better == "higher" else np.inf
    return runs[metric].astype(float).mask(runs["status"] == "diverged", worst)


def samples(runs: pd.DataFrame, metric: str) -> dict[str, pd.Series]:
    """setting_id → the metric by seed, in the order of `runs`: as `measured` has it, without what was not measured."""
    values = measured(runs, metric)
    known = values.notna()
    by_seed = pd.Series(values[known].to_numpy(), index=pd.Index(runs.loc[known, "seed"], name="seed"), name=metric)
    groups = by_seed.groupby(runs.loc[known, "setting_id"].to_numpy(), sort=False)
    empty = by_seed.iloc[:0]
    return dict.fromkeys(runs["setting_id"].unique(), empty) | {str(setting): group for setting, group in groups}


def speed_samples(sweep: Path) -> pd.DataFrame:
    """Training tokens per second of every process of the speed lane: setting_id, machine, threads, engine, measured_at,
    launch, tokens_per_s.

    One row per process, the median of its clean samples: samples of one process are alike, processes are what
    differs. Only of timings that can be believed as a whole.
    """
    rows: list[dict[str, Any]] = []
    for timing in timings(sweep):
        with suppress(KeyError, TypeError):
            rows += _processes(timing)
    return pd.DataFrame(rows, columns=list(SPEED_COLUMNS))


def _processes(timing: dict[str, Any]) -> list[dict[str, Any]]:
    if timing["summary"]["train"]["tokens_per_s"] is None:
        return []
    common = {name: timing[name] for name in ("setting_id", "machine", "threads")}
    common |= {"engine": timing.get("facts", {}).get("engine"), "measured_at": timing.get("measured_at", "")}
    return [
        common | {"launch": launch, "tokens_per_s": float(np.median(values))}
        for launch, values in clean_by_process(timing["samples"]["train"]).items()
    ]


def clean_by_process(samples: Iterable[Mapping[str, Any]]) -> dict[int, list[float]]:
    """launch → the tokens per second of the clean samples that this process of the speed lane took."""
    found: dict[int, list[float]] = {}
    for sample in samples:
        if not sample["unclean"]:
            found.setdefault(sample["launch"], []).append(sample["tokens_per_s"])
    return found


def added_up(runs: pd.DataFrame, metric: str) -> pd.Series:
    """The values of `measured` on the scale on which effects add up: logarithms, or themselves where they may be 0."""
    values = measured(runs, metric)
    if by_difference(metric):
        return values
    diverged = np.isneginf(values)  # of a metric that is better when higher
    scaled: pd.Series = np.log(values.mask(diverged)).mask(diverged, -np.inf)
    return scaled


def typical(values: pd.Series, metric: str, level: float) -> tuple[float, float, float]:
    """Mean of values of a metric (n,) and its Student t interval: the geometric mean, or, where a metric may be 0, the
    arithmetic one; the interval ends where the metric does. Infinite values are left out; NaN without any, and for the
    interval with fewer than two.
    """
    finite = values[np.isfinite(values)].to_numpy(float)
    if not len(finite):
        return math.nan, math.nan, math.nan
    if by_difference(metric):
        mean, low, high = float(finite.mean()), *t_interval(finite, level)
    else:
        mean, low, high = geometric_mean(finite, level)
    low, high = np.clip((low, high), *METRICS.known(metric).bounds)
    return mean, float(low), float(high)


def setting_losses(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per setting, its columns as in `runs`, with `value`: the mean of `added_up` over its runs, lower is
    better.

    So of a metric that is better when higher the sign is turned. +∞ where at least half of the runs diverged: no mean
    of the others stands for such a setting. Settings of which nothing was measured are left out.
    """
    losses = added_up(runs, metric) * (-1 if METRICS[metric].better == "higher" else 1)
    gone = np.isinf(losses)
    settings = pd.DataFrame({"setting_id": runs["setting_id"], "value": losses.mask(gone), "broken": gone})
    means = settings[losses.notna()].groupby("setting_id", sort=False).mean()
    value = means["value"].mask(means["broken"] >= 0.5, np.inf)
    out = runs.drop_duplicates("setting_id").drop(columns="value", errors="ignore")
    return in_order(out.merge(value.rename("value"), left_on="setting_id", right_index=True))
