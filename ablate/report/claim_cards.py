"""The claims about a sweep with their verdicts: on the page, as a table, and on the terminal."""

from functools import partial

from ablate.claims import Verdict, verdicts_frame
from ablate.claims.verdicts import family, needed_text
from ablate.config.errors import counted
from ablate.report.blocks import Badge, Block, Card, Cards, Column, Sheet
from ablate.report.material import Material
from ablate.report.numbers import p_text, percent, text_or_dash, whole
from ablate.report.sections import Made, Section, Tables
from ablate.report.wording import FUTURE_NOTE, marked


def cards(m: Material) -> list[Card]:
    """The claims, those that cannot be tested last."""
    ranked = sorted(m.verdicts, key=lambda v: v.verdict == "not testable")
    return [Card(Badge(v.verdict), marked(v.statement, v.sees_future), v.evidence, _details(v)) for v in ranked]


def _details(v: Verdict) -> str:
    """Source and method, as far as there are such."""
    return " · ".join(part for part in (v.source, v.method, FUTURE_NOTE * v.sees_future) if part)


def verdicts_sheet(m: Material) -> Sheet:
    frame = verdicts_frame(m.verdicts)
    columns = [Column("claim", long=True), Column("source"), Column("verdict"), Column("effect", long=True)]
    columns += [Column(name, True) for name in ("n", "p", "p (page)", "p (ranks)", "seeds needed")]
    columns += [Column("number of seeds", long=True)]
    rows = [
        [
            marked(row["statement"], row["sees_future"]),
            text_or_dash(row["source"]),
            row["verdict"],
            text_or_dash(row["effect"]),
            whole(row["n"] or None),
            "fact" if row["fact"] else p_text(row["p"]),
            p_text(row["p_page"]),
            p_text(row["p_rank"]),
            needed_text(v.needed, (v.needed_low, v.needed_high), short=True),
            text_or_dash(v.design),
        ]
        for v, (_, row) in zip(m.verdicts, frame.iterrows(), strict=True)
    ]
    notes = [
        f"Effect: of the comparison that decides, with its {percent(m.level)} interval: ratios are those of geometric "
        "means (Welch's t on logarithms), shares have exact intervals (Clopper–Pearson). p: corrected over the parts "
        f"of each claim, not over the {counted(len(frame), 'claim')}; p (page): over these, too. p (ranks): the rank "
        "test of that comparison alone, a check. Seeds needed: about how many would decide an undecided one, for it or "
        "against it as its estimate points, in four of five repetitions, and between which numbers these lie in 80 %."
    ]
    if frame["always_valid"].any():
        notes.append(
            "Always-valid: the sweep was extended after somebody could look, or is seen before it is whole. p is "
            "1/e of a test by seed that holds however often one looks (a sequential t test, a binomial mixture), and "
            "the interval is a confidence sequence; p (ranks) is that of the sign test."
        )
    notes += [family(m.verdicts, m.level)] * bool(family(m.verdicts, m.level))
    notes += [FUTURE_NOTE] * bool(frame["sees_future"].any())
    return Sheet("verdicts", "Claims and verdicts", columns, rows, frame, notes)


def verdict_lines(m: Material) -> list[str]:
    """For the terminal: symbol, verdict and statement; the evidence is on the page and in tables/verdicts.csv."""
    return [f"{Badge(v.verdict).symbol} {v.verdict}: {marked(v.statement, v.sees_future)}" for v in m.verdicts]


def _tables(m: Material) -> Tables:
    return {"verdicts": partial(verdicts_sheet, m)}


def _blocks(m: Material, made: Made) -> list[Block]:
    """The cards and the figure: what the table says, in words."""
    return [Cards(cards(m)), *made.within, *(one for one in made.of(*made.names) if one.kind == "figure")]


CLAIMS = Section("claims", "Claims", lambda m: bool(m.verdicts), tables=_tables, blocks=_blocks)
