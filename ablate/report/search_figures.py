"""Which figures a search has, and what is said below each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.analysis.trials import VALUED, history, more_is_better, timeline
from ablate.report.search import suffixed, title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from ablate.analysis.study import StoredSearch
    from ablate.report.plots import Estimate

MOST_CURVES = 6
"""Configurations whose curves are drawn."""

Wanted = dict[str, tuple[str, "Callable[[], Drawing]"]]


def of_search(s: "StoredSearch", importance: Mapping[str, pd.DataFrame], heading: str) -> Wanted:
    """Name → caption and what draws it: history, importance, lines and slices of each objective; front, timeline."""
    from ablate.report import plots

    out: Wanted = {}
    if len(s.objectives) == 2 and s.facts.get("front"):
        numbers = [one["number"] for one in s.facts["front"]]
        first, second = s.objectives
        caption = (
            f"{title_of(first).capitalize()} against {title_of(second)}; the front joins what no other beats in both."
        )
        out["search_front"] = caption, partial(plots.search_front, s.trials, numbers, (first, second), heading)
    for name in s.objectives:
        out |= _of_objective(s, name, importance.get(name), heading)
    if s.trials["started"].notna().any():
        caption = (
            "When each trial ran, and how it ended. A process has as many rows as trials that it had under way at once."
        )
        out["search_timeline"] = caption, partial(plots.search_timeline, timeline(s.trials), heading)
    return out


def _of_objective(s: "StoredSearch", name: str, importance: pd.DataFrame | None, heading: str) -> Wanted:
    from ablate.report import plots

    title, out = title_of(name), Wanted()

    def add(kind: str, caption: str, make: "Callable[[], Drawing]") -> None:
        out[suffixed(f"search_{kind}", name, s)] = caption, make

    came = history(s.trials, name, "higher" if more_is_better(name) else "lower")
    if len(came):
        diverged = [int(number) for number in s.trials.loc[s.trials["state"] == "diverged", "number"]]
        add(
            "history",
            f"The {title} of each trial as it came, and the best so far.",
            partial(plots.search_history, came, name, heading, diverged, _winner(s, name), _baseline(s, name)),
        )
    if importance is not None and len(importance):
        used = " and ".join(importance["evaluator"].unique())
        halves = importance["region"].nunique() > 1
        over = "over the whole space and where its better half lies" if halves else "over the whole space"
        caption = f"How much each knob decides the {title}, by {used}, {over}."
        add("importance", caption, partial(plots.search_importance, importance, heading))
    if s.trials["state"].isin(VALUED).any():
        winner = (s.facts.get("winner") or {}).get("number") if _winner(s, name) else None
        caption = f"Each configuration as a line through its knobs to its {title}."
        add("parallel", caption, partial(plots.search_parallel, s.trials, s.space, name, heading, winner))
        caption = f"The {title} over each knob alone."
        add("slices", caption, partial(plots.search_slices, s.trials, s.space, name, heading, winner))
    return out


def _fresh(one: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    """A finalist's result on the fresh seeds that report; None where it has none or one of them diverged."""
    found: Mapping[str, Any] | None = one["fresh"].get(name) if one else None
    return found if found and found.get("value") is not None else None


def _winner(s: "StoredSearch", name: str) -> "Estimate | None":
    from ablate.report.plots import Estimate

    fresh = _fresh(s.facts.get("winner"), name)
    if fresh is None:
        return None
    low, high = (fresh["value"] if fresh[end] is None else fresh[end] for end in ("low", "high"))
    return Estimate(fresh["value"], low, high)


def _baseline(s: "StoredSearch", name: str) -> float | None:
    fresh = _fresh(s.facts.get("baseline"), name)
    return None if fresh is None else float(fresh["value"])


def best_settings(s: "StoredSearch", settings: pd.DataFrame) -> list[str]:
    """The settings of the best few, or of the front, and those of no trial, which are the baseline's."""
    few = [one["number"] for one in s.facts.get("front") or s.facts.get("finalists") or []]
    if not few:
        metric = s.primary if s.primary in settings else "perplexity"
        few_settings = settings.sort_values(metric, ascending=not more_is_better(metric))["setting_id"].head(
            MOST_CURVES
        )
        return list(few_settings)
    own = s.trials.loc[s.trials["number"].isin(few), "setting_id"].head(MOST_CURVES)
    return [*own, *settings.loc[~settings["setting_id"].isin(s.trials["setting_id"]), "setting_id"]]
