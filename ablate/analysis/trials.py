"""The trials of a search as frames: history, importance of its knobs, timeline. Read from the search's folder."""

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.trial_rows import trial_rows_of
from ablate.config.errors import UserError
from ablate.config.metrics import METRICS
from ablate.records.csv_text import of_text
from ablate.records.kinds import fits, misfit
from ablate.records.reading import RecordError, read_bytes, read_json

VALUED = ("done", "dropped", "reused")
"""States of trials with a value that says something of their configuration."""
WHOLE = ("done", "reused")
"""Those of them that had all their seeds."""
FEWEST = 8
"""Trials with a value below which an importance would be guessed."""
SPEED = "tokens_per_s"
"""The objective that no training measures: what else the machine does changes it, so that it is timed by itself."""
OPTIONAL = ("last_epoch", "setting_id", "duplicate_of", "again", "reason")
"""Columns that a table which is older, or damaged, may lack."""
ZONE = r"(?:Z|[+-]\d\d:\d\d)$"
"""How a moment ends that says its zone."""
SAME = 1e-6
"""Values that differ by less than this share are equal: training in single precision tells no more."""


def leading(objectives: Sequence[str]) -> str:
    """The objective by which runs are pruned and configurations raced: the first that training gives."""
    return next((name for name in objectives if name != SPEED), objectives[0])


def more_is_better(objective: str) -> bool:
    """Whether the larger of two values of an objective is the better one."""
    return objective == SPEED or (objective in METRICS and METRICS[objective].better == "higher")


def objective_text(objective: str, value: float) -> str:
    """A value of an objective in a line on the terminal: `9.874`, `58,123` tokens per second."""
    return f"{value:,.0f}" if objective == SPEED else f"{value:.4g}"


FINALIST: dict[str, Any] = {
    "number": int | None,
    "values": dict[str, Any],
    "overrides": list[str],
    "in_the_search": dict[str, float | None],
    "fresh": dict[str, dict[str, Any]],
    "failure": str | None,
}
FRESH: dict[str, Any] = dict.fromkeys(("value", "low", "high"), float | None) | {"seeds": dict[str, float | None]}
COMPARISON: dict[str, Any] = {
    "n": int,
    **dict.fromkeys(("p", "low", "high", "value", "ratio"), float | None),
    **dict.fromkeys(("kind", "method"), str),
    "reference_diverged": int,
}
"""What is said of the winner against the baseline; the searches before there was a method say less."""
FACTS: dict[str, Any] = {
    "space": dict[str, dict[str, Any]],
    "settings": dict[str, Any],
    **dict.fromkeys(("winner", "baseline", "against_baseline"), dict[str, Any] | None),
    **dict.fromkeys(("finalists", "front"), list[dict[str, Any]]),
    **dict.fromkeys(("choosing_seeds", "reporting_seeds"), list[int]),
    "notes": list[str],
}
"""What search.json holds, each with its type."""
DIMENSION: dict[str, Any] = {
    "low": float,
    "high": float,
    "step": float | None,
    "log": bool,
    "choices": list[Any],
    "conditions": dict[str, list[Any]],
}
"""What is said of a knob that is searched."""
OF_KIND = {"choice": ("choices",), "int": ("low", "high", "step", "log"), "float": ("low", "high", "step", "log")}
"""Kind of dimension → what has to be said of it."""


def search_facts(folder: Path) -> dict[str, Any]:
    """search.json: space, settings, winner, finalists. Raises UserError for a folder without a concluded search."""
    path = folder / "search.json"
    try:
        facts = read_json(path)
    except RecordError as error:
        raise UserError(
            f"{folder} holds no finished search; give a folder that ablate search sweeps=search_… has concluded"
        ) from error
    if wrong := _strange(facts):
        raise UserError(f"{path} is not as a search writes it ({wrong}); delete it, and run the search again")
    return facts


def _strange(facts: Mapping[str, Any]) -> str:
    """What is missing in search.json, or is of another type; empty where nothing is."""
    if wrong := next((name for name in ("space", "settings") if name not in facts), "") or misfit(facts, FACTS):
        return wrong
    if not fits(facts["settings"].get("objectives"), list[dict[str, Any]]):
        return "settings.objectives"
    if not all(isinstance(one.get("name"), str) for one in facts["settings"]["objectives"]):
        return "settings.objectives"
    if wrong := strange_dimension(facts["space"]):
        return f"space.{wrong}"
    if (found := facts.get("against_baseline")) and not _is_comparison(found):
        return "against_baseline"
    told = [(part, one) for part in ("finalists", "front") for one in facts.get(part, ())]
    told += [(part, one) for part in ("winner", "baseline") if (one := facts.get(part)) is not None]
    return next((part for part, one in told if not _is_finalist(one)), "")


def _is_comparison(found: Mapping[str, Any]) -> bool:
    needed = {"n", "p"} | ({"reference_diverged"} if "method" in found else set())
    return needed <= found.keys() and not misfit(found, COMPARISON)


def _is_finalist(one: Mapping[str, Any]) -> bool:
    if not FINALIST.keys() <= one.keys() or misfit(one, FINALIST):
        return False
    return all(FRESH.keys() <= each.keys() and not misfit(each, FRESH) for each in one["fresh"].values())


def strange_dimension(space: Mapping[str, Mapping[str, Any]]) -> str:
    """The first knob of a stored space that is not described as one; empty where there is none."""
    for name, one in space.items():
        needed = OF_KIND.get(str(one.get("kind")))
        if needed is None or not {*needed} <= one.keys() or misfit(one, DIMENSION):
            return name
    return ""


def trials_frame(folder: Path, space: Mapping[str, Any], objectives: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """One row per trial: number, state, the knobs, the objectives, n (seeds), started, ended, worker, reason.
    And a line on each row of the table that is no trial.

    A knob that a configuration does not have is empty; one that was chosen to be null is the text `null`.
    """
    path = folder / "trials.csv"
    text = read_bytes(path).decode(errors="surrogateescape")
    try:
        frame, problems = read_table(text, space, objectives)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return frame, [f"{path}, {problem}" for problem in problems]


def read_table(text: str, space: Mapping[str, Any], objectives: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The frame of a table of trials; `seconds` is how long each took. And what is wrong with rows that are none.

    Moments are in UTC; in a table that is older, which has them without a zone and no `seconds`, they stay as they are,
    and a trial that ended before it began, as it may when clocks go back, has no time.
    """
    found = trial_rows_of(text, space, objectives)
    frame = pd.read_csv(io.StringIO(found.text), keep_default_na=False, na_values=[""])
    if "setting_id" not in frame:
        frame = frame.rename(columns={"cell_id": "setting_id"})
    for name in OPTIONAL:
        if name not in frame:
            frame[name] = None
    for name in ("number", "n"):
        frame[name] = pd.to_numeric(frame[name])
    for name in objectives:  # also where there is no row
        frame[name] = frame[name].astype(float)
    for column in frame:
        if frame[column].dtype.kind == "O":
            frame[column] = frame[column].map(of_text)
    zoned = any(frame[column].astype(str).str.contains(ZONE).any() for column in ("started", "ended"))
    for moment in ("started", "ended"):
        frame[moment] = pd.to_datetime(frame[moment], format="ISO8601", utc=zoned)
    if "seconds" not in frame:
        lasted = (frame["ended"] - frame["started"]).dt.total_seconds()
        frame["seconds"] = lasted.where(lasted >= 0)
    frame["seconds"] = frame["seconds"].astype(float)
    return frame, found.problems


def best_trial(trials: pd.DataFrame, objective: str) -> pd.Series | None:
    """The row with the best value of a configuration with all its seeds.

    None where there is none, and where there are several and no trial differs from the others.
    """
    whole = trials[trials["state"].isin(WHOLE)].dropna(subset=[objective])
    whole = whole[np.isfinite(whole[objective].astype(float))]
    if whole.empty or (len(whole) > 1 and len(distinct(finite_trials(trials, objective)[objective].tolist())) == 1):
        return None
    return whole.sort_values(objective, ascending=not more_is_better(objective), kind="stable").iloc[0]


def history(trials: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Trials with a value in their order, and the best value of a configuration with all its seeds so far.

    Columns: number, state, value, best. Infinite values (diverged) are left out.
    """
    shown = trials[trials["state"].isin((*VALUED, "pruned"))].sort_values("number")
    shown = shown[np.isfinite(shown[objective].astype(float))]
    value = shown[objective].astype(float)
    whole = value.where(shown["state"].isin(WHOLE))
    best = whole.cummax() if more_is_better(objective) else whole.cummin()
    return pd.DataFrame({"number": shown["number"], "state": shown["state"], "value": value, "best": best.ffill()})


def timeline(trials: pd.DataFrame) -> pd.DataFrame:
    """number, worker (1, 2, … in the order of appearance), state, begin and end in seconds since the first trial."""
    shown = trials.dropna(subset=["started"]).sort_values(["started", "number"])
    begin = (shown["started"] - shown["started"].min()).dt.total_seconds()
    end = begin + shown["seconds"]
    end = end.fillna(begin.where(shown["ended"].notna()))
    end = end.fillna(max(end.max(), begin.max()))  # of what still runs: the last there is
    workers = {name: position + 1 for position, name in enumerate(shown["worker"].dropna().unique())}
    return pd.DataFrame(
        {
            "number": shown["number"],
            "worker": shown["worker"].map(workers).fillna(0).astype(int),
            "state": shown["state"],
            "begin_s": begin,
            "end_s": end,
        }
    )


def distinct(values: Sequence[float]) -> list[int]:
    """How many values there are of each size, ascending; those are equal that differ by rounding alone."""
    counts: list[int] = []
    last = np.nan
    for value in np.sort(np.asarray(values, dtype=float)):
        if counts and np.isclose(value, last, rtol=SAME, atol=0):
            counts[-1] += 1
        else:
            counts.append(1)
            last = value
    return counts


def no_importance(trials: pd.DataFrame, objective: str) -> str:
    """Why these trials do not tell which knob decides the objective; nothing where they do."""
    values = finite_trials(trials, objective)[objective].astype(float)
    counts, n = distinct(values.tolist()), len(values)
    if n < 2:
        return "one trial has a value" if n else "no trial has a value"
    if len(counts) == 1:
        return "no trial differs from the others"
    if n < FEWEST:
        return f"{n} trials have a value, fewer than {FEWEST}"
    if 2 * max(counts) > n:
        return f"{max(counts)} of {n} trials have the same value"
    return ""


def finite_trials(trials: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Those with a finite value that says something of their configuration."""
    found = trials[trials["state"].isin(VALUED)].dropna(subset=[objective])
    return found[np.isfinite(found[objective].astype(float))]


def search_importance(trials: pd.DataFrame, space: Mapping[str, Any], objective: str) -> pd.DataFrame:
    """How much each knob decides the objective. Columns: knob, importance (sums to 1), evaluator, region, n.

    By PED-ANOVA (Watanabe et al. 2023: what sets the best tenth of the trials apart from all of them) and, where
    scikit-learn is installed, fANOVA (Hutter et al. 2014: shares of variance, of knobs that every trial has). An
    importance depends on the ranges that were searched: beside the whole space it is computed for the region in which
    the better half of the trials lies. Knobs of which the trials have one value are left out. Empty where
    `no_importance` says why; so is a region of which it would.
    """
    import optuna

    found = finite_trials(trials, objective)
    half = (len(found) + 1) // 2
    better_half = (found.nlargest if more_is_better(objective) else found.nsmallest)(half, objective)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        rows = []
        for region, part in (("whole space", found), ("better half", better_half)):
            if no_importance(part, objective):
                continue
            narrowed = space if region == "whole space" else narrow(part, space)
            varied = {name: facts for name, facts in narrowed.items() if part[name].dropna().nunique() > 1}
            if not varied:
                continue
            study = as_study(part, varied, objective)
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
    """These trials as a study in memory, to be minimised. Raises UserError for one that lies outside the space."""
    import optuna

    sign = -1 if more_is_better(objective) else 1
    study = optuna.create_study(direction="minimize")
    for _, row in trials.iterrows():
        present = {name: facts for name, facts in space.items() if not pd.isna(row[name])}
        try:
            trial = optuna.create_trial(
                params={name: chosen(row[name], facts) for name, facts in present.items()},
                distributions={name: distribution(facts) for name, facts in present.items()},
                value=sign * float(row[objective]),
            )
        except (ValueError, TypeError) as error:
            values = ", ".join(f"{name}={row[name]}" for name in present)
            raise UserError(f"a trial lies outside the space of the search, in its table: {values}") from error
        study.add_trial(trial)
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
