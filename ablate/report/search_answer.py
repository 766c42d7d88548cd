"""What a search found, in sentences."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ablate.analysis.trials import best_trial, no_importance
from ablate.claims.comparison import telling_digits
from ablate.config.errors import counted
from ablate.report.numbers import listed, p_equals, ratio_text
from ablate.report.search_sheets import configuration, knob_text, title_of, value_of, with_interval

if TYPE_CHECKING:
    from ablate.analysis.study import StoredSearch

MOST_CAUSES = 3
"""Reasons of failed trials that are told."""
ENDED = {
    "done": "with all their seeds",
    "reused": "taken from other sweeps",
    "dropped": "dropped as worse than the best on the same few seeds",
    "pruned": "stopped within a run",
    "diverged": "diverged",
    "failed": "failed",
    "duplicate": "the same as an earlier one",
    "running": "not finished",
    "waiting": "waiting",
}
"""State of a trial → what a sentence says of those in it."""


def search_answer(s: "StoredSearch", importance: Mapping[str, pd.DataFrame]) -> list[str]:
    """The winner or the front, the baseline, the trials, and the knob that decides."""
    return [*_found(s), *_against(s), *notes(s), *_trials(s), *_deciding(s, importance)]


def _found(s: "StoredSearch") -> Iterator[str]:
    winner, front = s.facts.get("winner"), s.facts.get("front") or []
    if front:
        names = listed([title_of(name) for name in s.objectives])
        all_of = "both" if len(s.objectives) == 2 else "all of"
        yield f"{counted(len(front), 'configuration')} that no other beats in {all_of} {names}."
    elif winner:
        metric, reported = s.primary, s.reported(s.primary)
        fresh, seen = winner["fresh"].get(reported), winner["in_the_search"].get(metric)
        if fresh:
            known = "–" if seen is None else f"{seen:.4g}"
            had_seen = known if reported == metric else f"a {title_of(metric)} of {known}"
            yield (
                f"Best: {configuration(winner)}, with a {title_of(reported)} of {with_interval(fresh)} over "
                f"{counted(len(fresh['seeds']), 'fresh seed')}, {_chosen(s)}; the search had seen {had_seen}."
            )
        else:
            yield f"Best: {configuration(winner)}, with {value_of(metric, seen)} {title_of(metric)} in the search."
    elif s.facts.get("concluded"):
        yield "The search has no winner."
    else:
        best, known = best_trial(s.trials, s.primary), ""
        if best is not None:
            said = " ".join(f"{k}={knob_text(best[k], s.space[k])}" for k in s.space if not pd.isna(best[k]))
            known = f" Best so far: {said}, with a {title_of(s.primary)} of {value_of(s.primary, best[s.primary])}."
        yield f"The search has not come to its end: nothing is confirmed on fresh seeds yet.{known}"


def _chosen(s: "StoredSearch") -> str:
    """What the seeds that report have to do with the choice. Older searches chose and reported on the same ones."""
    if "choosing_seeds" not in s.facts:
        return "which also chose it among the best few"
    seeds = s.facts["choosing_seeds"]
    return (
        f"on which nothing was chosen; it was chosen on {len(seeds)} others" if seeds else "on which nothing was chosen"
    )


def notes(s: "StoredSearch") -> list[str]:
    """What the end of the search had to say: ties, finalists that diverged, why there is no winner."""
    return [f"{note[:1].upper()}{note[1:]}." for note in s.facts.get("notes") or []]


def _against(s: "StoredSearch") -> Iterator[str]:
    found, baseline = s.facts.get("against_baseline"), s.facts.get("baseline")
    if not (found and baseline):
        return
    low, high = found.get("low"), found.get("high")
    known = low is not None and high is not None and math.isfinite(high)
    title, n = title_of(s.compared_by), counted(found["n"], "seed")
    value = found.get("value", found.get("ratio"))
    if value is None:
        return
    if found.get("kind") == "difference":
        reach = f" ({low:+.4g} to {high:+.4g})" if known else ""
        said = f"That is {value:+.4g}{reach} in {title} against the baseline, {configuration(baseline)}"
    else:
        digits = telling_digits(low, high) if known else 3
        reach = f" ({ratio_text(low, digits)} to {ratio_text(high, digits)})" if known else ""
        said = (
            f"That is {ratio_text(value, digits)} times{reach} the {title} of the baseline, {configuration(baseline)}"
        )
    if "method" not in found:  # of an older search
        yield f"{said}, paired over {n}; Wilcoxon {p_equals(found['p'])}."
        return
    gone = found["reference_diverged"]
    more = f"; the baseline diverged on {counted(gone, 'seed')}, which count as worse than any value" if gone else ""
    p = math.nan if found["p"] is None else found["p"]
    yield f"{said}, over {n} each; {found['method']}, {p_equals(p)}{more}."


def _trials(s: "StoredSearch") -> Iterator[str]:
    """How many trials ended how; and why, where several failed for one cause."""
    counts = s.trials["state"].value_counts()
    parts = [f"{counts[state]} {said}" for state, said in ENDED.items() if state in counts]
    others = int(sum(n for state, n in counts.items() if state not in ENDED))
    parts += [f"{others} given up and begun again"] * bool(others)
    yield f"{counted(len(s.trials), 'trial')}: {', '.join(parts)}."
    failed = s.trials.loc[s.trials["state"] == "failed", "reason"].dropna().astype(str)
    for reason, n in failed.value_counts(sort=True).head(MOST_CAUSES).items():
        yield f"Failed, {counted(int(n), 'trial')}: {reason}."


def _deciding(s: "StoredSearch", importance: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    for name, table in importance.items():
        over_all = table[table["region"] == "whole space"]
        if over_all.empty:
            why = no_importance(s.trials, name)
            if why:
                yield f"Which knob decides the {title_of(name)} cannot be told: {why}."
            continue
        if over_all["knob"].nunique() == 1:
            continue  # it decides whatever is decided
        parts = []
        for evaluator, own in over_all.groupby("evaluator", sort=False):
            top = own.sort_values("importance", ascending=False, kind="stable").iloc[0]
            parts.append(f"{top['knob']} with {100 * top['importance']:.0f} % by {evaluator}")
        yield f"What decides the {title_of(name)} over the whole space: {', '.join(parts)}."
