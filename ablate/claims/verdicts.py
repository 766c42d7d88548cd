"""What repeated seeds say of a claim: confirmed, refuted, undecided or not testable, and on what evidence."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from ablate.claims.cells import Group, NotTestable, grouped, matching
from ablate.claims.choosing import differences
from ablate.claims.knobs import KNOB_FIELDS
from ablate.claims.measured import LATE_CHANGE, Frames, Samples
from ablate.claims.parts import Comparison, Part
from ablate.claims.predicates import Converged
from ablate.claims.reading import Claim
from ablate.claims.statements import Statement, every, most

VERDICTS = ("confirmed", "refuted", "undecided", "not testable")
POWER = 0.8
SHOWN = 3
"""Settings that are named one by one; of more the number is given."""


@dataclass(frozen=True)
class Verdict:
    """One claim on one sweep.

    `ratio`, `low` and `high` are those of the comparison that decides (the weakest of a confirmed or undecided claim,
    the clearest contradiction of a refuted one) and empty where a share of runs is claimed. `p` is two-sided and
    corrected within the claim: of the claim's contrary where it is refuted, else of the claim; a verdict falls at
    p ≤ 1 − level. `needed`: seeds (processes, for tokens per second) that would settle an undecided claim in four
    sweeps of five. `bound`: what the ratio is compared with, 1 unless the claim has a margin.
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


def evaluate(sweep: Path | Frames, claims: Iterable[Claim], level: float = 0.95) -> list[Verdict]:
    """The verdict on each claim, in their order. Raises UserError for a folder without a finished run."""
    frames = sweep if isinstance(sweep, Frames) else Frames.read(sweep)
    return [judge(frames, claim, level) for claim in claims]


def judge(frames: Frames, claim: Claim, level: float = 0.95) -> Verdict:
    """The verdict on one claim."""
    try:
        groups, data, notes = found(frames, claim, level)
    except NotTestable as reason:
        return verdict_of(claim, frames.name, "not testable", evidence=sentence(str(reason)))
    return conclude(claim, frames.name, statement_of(claim, groups, data), data, notes)


def found(frames: Frames, claim: Claim, level: float) -> tuple[list[Group], Samples, list[str]]:
    """The groups of cells that a claim can be tested in, their samples, and what a reader must know of them.

    Raises NotTestable.
    """
    if claim.needs:
        raise NotTestable(f"this needs {claim.needs}")
    predicate = claim.predicate
    cells = matching(frames.cells, claim.where)
    notes = differences(claim, cells)
    if claim.tuned:
        frames = frames.tuned(claim.tuned, claim.metric, cells)
        cells = frames.cells
        notes.append(f"{claim.tuned} chosen on half of the seeds, judged on the others")
    data = frames.samples(LATE_CHANGE if isinstance(predicate, Converged) else claim.metric, cells, level)
    measured = cells[cells["cell_id"].isin(data.values)]
    groups, along_with = grouped(measured, predicate.keys, predicate.relevant)
    lacking = {group.at: predicate.missing(group.cells) for group in groups}
    whole = [group for group in groups if not lacking[group.at]]
    noun = "cell" if len(measured) == len(cells) else "measured cell"
    if not whole:
        raise NotTestable(why_none(predicate.missing({}), lacking, noun))
    if len(whole) < len(groups):
        notes.append(left_out({at: missing for at, missing in lacking.items() if missing}, noun))
    notes += [f"{name} differs too ({', '.join(values)})" for name, values in along_with.items()]
    diverged = sum(int((data.values[cell] == math.inf).sum()) for group in whole for cell in group.cells.values())
    notes += [f"{diverged} runs diverged"] * (diverged > 0)
    return whole, data, notes


def why_none(wanted: Sequence[str], lacking: dict[str, list[str]], noun: str) -> str:
    """Why no group of cells is whole, in one line."""
    first = next(iter(lacking.values()), wanted)
    everywhere = [missing for missing in first if all(missing in of_group for of_group in lacking.values())]
    if everywhere:
        return f"no {noun} with {' or '.join(everywhere)}"
    return f"no setting of the other knobs has all cells: {left_out(lacking, noun)}"


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
    p = min(1.0, 2 * (whole.contrary if verdict == "refuted" else whole.confirm))
    part = whole.decisive(confirming=verdict != "refuted")
    needed = whole.needed(data.level, POWER) if verdict == "undecided" else None
    told = [evidence(whole, part, verdict, p, data.unit), *notes]
    if verdict == "undecided":
        told.insert(1, outlook(part, needed, data.unit))
    ratio, low, high, bound = (math.nan,) * 4
    if isinstance(part, Comparison):
        ratio, low, high, bound = part.test.ratio, part.test.low, part.test.high, part.bound
    return verdict_of(
        claim,
        sweep,
        verdict,
        effect=part.effect,
        ratio=ratio,
        low=low,
        high=high,
        n=part.n,
        p=p,
        method=part.method,
        needed=needed,
        evidence=sentence("; ".join(told)),
        bound=bound,
    )


def evidence(whole: Statement, part: Part, verdict: str, p: float, unit: str) -> str:
    """The part that decides, and how it stands among the others."""
    count = len(list(whole.parts()))
    which = {"confirmed": "the weakest", "refuted": "the clearest contradiction", "undecided": "the least settled"}
    lead = f"{which[verdict]} of {count} comparisons: " if count > 1 else ""
    runs = f", n = {part.n} {unit}" if isinstance(part, Comparison) else ""
    return f"{lead}{part.effect}{part.against}{runs}, p = {p_text(p)}"


def outlook(part: Part, needed: int | None, unit: str) -> str:
    if needed is not None:
        return f"about {needed} {unit} would settle it"
    if part.n < 2:
        return f"from {part.n} {unit} nothing can be said of the spread"
    return f"no number of {unit} up to 10,000 would settle it if this is how it is"


def p_text(p: float) -> str:
    return "–" if math.isnan(p) else f"{p:.1e}" if p < 0.001 else f"{p:.3f}"


def sentence(text: str) -> str:
    """With a capital letter, unless it begins with the name of a knob."""
    begins = text if text.split(" ", 1)[0] in KNOB_FIELDS else f"{text[:1].upper()}{text[1:]}"
    return f"{begins}."


def verdict_of(claim: Claim, sweep: str, verdict: str, **told: object) -> Verdict:
    return Verdict(claim.id, claim.statement, claim.source, verdict, claim.metric, sweep=sweep, **told)  # type: ignore[arg-type]


def verdicts_frame(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """One row per verdict, its fields as columns; `needed` is empty where it is not told."""
    names = [field.name for field in fields(Verdict)]
    frame = pd.DataFrame([asdict(verdict) for verdict in verdicts], columns=names)
    return frame.astype({"needed": "Int64"})
