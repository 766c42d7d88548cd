"""The trials of a search as frames: history, importance of its knobs, timeline. Read from the search's folder."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from ablate.errors import UserError
from ablate.results import RecordError, read_json

VALUED = ("done", "dropped", "reused")
"""States of trials with a value that says something of their configuration."""
WHOLE = ("done", "reused")
"""Those of them that had all their seeds."""
FEWEST = 8
"""Trials with a value below which an importance would be guessed."""
BETTER = {"tokens_per_s": "higher"}
"""Which way objectives other than perplexities are good."""


SQLITE, JOURNAL = "study.db", "study.journal"
"""Where a search keeps its study unless it is told otherwise, in its folder."""


def holds_search(folder: Path) -> bool:
    """Whether a search has been in this folder."""
    return any((folder / name).is_file() for name in (SQLITE, JOURNAL, "trials.csv", "search.json"))


def search_facts(folder: Path) -> dict[str, Any]:
    """search.json: space, settings, winner, finalists. Raises UserError for a folder without a concluded search."""
    try:
        return read_json(folder / "search.json")
    except RecordError as error:
        raise UserError(
            f"{folder} holds no finished search; give a folder that python -m ablate sweeps=search_… has concluded"
        ) from error


def trials_frame(folder: Path) -> pd.DataFrame:
    """One row per trial: number, state, the knobs, the objectives, n (seeds), started, ended, worker, reason.

    A knob that a configuration does not have is empty; one that was chosen to be null is the text `null`.
    """
    path = folder / "trials.csv"
    try:
        return read_table(path)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def read_table(table: Path | IO[str]) -> pd.DataFrame:
    """The frame of a table of trials."""
    frame = pd.read_csv(table, keep_default_na=False, na_values=[""])
    for column in ("started", "ended"):
        frame[column] = pd.to_datetime(frame[column], format="ISO8601")
    return frame


def best_trial(trials: pd.DataFrame, objective: str) -> pd.Series | None:
    """The row with the best value of a configuration with all its seeds; None where there is none."""
    whole = trials[trials["state"].isin(WHOLE)].dropna(subset=[objective])
    whole = whole[np.isfinite(whole[objective].astype(float))]
    if whole.empty:
        return None
    return whole.sort_values(objective, ascending=BETTER.get(objective) != "higher", kind="stable").iloc[0]


def history(trials: pd.DataFrame, objective: str, better: str = "lower") -> pd.DataFrame:
    """Trials with a value in their order, and the best value of a configuration with all its seeds so far.

    Columns: number, state, value, best. Infinite values (diverged) are left out.
    """
    shown = trials[trials["state"].isin((*VALUED, "pruned"))].sort_values("number")
    shown = shown[np.isfinite(shown[objective].astype(float))]
    value = shown[objective].astype(float)
    whole = value.where(shown["state"].isin(WHOLE))
    best = whole.cummin() if better == "lower" else whole.cummax()
    return pd.DataFrame({"number": shown["number"], "state": shown["state"], "value": value, "best": best.ffill()})


def timeline(trials: pd.DataFrame) -> pd.DataFrame:
    """number, worker (1, 2, … in the order of appearance), state, begin and end in seconds since the first trial."""
    shown = trials.dropna(subset=["started"]).sort_values("started")
    zero = shown["started"].min()
    end = shown["ended"].fillna(shown["ended"].max())
    workers = {name: position + 1 for position, name in enumerate(shown["worker"].dropna().unique())}
    return pd.DataFrame(
        {
            "number": shown["number"],
            "worker": shown["worker"].map(workers).fillna(0).astype(int),
            "state": shown["state"],
            "begin_s": (shown["started"] - zero).dt.total_seconds(),
            "end_s": (end - zero).dt.total_seconds(),
        }
    )


def search_importance(trials: pd.DataFrame, space: Mapping[str, Any], objective: str) -> pd.DataFrame:
    """How much each knob decides the objective. Columns: knob, importance (sums to 1), evaluator, region, n.

    By PED-ANOVA (Watanabe et al. 2023: what sets the best tenth of the trials apart from all of them) and, where
    scikit-learn is installed, fANOVA (Hutter et al. 2014: shares of variance, of knobs that every trial has). An
    importance depends on the ranges that were searched: beside the whole space it is computed for the region in which
    the better half of the trials lies. Empty for fewer than 8 trials with a value.
    """
    import optuna

    found = trials[trials["state"].isin(VALUED)].dropna(subset=[objective])
    found = found[np.isfinite(found[objective].astype(float))]
    better_half = found.nsmallest((len(found) + 1) // 2, objective)
    if BETTER.get(objective) == "higher":
        better_half = found.nlargest((len(found) + 1) // 2, objective)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        rows = []
        for region, part in (("whole space", found), ("better half", better_half)):
            if len(part) < FEWEST:
                continue
            narrowed = space if region == "whole space" else narrow(part, space)
            study = as_study(part, narrowed, objective)
            for name, evaluator in evaluators().items():
                rows += [
                    {"knob": knob, "importance": value, "evaluator": name, "region": region, "n": len(part)}
                    for knob, value in importances(study, evaluator).items()
                ]
    finally:
        optuna.logging.set_verbosity(before)
    return pd.DataFrame(rows, columns=["knob", "importance", "evaluator", "region", "n"])


def importances(study: Any, evaluator: Any) -> dict[str, float]:
    """Nothing where the evaluator has too little to go by."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that trials are few, or all alike: what is shown says how many there were
        try:
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        except (ValueError, RuntimeError):
            return {}


def evaluators() -> dict[str, Any]:
    """Name → evaluator, of those that are installed."""
    from importlib.util import find_spec

    import optuna

    found: dict[str, Any] = {"PED-ANOVA": optuna.importance.PedAnovaImportanceEvaluator()}
    if find_spec("sklearn") is not None:
        found["fANOVA"] = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return found


def as_study(trials: pd.DataFrame, space: Mapping[str, Any], objective: str) -> Any:
    """These trials as a study in memory, to be minimised."""
    import optuna

    sign = -1 if BETTER.get(objective) == "higher" else 1
    study = optuna.create_study(direction="minimize")
    for _, row in trials.iterrows():
        present = {name: facts for name, facts in space.items() if not pd.isna(row[name])}
        study.add_trial(
            optuna.create_trial(
                params={name: chosen(row[name], facts) for name, facts in present.items()},
                distributions={name: distribution(facts) for name, facts in present.items()},
                value=sign * float(row[objective]),
            )
        )
    return study


def distribution(facts: Mapping[str, Any]) -> Any:
    """Optuna's distribution of a dimension of search.json."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if facts["kind"] == "choice":
        return CategoricalDistribution([text(choice) for choice in facts["choices"]])
    if facts["kind"] == "int":
        return IntDistribution(facts["low"], facts["high"], log=facts["log"], step=facts["step"] or 1)
    return FloatDistribution(facts["low"], facts["high"], log=facts["log"], step=facts["step"])


def chosen(value: Any, facts: Mapping[str, Any]) -> Any:
    """A value of trials.csv as its distribution has it."""
    if facts["kind"] == "choice":
        return text(value)
    return int(value) if facts["kind"] == "int" else float(value)


def text(value: Any) -> str:
    """A choice as the table writes it: whole numbers without a point, whatever their column made of them."""
    if value is None:
        return "null"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def narrow(trials: pd.DataFrame, space: Mapping[str, Any]) -> dict[str, Any]:
    """The space that just holds these trials: what was never chosen is left out, ranges end where they do."""
    out: dict[str, Any] = {}
    for name, facts in space.items():
        values = trials[name].dropna()
        if values.empty:
            continue
        if facts["kind"] == "choice":
            here = {text(value) for value in values}
            out[name] = {**facts, "choices": [choice for choice in facts["choices"] if text(choice) in here]}
        else:
            kind = int if facts["kind"] == "int" else float
            out[name] = {**facts, "low": kind(values.min()), "high": kind(values.max())}
    return out


def is_number(facts: Mapping[str, Any]) -> bool:
    """Whether a dimension has a numeric axis."""
    return facts["kind"] != "choice" or all(
        isinstance(c, int | float) and not isinstance(c, bool) for c in facts["choices"]
    )


def knob_names(space: Mapping[str, Any], trials: pd.DataFrame) -> Sequence[str]:
    return [name for name in space if name in trials and trials[name].notna().any()]
