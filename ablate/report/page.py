"""The page of a sweep: its sections, in the order in which a reader asks."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ablate.config.errors import UserError
from ablate.report.answer import verdict_counts
from ablate.report.blocks import Block, Figure, Page, Part, Sheet
from ablate.report.cautions import warnings
from ablate.report.contents import sections
from ablate.report.material import Material
from ablate.report.sections import Made, Section, figures_of, tables_of


def build(m: Material, tables: Mapping[str, Sheet], figures: Mapping[str, Figure]) -> Page:
    """A page of the sections that have something to say, of the tables and figures that could be made."""
    every, made = sections(m), Made(tables, figures)
    order = sorted(range(len(every)), key=lambda place: every[place].tells_failures)
    parts = {place: _part(m, every[place], every, made) for place in order if not every[place].within}
    shown = [parts[place] for place in sorted(parts) if parts[place].blocks]
    told = len(warnings(m))
    return Page(m.folder.name, m.title, m.question, shown, verdict_counts(m), len(m.runs), len(m.settings), told)


def _part(m: Material, section: Section, every: list[Section], made: Made) -> Part:
    within = [block for one in every if one.within == section.name for block in _content(m, one, every, made)]
    title = section.title
    said = title if isinstance(title, str) else m.attempt(f"the title of the section {section.name}", lambda: title(m))
    return Part(section.name, said or section.name, _content(m, section, every, replace(made, within=within)))


def _content(m: Material, section: Section, every: list[Section], made: Made) -> list[Block]:
    drawn = figures_of(section, m, {one.name for one in every})
    names = tuple(dict.fromkeys([*section.order, *drawn, *tables_of(section, m)]))
    what = f"the section {section.name}"
    return m.attempt(what, lambda: _checked(section.blocks(m, replace(made, names=names)))) or []


def _checked(blocks: Iterable[Block]) -> list[Block]:
    found = list(blocks)
    for one in found:
        if not isinstance(one, Block):
            raise UserError(f"it holds {type(one).__name__}; make a block of ablate.report.blocks")
    return found
