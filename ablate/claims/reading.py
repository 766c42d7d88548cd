"""Claims from YAML: `sweeps/claims/<preset>.yaml` holds a list of them.

    - id: sampling-perplexity
      statement: Sequential sampling gives a lower perplexity than random sampling.
      source: conclusion 1 (table09)
      metric: tail_perplexity                   # the default; or perplexity (last epoch), tokens_per_s …
      where: {model: rnn, formulation: textbook}        # only these settings; a list means any of its values
      tuned: lr                                 # compare settings at their best value of this knob
      needs: what must be recorded first        # until then the claim is not testable
      elsewhere: true                           # test every sweep that has its settings; if left out, a file that is
                                                # named after a preset tests only the sweeps of that preset
      order: {along: sampling, ascending: [sequential, random]}

The last line is the predicate, one for each claim:

    order          {along: KNOB, ascending: [A, B, …]}   # [[A, B], C]: both A and B below C
    monotone       {along: KNOB, direction: falls | rises, margin: 0}
    u_shape        {along: KNOB, optimum: VALUE, peak: false, margin: 0}
    ratio          {of: {KNOB: A, …}, to: {KNOB: B, …}, below: X | above: X}
    difference     {of: {KNOB: A, …}, to: {KNOB: B, …}, below: X | above: X}
    equivalent     {of: {KNOB: A, …}, to: {KNOB: B, …}, margin: 0.05}
    no_trend       {along: KNOB, margin: 0.1}
    narrows        {along: KNOB, between: {KNOB: [HIGHER, LOWER]}}
    fails          {above: X, at_least: SHARE | at_most: SHARE}
    solves         {at_least: X, in_share: SHARE}        # at least this share of all runs reaches X
    does_not_solve {at_least: X, in_share: SHARE}        # at least this share of all runs does not
    sees_future    {in_share: 0.5}                       # outputs depend on later tokens; or sees_no_future
    converged      {within: 0.01}                        # or not_converged

Perplexities, losses and speeds are compared by ratios: a margin of 0.1 is a tenth. Accuracy and BLEU, which may be 0,
are compared by differences: a margin of 0.1 is 0.1 in their own unit (accuracy, course_bleu 0 … 1, bleu 0 … 100).
solves and does_not_solve are for metrics that are better when higher, fails for all others.
Each of them may add `in: most`: then it has to hold in more than half of the settings of the other knobs, not in all.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.claims.along import NoTrend
from ablate.claims.grammar import PREDICATES, Arguments, ClaimError, any_of, known_knob, mapping
from ablate.claims.measured import SEES_FUTURE, SPEED, claimable
from ablate.claims.predicates import Difference, Equivalent, Fails, InShare, Predicate, Ratio, Solves
from ablate.config import former_names
from ablate.config.errors import UserError, listing, nearest
from ablate.config.metrics import DEFAULT_METRIC, METRICS, by_difference
from ablate.config.yaml_nodes import value_of

FIELDS = ("id", "statement", "source", "metric", "where", "tuned", "needs", "elsewhere")


@dataclass(frozen=True)
class Claim:
    """A statement in words, and what it says of settings."""

    id: str
    statement: str
    predicate: Predicate
    source: str = ""
    metric: str = DEFAULT_METRIC
    where: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    tuned: str | None = None
    needs: str = ""
    elsewhere: bool | None = None
    """Whether it judges every sweep that has its settings; None: only if its file belongs to no preset."""
    preset: str = ""  # the name of its file

    @property
    def speaks_of(self) -> set[str]:
        """The knobs whose values it says or compares."""
        return {*self.where, *self.predicate.keys, *([self.tuned] if self.tuned else [])}


def read_claims(path: Path) -> list[Claim]:
    """The claims of a file. Raises ClaimError, in one line, for the first mistake."""
    try:
        entries = value_of(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ClaimError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except UserError as error:
        raise ClaimError(f"{error}; not YAML") from error
    if not isinstance(entries, list) or not entries:
        raise ClaimError(f"{path}: must be a list of claims, each beginning with `- id: NAME`")
    claims: dict[str, Claim] = {}
    for position, entry in enumerate(entries, start=1):
        name = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip():
            raise ClaimError(f"{path}: claim number {position} has no id; begin it with `- id: NAME`")
        try:
            if name in claims:
                raise ClaimError("the id is there twice")
            claims[name] = make_claim(entry, path.stem)
        except UserError as error:
            raise ClaimError(f"{path}: claim {name}: {error}") from error
    return list(claims.values())


def make_claim(entry: Mapping[str, Any], preset: str = "") -> Claim:
    """One entry of a file. Raises ClaimError."""
    entry = former_names.in_claim(entry)
    for key in entry:
        if key not in FIELDS and key not in PREDICATES:
            choices = [*PREDICATES, *FIELDS]
            raise ClaimError(f"there is no predicate {key!r}; choose {listing(PREDICATES)}{nearest(str(key), choices)}")
    named = [key for key in entry if key in PREDICATES]
    if len(named) != 1:
        found = f"has {len(named)} predicates ({', '.join(named)})" if named else "has no predicate"
        raise ClaimError(f"{found}; give exactly one of {listing(PREDICATES)}")
    for key in ("id", "statement"):
        text(entry, key, required=True)
    metric = text(entry, "metric") or DEFAULT_METRIC
    if metric not in (known := claimable()):
        raise ClaimError(f"metric is {metric!r}; choose {listing(known)}{nearest(metric, known)}")
    elsewhere = entry.get("elsewhere")
    if not isinstance(elsewhere, bool | None):
        raise ClaimError(f"elsewhere is {elsewhere!r}; it must be true or false")
    where = mapping(entry.get("where") or {}, "where")
    tuned = text(entry, "tuned") or None
    predicate = PREDICATES[named[0]](Arguments(named[0], entry[named[0]]))
    if tuned:
        known_knob(tuned, "tuned")
        if tuned in predicate.keys or metric == SPEED or predicate.reads:
            raise ClaimError(f"tuned: {tuned} chooses by a metric of the runs, among settings that differ in it alone")
    check_metric(named[0], predicate, metric, entry)
    return Claim(
        id=entry["id"],
        statement=entry["statement"].strip(),
        predicate=predicate,
        source=text(entry, "source"),
        metric=metric,
        where={knob: any_of(knob, value) for knob, value in where.items()},
        tuned=tuned,
        needs=text(entry, "needs"),
        elsewhere=elsewhere,
        preset=preset,
    )


def check_metric(name: str, predicate: Predicate, metric: str, entry: Mapping[str, Any]) -> None:
    """Raise ClaimError where a predicate cannot speak of a metric."""
    may_be_0 = [name for name in claimable() if by_difference(name)]
    if predicate.reads and entry.get("metric") is not None:
        what = "a mark of each run" if predicate.reads == SEES_FUTURE else "the curves of perplexity"
        raise ClaimError(f"metric is {metric!r}; {name} reads {what} and no other metric: leave metric out")
    if isinstance(predicate, InShare) and metric == SPEED:
        raise ClaimError(f"{name} speaks of runs, which have no {SPEED}; give another metric")
    if isinstance(predicate, Difference) and metric not in may_be_0:
        raise ClaimError(f"metric is {metric!r}; {name} is for {listing(may_be_0)}, for others there is ratio")
    if isinstance(predicate, Ratio) and metric in may_be_0:
        raise ClaimError(f"metric is {metric!r}, which may be 0; use difference, not {name}")
    rising = [name for name in claimable() if name in METRICS and METRICS[name].better == "higher"]
    if isinstance(predicate, Solves) and metric not in rising:
        raise ClaimError(f"metric is {metric!r}; {name} is for {listing(rising)}, for others there is fails")
    if isinstance(predicate, Fails) and metric in rising:
        raise ClaimError(f"metric is {metric!r}, which is better when higher; use does_not_solve, not {name}")
    low, high = METRICS[metric].bounds if metric in METRICS else (0.0, math.inf)
    if isinstance(predicate, Solves) and not low < predicate.reach <= high:
        raise ClaimError(f"{name}.at_least is {predicate.reach:g}; {metric} lies between {low:g} and {high:g}")
    if isinstance(predicate, Equivalent | NoTrend) and metric in may_be_0 and "margin" not in entry[name]:
        raise ClaimError(f"{name} lacks margin; give it in the unit of {metric}, 0 to {high:g}")


def text(entry: Mapping[str, Any], key: str, required: bool = False) -> str:
    value = entry.get(key)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not value.strip():
        raise ClaimError(f"{key} is {value!r}; it must be a text")
    return value.strip()
