"""The sections of every report, in the order in which a reader asks; and what they have made: tables and figures."""

from collections.abc import Callable, Collection, Iterator

from ablate.config.errors import listing, nearest
from ablate.config.registry import FIGURES, TASKS
from ablate.report.across import ACROSS
from ablate.report.answer import ANSWER
from ablate.report.blocks import Sheet
from ablate.report.budgets import BUDGETS
from ablate.report.cautions import WARNINGS
from ablate.report.claim_cards import CLAIMS
from ablate.report.explorer import EXPLORE
from ablate.report.findings import ANALYSES, CURVES, FURTHER, RESULTS
from ablate.report.material import Material
from ablate.report.protocol import PROTOCOL
from ablate.report.provenance import PROVENANCE
from ablate.report.regenerate import REGENERATE
from ablate.report.samples import TEXTS
from ablate.report.search import SEARCHED
from ablate.report.sections import Drawings, Section, contributed, figures_of, of_tasks, speaks, tables_of
from ablate.report.time_to_quality import TIME_TO_QUALITY

BEFORE = (ANSWER, CLAIMS, *SEARCHED, RESULTS)
"""Those above what tasks add."""
AFTER = (
    *(FURTHER, CURVES, EXPLORE, ACROSS, *ANALYSES, TIME_TO_QUALITY, BUDGETS),
    *(TEXTS, WARNINGS, PROTOCOL, PROVENANCE, REGENERATE),
)
"""Those below."""


def sections(m: Material) -> list[Section]:
    """All that have something to say of this sweep, those of its tasks below the results."""
    return [*_speaking(m, BEFORE), *contributed(m), *_speaking(m, AFTER)]


def _speaking(m: Material, some: tuple[Section, ...]) -> Iterator[Section]:
    return (section for section in some if speaks(section, m))


def sheets(m: Material) -> dict[str, Callable[[], Sheet]]:
    """Name → what makes the table, for all tables that make sense for this sweep."""
    return {name: make for section in sections(m) for name, make in tables_of(section, m).items()}


def wanted(m: Material) -> Drawings:
    """Name → caption and what draws it, for all figures that make sense for this sweep."""
    every = sections(m)
    names = {section.name for section in every}
    for line in misplaced(m, names):
        m.attempt.note(line)
    return {name: one for section in every for name, one in figures_of(section, m, names).items()}


def misplaced(m: Material, there: Collection[str]) -> list[str]:
    """A line for each figure whose section is neither `there` nor on the page of any other sweep."""
    strange = [one for one in FIGURES if one.section not in there]
    known = dict.fromkeys(section.name for section in (*BEFORE, *AFTER))
    if strange := [one for one in strange if one.section not in known]:
        known |= dict.fromkeys(section.name for section in of_tasks(m, TASKS))
    return [
        f"the figure {one.name} has section={one.section!r}, which no report has, and stands among the further "
        f"figures; choose {listing(known)}{nearest(one.section, known)}"
        for one in strange
        if one.section not in known
    ]
