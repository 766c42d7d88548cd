"""Which figures a search has, and what is said below each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablate.analysis.trials import VALUED, history, more_is_better, timeline
from ablate.report.finding_figures import Wanted
from ablate.report.material import Material
from ablate.report.search_sheets import suffixed, title_of
from ablate.report.sections import Figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from ablate.analysis.study import StoredSearch
    from ablate.report.plots import Estimate

MOST_CURVES = 6
"""Configurations whose curves are drawn."""


def front_figure(m: Material) -> Wanted:
    """The configurations that no other beats in both objectives."""
    from ablate.report import plots

    s = m.search
    if s is None or len(s.objectives) != 2 or not s.facts.get("front"):
        return {}
    numbers = [one["number"] for one in s.facts["front"]]
    first, second = s.objectives
    caption = f"{title_of(first).capitalize()} against {title_of(second)}; the front joins what no other beats in both."
    return {"search_front": (caption, partial(plots.search_front, s.trials, numbers, (first, second), m.heading))}


def timeline_figure(m: Material) -> Wanted:
    """When each trial ran."""
    from ablate.report import plots

    if m.search is None or not m.search.trials["started"].notna().any():
        return {}
    caption = (
        "When each trial ran, and how it ended. A process has as many rows as trials that it had under way at once."
    )
    return {"search_timeline": (caption, partial(plots.search_timeline, timeline(m.search.trials), m.heading))}


One = tuple[str, "Callable[[], Drawing]"]
"""A caption and what draws the figure."""


def _of_each(kind: str, make: "Callable[[StoredSearch, str, Material], One | None]", m: Material) -> Wanted:
    """A figure for each objective of a search."""
    if m.search is None:
        return {}
    found = {suffixed(f"search_{kind}", name, m.search): make(m.search, name, m) for name in m.search.objectives}
    return {name: one for name, one in found.items() if one is not None}


def _history(s: "StoredSearch", name: str, m: Material) -> One | None:
    from ablate.report import plots

    came = history(s.trials, name)
    if not len(came):
        return None
    diverged = [int(number) for number in s.trials.loc[s.trials["state"] == "diverged", "number"]]
    known = _winner(s, name), _baseline(s, name)
    make = partial(plots.search_history, came, name, m.heading, diverged, *known)
    return f"The {title_of(name)} of each trial as it came, and the best so far.", make


def _importance(s: "StoredSearch", name: str, m: Material) -> One | None:
    from ablate.report import plots

    importance = m.searched.get(name)
    if importance is None or not len(importance):
        return None
    used = " and ".join(importance["evaluator"].unique())
    halves = importance["region"].nunique() > 1
    over = "over the whole space and where its better half lies" if halves else "over the whole space"
    caption = f"How much each knob decides the {title_of(name)}, by {used}, {over}."
    return caption, partial(plots.search_importance, importance, m.heading)


def _parallel(s: "StoredSearch", name: str, m: Material) -> One | None:
    from ablate.report import plots

    if not s.trials["state"].isin(VALUED).any():
        return None
    make = partial(plots.search_parallel, s.trials, s.space, name, m.heading, _winning(s, name))
    return f"Each configuration as a line through its knobs to its {title_of(name)}.", make


def _slices(s: "StoredSearch", name: str, m: Material) -> One | None:
    from ablate.report import plots

    if not s.trials["state"].isin(VALUED).any():
        return None
    make = partial(plots.search_slices, s.trials, s.space, name, m.heading, _winning(s, name))
    return f"The {title_of(name)} over each knob alone.", make


def _winning(s: "StoredSearch", name: str) -> int | None:
    return (s.facts.get("winner") or {}).get("number") if _winner(s, name) else None


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


OF_SEARCH = (
    Figures("search_front", "search", front_figure),
    Figures("search_history", "search", partial(_of_each, "history", _history)),
    Figures("search_importance", "deciding", partial(_of_each, "importance", _importance)),
    Figures("search_parallel", "configurations", partial(_of_each, "parallel", _parallel)),
    Figures("search_slices", "configurations", partial(_of_each, "slices", _slices)),
    Figures("search_timeline", "trials", timeline_figure),
)
