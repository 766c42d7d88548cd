"""What repeated seeds say of a claim: confirmed, refuted, undecided or not testable, and on what evidence."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ablate.analysis.tuning import reporting
from ablate.claims.comparison import Comparison, DifferenceComparison, RatioComparison
from ablate.claims.designs import BY_PROTOCOL, Design, design_of
from ablate.claims.knobs import knob_fields
from ablate.claims.measured import SEES_FUTURE, SPEED, Frames, Samples
from ablate.claims.parts import Fact, Part, Share
from ablate.claims.protocol import departures
from ablate.claims.reading import Claim
from ablate.claims.settings import Group, NotTestable, grouped, matching, spoken_of
from ablate.claims.statements import Statement, every, most, takes_all
from ablate.config.errors import counted
from ablate.stats import Needed, of_a_page

VERDICTS = ("confirmed", "refuted", "undecided", "not testable")
POWER = 0.8
SHOWN = 3
"""Settings that are named one by one; of more the number is given."""


@dataclass(frozen=True)
class Verdict:
    """One claim on one sweep.

    `ratio`, `low` and `high` are those of the comparison that decides: the weakest one if the claim is confirmed, or
    undecided with an estimate in its favour; otherwise the clearest contradiction. Of a claim that does not take all of
    its comparisons (`in: most`) it is the weakest of those that it takes, on either side. `bound` is what the ratio is
    compared with: 1 unless the claim has a margin. A metric that may be 0 has `difference`, `difference_low` and
    `difference_high` instead, in its unit. A claim about a share of runs has `share`, `share_low` and `share_high`, and
    `share_bound`, the share claimed.

    `p` is two-sided and corrected over the parts of the claim, not over claims. It is that of the claim's contrary if a
    contradiction decides, otherwise that of the claim; the claim is decided if p ≤ 1 − level. `p_rank`, a check, is the
    p of the exact rank test of the deciding comparison alone. `fact`: chance has no part in the verdict, and there is
    no p.
    `needed`: about how many seeds would settle an undecided claim, on the side that its estimate favours, in four
    sweeps of five (processes, for tokens per second; if half of the seeds choose and half judge, both halves).
    `needed_low` and `needed_high` are its 80 % interval; the latter is None if no number up to 10,000 is enough for
    sure.

    `design` says with how many seeds the settings were declared, and whether that was before the first run. If it
    was not, the verdict is `always_valid`: `e` is the two-sided e-value of the side that it favours, p is 1/e, and
    both are valid however often somebody looked. `p_page` is p corrected over all claims that were judged together (see
    `over_the_page`).
    `sees_future`: the outputs of some of the settings depend on the very tokens that they are to predict.
    """

    id: str
    statement: str
    source: str
    verdict: str
    metric: str
    effect: str = ""
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    p: float = math.nan
    method: str = ""
    needed: int | None = None
    evidence: str = ""
    sweep: str = ""
    bound: float = math.nan
    difference: float = math.nan
    difference_low: float = math.nan
    difference_high: float = math.nan
    share: float = math.nan
    share_low: float = math.nan
    share_high: float = math.nan
    share_bound: float = math.nan
    sees_future: bool = False
    p_rank: float = math.nan
    fact: bool = False
    always_valid: bool = False
    design: str = ""
    e: float = math.nan
    needed_low: int | None = None
    needed_high: int | None = None
    p_page: float = math.nan


def evaluate(
    sweep: Path | Frames, claims: Iterable[Claim], level: float = 0.95, any_protocol: bool = False
) -> list[Verdict]:
    """The verdict on each claim, in their order. Raises UserError for a folder without a finished run.

    Claims that hold under another protocol than that of the sweep are not testable; with `any_protocol`, because a
    person asked for just these claims, the verdict says how the protocols differ.
    """
    frames = sweep if isinstance(sweep, Frames) else Frames.read(sweep)
    return over_the_page([judge(frames, claim, level, any_protocol) for claim in claims])


def over_the_page(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts with the level at which each stands beside the others: by Holm's correction of those of a fixed n,
    by e-BH of those that are always valid, which share the level by their numbers. Facts have none."""
    fixed = [math.nan if one.always_valid else one.p for one in verdicts]
    sequential = [math.log(one.e) if one.always_valid and one.e > 0 else math.nan for one in verdicts]
    levels = of_a_page(fixed, sequential)
    return [replace(one, p_page=float(level)) for one, level in zip(verdicts, levels, strict=True)]


def judge(frames: Frames, claim: Claim, level: float = 0.95, any_protocol: bool = False) -> Verdict:
    """The verdict on one claim."""
    try:
        groups, data, notes = groups_to_test(frames, claim, level, any_protocol)
    except NotTestable as reason:
        return verdict_of(claim, frames.name, "not testable", evidence=sentence(str(reason)))
    if claim.tuned:
        claim = replace(claim, metric=data.metric)
    verdict = conclude(claim, frames.name, statement_of(claim, groups, data), data, notes)
    return replace(verdict, sees_future=seeing(frames, _used(groups)) > 0)


def groups_to_test(
    frames: Frames, claim: Claim, level: float, any_protocol: bool = False
) -> tuple[list[Group], Samples, list[str]]:
    """The groups of settings that a claim can be tested in, their samples, and what a reader must know of them.

    Raises NotTestable.
    """
    if claim.needs:
        raise NotTestable(f"this needs {claim.needs}")
    predicate, metric = claim.predicate, claim.metric
    settings = matching(frames.settings, claim.where)
    looked_at, candidates = frames.runs, settings
    notes = departures(claim, settings)
    if notes and not any_protocol:
        raise NotTestable(f"this holds under another protocol: {'; '.join(notes)}")
    if claim.tuned:
        metric = reporting(frames.of(settings), metric)
        frames, tuning = frames.tuned(claim.tuned, metric, settings)
        settings = frames.settings
        notes += tuning
    if metric == SPEED:
        settings = spoken_of(settings, predicate.keys, predicate.relevant)
    data = frames.samples(predicate.reads or metric, settings, level)
    measured = settings[settings["setting_id"].isin(data.values)]
    groups, along_with = grouped(measured, predicate.keys, predicate.relevant)
    lacking = {group.at: predicate.missing(group.settings) for group in groups}
    whole = [group for group in groups if not lacking[group.at]]
    noun = "setting" if len(measured) == len(settings) else "measured setting"
    if not whole:
        raise NotTestable(why_none(predicate.missing({}), lacking, noun))
    if len(whole) < len(groups):
        notes.append(left_out({at: missing for at, missing in lacking.items() if missing}, noun))
    notes += [f"{name} differs too ({', '.join(values)})" for name, values in along_with.items()]
    used = _used(whole)
    if data.unit == "seeds":
        design = design_of(frames.declared, looked_at, set(candidates["setting_id"] if claim.tuned else used))
    else:
        design = Design(False, f"fixed n, {BY_PROTOCOL}")
        notes += frames.timed_apart(settings[settings["setting_id"].isin(used)])
    data = replace(data, always_valid=design.always_valid, design=design.text)
    diverged = sum(int(np.isinf(data.values[setting]).sum()) for setting in used)
    notes += [f"{counted(diverged, 'run')} diverged"] * (diverged > 0)
    return whole, data, notes if predicate.reads == SEES_FUTURE else notes + sighted(frames, used)


def candidates(frames: Frames, claim: Claim, level: float, any_protocol: bool = False) -> list[str]:
    """The settings on whose runs a verdict rests, also those that were tried and not chosen. Raises NotTestable."""
    groups, _, _ = groups_to_test(frames, claim, level, any_protocol)
    if claim.tuned:
        return list(matching(frames.settings, claim.where)["setting_id"])
    return list(dict.fromkeys(_used(groups)))


def _used(groups: Sequence[Group]) -> list[str]:
    return [setting for group in groups for setting in group.settings.values()]


def seeing(frames: Frames, settings: Sequence[str]) -> int:
    """The number of these settings whose outputs depend on the very tokens that they are to predict."""
    if SEES_FUTURE not in frames.runs:
        return 0
    runs = frames.runs[frames.runs["setting_id"].isin(settings)]
    return int(runs.loc[runs[SEES_FUTURE].eq(True), "setting_id"].nunique())


def sighted(frames: Frames, settings: Sequence[str]) -> list[str]:
    """What a reader must know of settings that see the future."""
    count = seeing(frames, settings)
    of = "the setting sees" if len(settings) == 1 else f"{count} of {len(settings)} settings see"
    return [f"{of} the tokens to be predicted: no perplexity there is that of a prediction"] * (count > 0)


def why_none(wanted: Sequence[str], lacking: dict[str, list[str]], noun: str) -> str:
    """Why no group of settings is whole, in one line."""
    first = next(iter(lacking.values()), wanted)
    everywhere = [missing for missing in first if all(missing in of_group for of_group in lacking.values())]
    if everywhere:
        return f"no {noun} with {' or '.join(everywhere)}"
    return f"no setting of the other knobs has all settings: {left_out(lacking, noun)}"


def left_out(lacking: dict[str, list[str]], noun: str) -> str:
    if len(lacking) > SHOWN:
        return f"{len(lacking)} settings left out that lack a {noun}"
    return "left out " + ", ".join(f"{at} (no {noun} with {' or '.join(of)})" for at, of in lacking.items())


def statement_of(claim: Claim, groups: Sequence[Group], data: Samples) -> Statement:
    """What the claim says of all its groups together."""
    statements = [claim.predicate.statement(group, data) for group in groups]
    return (most if claim.predicate.most else every)(statements)


def conclude(claim: Claim, sweep: str, whole: Statement, data: Samples, notes: Sequence[str] = ()) -> Verdict:
    """The verdict from the p-values of the statement, with its evidence."""
    alpha = (1 - data.level) / 2
    confirmed, refuted = whole.confirm <= alpha, whole.contrary <= alpha
    verdict = "confirmed" if confirmed else "refuted" if refuted else "undecided"
    speaks_for = confirmed or (not refuted and whole.leans)
    part = whole.decisive(speaks_for)
    p = math.nan if part.is_fact else min(1.0, 2 * (whole.confirm if speaks_for else whole.contrary))
    p_rank = float(np.minimum(1.0, 2 * part.rank_p(speaks_for)))
    log_e = math.nan if part.is_fact else whole.log_e(speaks_for) - math.log(2)
    needed: int | None = None
    between: Needed = None, None
    if verdict == "undecided":
        seeds = whole.needed(data.level, POWER), *whole.needed_between(data.level, POWER)
        needed, *ends = (n if n is None else n * (1 + data.halved) for n in seeds)
        between = ends[0], ends[1]
    told = [evidence(whole, part, verdict, speaks_for, p, data), *notes]
    if verdict != "undecided" and part.rank_least_p > alpha:
        told.insert(1, "so few runs leave no rank test to check it by")
    elif verdict != "undecided" and p_rank > 2 * alpha:
        told.insert(1, f"the {part.rank_name} of this comparison does not agree (p = {p_text(p_rank)})")
    if verdict == "undecided":
        told.insert(1, outlook(part, needed, between, speaks_for, data.unit))
    return verdict_of(
        claim,
        sweep,
        verdict,
        effect=part.effect,
        n=part.n,
        p=p,
        method=part.method,
        p_rank=p_rank,
        fact=part.is_fact,
        needed=needed,
        needed_low=between[0],
        needed_high=between[1],
        always_valid=data.always_valid and not part.is_fact,
        design="" if part.is_fact else data.design,
        e=math.exp(min(log_e, 700.0)),
        evidence=sentence("; ".join(told)),
        **estimates(part),
    )


def estimates(part: Part) -> dict[str, float]:
    """What a part estimates, with its interval, as a verdict has them."""
    if isinstance(part, RatioComparison):
        test = part.test
        return {"ratio": test.ratio, "low": test.low, "high": test.high, "bound": part.bound}
    if isinstance(part, DifferenceComparison):
        ends = {"difference_low": part.test.low, "difference_high": part.test.high}
        return {"difference": part.estimate} | ends
    if isinstance(part, Fact):
        return {"share": 1.0}
    if isinstance(part, Share):
        low, high = part.interval
        return {"share": part.count / part.n, "share_low": low, "share_high": high, "share_bound": part.share}
    return {}


def evidence(whole: Statement, part: Part, verdict: str, speaks_for: bool, p: float, data: Samples) -> str:
    """The part that decides, and how it stands among the others."""
    count = len(list(whole.parts()))
    lead = ""
    if count > 1:
        which = "weakest" if verdict == "confirmed" else "least settled"
        if takes_all(whole):
            lead = f"the {which if speaks_for else 'clearest contradiction'} of {count} comparisons: "
        else:  # of the others, some may contradict a claim that is confirmed, or support one that is refuted
            which = which if speaks_for else "weakest contradiction"
            lead = f"of {count} comparisons the {which} that it takes: "
    if part.is_fact:
        return f"{lead}{part.effect}{part.against}: {part.method.removeprefix('fact: ')}, a fact and no estimate"
    runs = f", n = {part.n} {data.unit}" if isinstance(part, Comparison) else ""
    return f"{lead}{part.effect}{part.against}{runs}, p = {p_text(p)}{f'; {data.design}' if data.design else ''}"


def outlook(part: Part, needed: int | None, between: Needed, speaks_for: bool, unit: str) -> str:
    """What it would take to decide an undecided claim."""
    if needed is not None:
        against = "" if speaks_for else "points against the claim; "
        about = f"{against}about {needed_text(needed, between)} {unit}"
        return f"{about} would {'settle' if speaks_for else 'refute'} it in four of five sweeps"
    if not part.n:
        return "no seed is in all of the settings that this compares, and the always-valid test compares seed by seed"
    if part.n < 2:
        return "from a single value nothing can be said of the spread"
    return f"no number of {unit} up to 10,000 would settle it if this is how it is"


def needed_text(needed: int | None, between: Needed, short: bool = False) -> str:
    """`31 (18–240)`, or `31 (18 or more)`, in a table `31 (18–)`."""
    low, high = between
    if needed is None or low is None:
        return "–" if needed is None else str(needed)
    return f"{needed} ({low}{'–' if short else ' or more'})" if high is None else f"{needed} ({low}–{high})"


def family(verdicts: Sequence[Verdict], level: float) -> str:
    """How many of the verdicts stand beside all others, and by which correction; empty where none is a test."""
    tested = [one for one in verdicts if not math.isnan(one.p_page)]
    decided = [one for one in tested if one.verdict in VERDICTS[:2]]
    if not decided:
        return ""
    stand = sum(one.p_page <= 1 - level for one in decided)
    names = ["Holm"] * any(not one.always_valid for one in tested) + ["e-BH"] * any(one.always_valid for one in tested)
    return (
        f"Corrected over the {counted(len(tested), 'claim')} tested here ({' and '.join(names)}), "
        f"{stand} of the {counted(len(decided), 'verdict')} {'stands' if stand == 1 else 'stand'}."
    )


def p_text(p: float) -> str:
    return "–" if math.isnan(p) else f"{p:.1e}" if p < 0.001 else f"{p:.3f}"


def sentence(text: str) -> str:
    """With a capital letter, unless it begins with the name of a knob."""
    begins = text if text.split(" ", 1)[0] in knob_fields() else f"{text[:1].upper()}{text[1:]}"
    return f"{begins}."


def verdict_of(claim: Claim, sweep: str, verdict: str, **told: object) -> Verdict:
    given = (claim.id, claim.statement, claim.source, verdict, claim.metric)
    return Verdict(*given, sweep=sweep, **told)  # type: ignore[arg-type]


def verdicts_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per verdict, its fields as columns; `needed` is empty where it is not told."""
    names = [field.name for field in fields(Verdict)]
    frame = pd.DataFrame([asdict(verdict) for verdict in verdicts], columns=names)
    return frame.astype(dict.fromkeys(("needed", "needed_low", "needed_high"), "Int64"))
