"""A knob tuned anew in every setting, without the luck of the draw."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from ablate.analysis.frames import setting_name, swept_knobs
from ablate.analysis.samples import added_up, measured, typical
from ablate.config.errors import UserError, listing
from ablate.config.metrics import METRICS, chosen_by, reported_as

CHOOSES, JUDGES, IDLE = "chooses", "judges", "idle"
"""What a seed does where the best of several values is chosen by some seeds and judged by the others."""


def choosing(seeds: Collection[int]) -> np.ndarray:
    """The seeds that choose among settings, every second one (1, 3 and 5 of 0 to 5); the others judge what is chosen.

    A seed keeps what it does when later ones are added. With the lower half it would not, and what has judged would
    choose: 7.1 % of sweeps without any effect would have a verdict at some time, instead of 3.9 %
    (docs/benchmarks/looking_again.py).
    """
    ordered: np.ndarray = np.sort(np.unique(list(seeds)))
    return ordered[1::2]


def roles(runs: pd.DataFrame, knob: str) -> "pd.Series[str]":
    """What each run does, by its seed, to tune a knob: CHOOSES, JUDGES or IDLE.

    Of the seeds that choose (`choosing`) those do that all settings have: the same ones everywhere, as comparisons by
    seed need it. The others of them are idle, since they will choose where settings get further seeds. Where all
    settings share fewer than two seeds, settings that differ in this knob alone are taken by themselves; where these
    do, too, any seed of theirs counts.
    """
    others = [name for name in swept_knobs(runs) if name != knob]
    everywhere = _shared(runs)
    found = pd.Series(JUDGES, index=runs.index)
    for _, group in runs.groupby(others, dropna=False, sort=False) if others else [((), runs)]:
        seeds = set((runs if everywhere else group)["seed"])
        shared = everywhere or _shared(group) or seeds
        choosers = {*choosing(seeds)} & shared or {*choosing(shared)}
        found[group.index[group["seed"].isin({*choosing(seeds)} - choosers)]] = IDLE
        found[group.index[group["seed"].isin(choosers)]] = CHOOSES
    return found


def _shared(runs: pd.DataFrame) -> set[int]:
    """The seeds that each setting has; none where they are fewer than two."""
    shared = set.intersection(*(set(own) for _, own in runs.groupby("setting_id")["seed"]))
    return shared if len(shared) > 1 else set()


def reporting(runs: pd.DataFrame, metric: str) -> str:
    """What reports that which a metric has chosen: the same of the test data, where every finished run has it."""
    name = reported_as(metric)
    finished = runs["status"] == "ok"
    return name if name in runs and finished.any() and runs.loc[finished, name].notna().all() else metric


def chooser(runs: pd.DataFrame, metric: str) -> str:
    """What may choose that which this metric reports: of one of the test data the same of the held-out ones.

    Raises UserError where no run has it.
    """
    name = chosen_by(metric)
    if name != metric and (name not in runs or measured(runs, name).isna().all()):
        raise UserError(f"{METRICS[metric].title} chooses nothing, and no run has {METRICS[name].title}")
    return name


def tuned(runs: pd.DataFrame, knob: str, metric: str, level: float = 0.95) -> pd.DataFrame:
    """One row per setting of the other swept knobs: the value of `knob` that is best there, and what it reaches.

    The value is chosen by the mean over half of the seeds (`roles`; of a metric of the test data by that of the same on
    the held-out ones, see `chooser`); n, diverged, mean, low and high (Student t) come from the other half alone. There
    is no row for settings of which no seed is left to choose by.
    The best of several noisy means is too good on the seeds that made it the best (the winner's curse); on fresh ones
    it is not. Means are geometric, of a metric that may be 0 arithmetic. Diverged runs speak against a value and enter
    no mean: of two values the one with the smaller share of them is better, whatever the means. Where every run that
    should choose diverged, none is the best: any_best is False, value and mean are NaN, n is 0, diverged counts the
    other half at all values, and setting_id is that of the first value.

    Columns: the other swept knobs, at (their values as typed), setting_id, any_best, value, n, diverged, mean, low,
    high.

    Raises UserError where `knob` was not swept or there is only one seed.
    """
    swept = swept_knobs(runs)
    if knob not in swept:
        raise UserError(f"{knob} was not swept here; choose {listing(swept)}" if swept else "no knob was swept here")
    if runs["seed"].nunique() < 2:
        raise UserError(
            "tuning needs two seeds or more: one half to choose by, the other to report; give seeds=2 or more"
        )
    others = [name for name in swept if name != knob]
    choosing_metric = chooser(runs, metric)
    table = runs.assign(measured=measured(runs, metric), scaled=added_up(runs, choosing_metric))
    role = roles(runs, knob)
    table["chooses"], table["judges"] = role == CHOOSES, role == JUDGES
    table = table.loc[table["measured"].notna(), [*swept, "setting_id", "measured", "scaled", "chooses", "judges"]]
    place = _places(table[table["chooses"]], higher=METRICS[choosing_metric].better == "higher")
    rows = []
    for _, group in table.groupby(others, dropna=False, sort=False) if others else [((), table)]:
        settings = group.loc[group["chooses"], "setting_id"].unique()
        if not len(settings):
            continue
        best = min((one for one in settings if one in place), key=place.__getitem__, default=None)
        setting = group[group["setting_id"] == best].iloc[0] if best is not None else group.iloc[0]
        fresh = group[group["judges"] & ((group["setting_id"] == best) | (best is None))]
        diverged = int(np.isinf(fresh["measured"]).sum())
        n = len(fresh) - diverged if best is not None else 0
        mean, low, high = typical(fresh["measured"] if n else fresh["measured"].iloc[:0], metric, level)
        rows.append(
            {name: setting[name] for name in others}
            | {"at": setting_name(setting, others), "setting_id": setting["setting_id"]}
            | {"any_best": best is not None, "value": setting[knob] if best is not None else np.nan}
            | {"n": n, "diverged": diverged, "mean": mean, "low": low, "high": high}
        )
    columns = [*others, "at", "setting_id", "any_best", "value", "n", "diverged", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _places(runs: pd.DataFrame, higher: bool) -> dict[str, int]:
    """setting_id → its place, 0 the best: the smallest share of diverged runs, then the best mean `scaled`; none where
    all diverged."""
    settings = runs["setting_id"]
    finite = runs["scaled"].where(np.isfinite(runs["scaled"]))
    table = pd.DataFrame(
        {
            "diverged": finite.isna().groupby(settings, sort=False).mean(),
            "mean": finite.groupby(settings, sort=False).mean() * (-1 if higher else 1),
        }
    ).dropna()
    order = table.sort_values(["diverged", "mean"], kind="stable").index
    return {str(setting): number for number, setting in enumerate(order)}
