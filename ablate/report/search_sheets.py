"""The tables of a search: the best few, every trial, what each knob matters."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.table import Table

from ablate.analysis.trials import SPEED, VALUED, WHOLE, finite_trials, is_number, more_is_better, narrow, text
from ablate.config.columns import as_typed
from ablate.config.metrics import METRICS, by_difference
from ablate.report.blocks import Column, Sheet
from ablate.report.numbers import number, share_text, whole
from ablate.report.sheets import cut
from ablate.report.tables import PLAIN

if TYPE_CHECKING:
    from ablate.analysis.study import StoredSearch

UNITS = (("h", 3600), ("min", 60), ("s", 1))
REGIONS = {"whole space": "all", "better half": "half"}


def title_of(objective: str) -> str:
    return METRICS[objective].title if objective in METRICS else "training tokens per second"


def value_of(objective: str, value: float | None) -> str:
    """A value of an objective as people read it."""
    if value is None or pd.isna(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "–"
    return f"{value:,.0f}" if objective == SPEED else number(value)


def finalists(s: "StoredSearch") -> list[dict[str, Any]]:
    """The best few or the front, best first, and then the baseline."""
    facts = s.facts
    return [
        *(facts.get("front") or facts.get("finalists") or []),
        *([facts["baseline"]] if facts.get("baseline") else []),
    ]


def search_sheets(
    s: "StoredSearch", importance: Mapping[str, pd.DataFrame], words: Any
) -> dict[str, Callable[[], Sheet]]:
    """Name → what makes the table; `words` are those of the task."""
    makers: dict[str, Callable[[], Sheet]] = {}
    if finalists(s):
        makers["finalists"] = partial(finalists_sheet, s, words)
    makers["trials"] = partial(trials_sheet, s)
    for name, table in importance.items():
        if len(table):
            makers[suffixed("search_importance", name, s)] = partial(importance_sheet, s, name, table)
    return makers


def suffixed(name: str, objective: str, s: "StoredSearch") -> str:
    """The name of a table or figure about one of several objectives."""
    return f"{name}_{objective}" if s.several else name


def finalists_sheet(s: "StoredSearch", words: Any) -> Sheet:
    """A row per finalist: on the seeds that report, on those that chose (none in an older search), in the search."""
    everyone = finalists(s)
    halves = any(one.get("choosing") for one in everyone)
    columns = [Column("trial", True), Column("configuration", long=True)]
    for name in s.objectives:
        title, chose = title_of(s.reported(name)), f" ({title_of(name)})" * (s.reported(name) != name)
        if name == SPEED:
            columns.append(Column(title, True))
        else:
            columns.append(Column(f"{title}, {'reporting' if halves else 'fresh'} seeds", True))
            columns += [Column(f"choosing seeds{chose}", True)] * halves + [Column(f"in the search{chose}", True)]
    rows, full = [], []
    for one in everyone:
        row = ["baseline" if one["number"] is None else str(one["number"]), configuration(one)]
        data: dict[str, Any] = {"trial": one["number"], "configuration": " ".join(one["overrides"])}
        for name in s.objectives:
            reported = s.reported(name)
            fresh, seen = one["fresh"].get(reported) or {}, one["in_the_search"].get(name)
            chosen = (one.get("choosing") or {}).get(name) or {}
            if name != SPEED:
                row += [with_interval(fresh), *([with_interval(chosen)] if halves else [])]
            row.append(value_of(name, seen))
            data |= {f"{reported}_{key}": fresh.get(key) for key in ("value", "low", "high")}
            data |= {f"{name}_when_chosen": chosen.get("value")} if halves else {}
            data[f"{name}_in_the_search"] = seen
        rows.append(row)
        full.append(data | {"failure": one.get("failure")})
    mean = "Means" if all(by_difference(name) for name in s.objectives if name != SPEED) else "Geometric means"
    said = (
        "The best of a search is also the luckiest, and so is the best of a few: one half of the fresh seeds chose, "
        "the other half, the same for the winner and the baseline, reports."
        if halves
        else "The best value of a search is also the luckiest: the best few were trained again on fresh seeds, the "
        "same for all, which chose the winner among them."
    )
    told = [said, f"{mean} with 95 % intervals."]
    held_out = [name for name in s.objectives if name in METRICS and METRICS[name].held_out]
    if any(s.reported(name) == name for name in held_out):
        held_out_is, fresh_is = ("are the", "them fresh") if words.plural else ("is the", "it a fresh")
        told.append(
            f"Held out {held_out_is} {words.data} by which the search chose, too: fresh seeds do not make {fresh_is} "
            f"{words.data}."
        )
    elif held_out:
        told.append("The test data report, by which nothing was chosen.")
    told += [f"{one['failure'][:1].upper()}{one['failure'][1:]}." for one in everyone if one.get("failure")]
    title = "The front" if s.facts.get("front") else "The best few"
    return Sheet("finalists", title, columns, rows, pd.DataFrame(full), [" ".join(told)])


def finalists_table(title: str, s: "StoredSearch") -> Table:
    """For the terminal: the best few of a search, best first, and the baseline: their fresh seeds, and what the search
    had seen."""
    table = Table(title=f"{title}: the best few on fresh seeds", **PLAIN)
    table.add_column("trial", justify="right")
    table.add_column("configuration")
    for name in s.objectives:
        for heading in [f"{s.reported(name)}, fresh", "when chosen", "in the search"] if name != SPEED else [name]:
            table.add_column(heading, justify="right")
    for one in finalists(s):
        told: list[str] = []
        for name in s.objectives:
            if name != SPEED:  # of which there is nothing but what the search saw
                told.append(with_interval(one["fresh"].get(s.reported(name))))
                told.append(with_interval((one.get("choosing") or {}).get(name)))
            told.append(value_of(name, one["in_the_search"].get(name)))
        number = "baseline" if one["number"] is None else str(one["number"])
        table.add_row(number, configuration(one), *told)
    return table


def configuration(one: Mapping[str, Any]) -> str:
    """The overrides of a finalist, `lr=4.725` for `lr=4.725376499849694`: best.yaml has every digit."""
    return " ".join(_short(as_typed(override)) for override in one["overrides"]) or "the defaults"


def _short(override: str) -> str:
    name, _, value = override.partition("=")
    try:
        return f"{name}={float(value):.4g}" if not value.lstrip("-").isdigit() else override
    except ValueError:
        return override


def with_interval(fresh: Mapping[str, Any] | None) -> str:
    """A result on fresh seeds, `10.02 (9.699 to 10.36)`; `–` where there is none."""
    if not fresh or fresh.get("value") is None:
        return "–"
    low, high = fresh.get("low"), fresh.get("high")
    reach = f" ({low:.4g} to {high:.4g})" if low is not None and high is not None else ""
    return f"{fresh['value']:.4g}{reach}"


def trials_sheet(s: "StoredSearch") -> Sheet:
    """Every trial: those with all their seeds, then those with some, each best first, then those without a value."""
    knobs = [name for name in s.space if name in s.trials]
    columns = [Column("trial", True), Column("how it ended", long=True)]
    columns += [Column(name, number=is_number(s.space[name])) for name in knobs]
    columns += [Column(title_of(name), True) for name in s.objectives]
    columns += [Column("seeds", True), Column("time", True)]
    sign = -1 if more_is_better(s.primary) else 1
    late = 2 - s.trials["state"].isin(VALUED).astype(int) - s.trials["state"].isin(WHOLE).astype(int)
    value = s.trials[s.primary].astype(float)
    ranked = s.trials.iloc[np.lexsort([s.trials["number"], sign * value, late])]
    lasted = ranked["seconds"].tolist()
    rows = [
        [
            str(row["number"]),
            ended_text(row["state"], row["reason"]),
            *(knob_text(row[name], s.space[name]) for name in knobs),
            *(value_of(name, row[name]) for name in s.objectives),
            whole(row["n"] or None),
            time_text(seconds),
        ]
        for (_, row), seconds in zip(ranked.iterrows(), lasted, strict=True)
    ]
    notes = [
        "Values are means over the seeds that a trial was given. Done: all seeds; dropped: worse than the best on the "
        f"same few seeds{_dropped_at(s)}, whatever their mean; pruned: stopped within a run. Time: from the question "
        "to the answer."
    ]
    return cut(Sheet("trials", "Trials", columns, rows, s.trials, notes))


def _dropped_at(s: "StoredSearch") -> str:
    """` (p < 0.1)`, where the search kept by which p it drops."""
    race = (s.facts.get("settings") or {}).get("race") or {}
    return f" (p < {race['p']:g})" if race.get("p") else ""


def ended_text(state: str, reason: Any) -> str:
    """`done`, `pruned after epoch 20`, `failed: out of memory`."""
    if pd.isna(reason) or not reason:
        return state
    return str(reason) if str(reason).startswith(state) else f"{state}: {reason}"


def knob_text(value: Any, facts: Mapping[str, Any]) -> str:
    """A value of a knob: whole numbers as they are, others with four digits."""
    if pd.isna(value):
        return "–"
    return f"{float(value):.4g}" if facts["kind"] == "float" else text(value)


def time_text(seconds: float) -> str:
    """`4.2 s`, `3.5 min`."""
    if math.isnan(seconds):
        return "–"
    unit, size = next(pair for pair in UNITS if seconds >= 1.5 * pair[1] or pair[1] == 1)
    return f"{seconds / size:.1f} {unit}"


def importance_sheet(s: "StoredSearch", objective: str, table: pd.DataFrame) -> Sheet:
    """A row per knob: where it was searched, where the better half lies, and its share by each evaluator over each."""
    found = finite_trials(s.trials, objective)
    half = (len(found) + 1) // 2
    better = (found.nlargest if more_is_better(objective) else found.nsmallest)(half, objective)
    inside = narrow(better, s.space)
    pairs = sorted(
        dict.fromkeys(zip(table["evaluator"], table["region"], strict=True)),
        key=lambda pair: (pair[0] == "fANOVA", pair[1] == "better half"),
    )
    shares = table.set_index(["knob", "evaluator", "region"])["importance"]
    columns = [Column("knob"), Column("searched", long=True), Column("the better half lies in", long=True)]
    columns += [Column(f"{evaluator}, {REGIONS[region]}", True) for evaluator, region in pairs]
    rows = [
        [
            knob,
            range_text(s.space[knob]),
            range_text(inside[knob]) if knob in inside else "–",
            *(share_text(shares.get((knob, *pair), math.nan)) for pair in pairs),
        ]
        for knob in dict.fromkeys(table["knob"])
    ]
    notes = [
        "Shares of an importance hold for the ranges over which it was computed: over the better half of the trials "
        "(half), a knob that only tells bad from good no longer counts. PED-ANOVA: what sets the best tenth apart from "
        "all; fANOVA: shares "
        "of the variance, of knobs that every trial has. The two can disagree."
    ]
    named = f": {title_of(objective)}" if s.several else ""
    return Sheet(
        suffixed("search_importance", objective, s), f"Importance of the knobs{named}", columns, rows, table, notes
    )


def range_text(facts: Mapping[str, Any]) -> str:
    """`16, 32, 64`, `0.05 to 8 (log)`."""
    if facts["kind"] == "choice":
        return ", ".join(text(choice) for choice in facts["choices"])
    low, high = (knob_text(facts[end], facts) for end in ("low", "high"))
    return f"{low} to {high}{' (log)' if facts['log'] else ''}"
