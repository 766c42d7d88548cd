"""What a report consists of: sections, each with its tables, figures and sentences. Loads neither torch nor matplotlib.

A `Section` says of which sweeps it speaks, and what it then has. Those of every report are in
`ablate.report.contents`; a task adds its own. A figure is one of the registry `FIGURES`, and names the section that it
stands in: ours are in `ablate.report.figures`, a person adds one by `ablate.figure`. What fails in a section or a
figure costs the report no more than that: it is told in a line, with the place in a file of a person's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, overload

from ablate.analysis.tasks import each_task
from ablate.config.errors import ConfigError, UserError, check_function, listing
from ablate.config.registry import FIGURES, resolved
from ablate.report import blocks
from ablate.report.blocks import Block, Sheet
from ablate.report.material import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Tables = Mapping[str, Callable[[], Sheet]]
"""Name of a table → what makes it."""
Drawings = Mapping[str, "tuple[str, Callable[[], Drawing]]"]
"""Name of a figure → its caption and what draws it."""


OTHERS = "figures"
"""The section of the figures that name none, or one that is not on the page."""


@dataclass(frozen=True)
class Made:
    """What could be made for a page: all tables and figures by their names."""

    tables: Mapping[str, Sheet]
    figures: Mapping[str, blocks.Figure]
    names: tuple[str, ...] = ()
    """Those of one section, in the order of the page."""
    within: Sequence[Block] = ()
    """The content of the sections that stand within it."""

    def of(self, *names: str) -> list[Block]:
        """Of each name the figure, then the table, where there are such."""
        return [made[name] for name in names for made in (self.figures, self.tables) if name in made]


def figures_then_tables(m: Material, made: Made) -> list[Block]:
    return [*made.within, *made.of(*made.names)]


@dataclass(frozen=True)
class Section:
    """A part of the report of a sweep that `applies` holds for: what it adds to tables, figures, sentences, page.

    It has a part of the page of its own, that of a task below the results, or stands `within` another part, its
    figures and tables before what is there already. Its sentences join the answer in short; `instead_of_best` puts them
    in the place of those on the best settings.
    """

    name: str
    title: str | Callable[[Material], str]
    applies: Callable[[Material], bool]
    tables: Callable[[Material], Tables] = lambda m: {}
    figures: Callable[[Material], Drawings] = lambda m: {}
    """Those of this sweep beside the ones that name the section in the registry `FIGURES`."""
    sentences: Callable[[Material], Iterable[str]] = lambda m: ()
    notes: Callable[[Material], Iterable[str]] = lambda m: ()
    """Sentences of the protocol: on what is not as somebody else had it, and on what was measured on what."""
    order: tuple[str, ...] = ()
    """Tables and figures in the order of the page; what is not named follows, figures first."""
    within: str = ""
    instead_of_best: bool = False
    blocks: Callable[[Material, Made], Iterable[Block]] = figures_then_tables
    """What stands on the page, of what could be made and beside it."""
    tells_failures: bool = False
    """Whether it is about what could not be made, and so comes last in the making."""


def speaks(section: Section, m: Material) -> bool:
    return bool(m.attempt(f"the section {section.name}", lambda: section.applies(m)))


def contributed(m: Material) -> list[Section]:
    """The sections of the tasks of this sweep that have something to say."""
    if m.runs.empty:
        return []
    return [section for section in of_tasks(m, each_task(m.settings)) if speaks(section, m)]


def of_tasks(m: Material, tasks: Iterable[Any]) -> list[Section]:
    """The sections that tasks (`TaskFacts`) bring."""
    named = dict.fromkeys(section for task in tasks for section in task.sections)
    found = [m.attempt(f"the section {one}", partial(_section, one)) for one in named]
    return [section for section in found if section is not None]


def _section(given: Any) -> Section:
    found = resolved(given)
    if not isinstance(found, Section):
        raise UserError(f"{given} is {type(found).__name__}; a task's sections are of ablate.report.sections.Section")
    return found


def sentences_of(section: Section, m: Material) -> list[str]:
    return m.attempt(f"the sentences of the section {section.name}", lambda: _lines(section.sentences(m))) or []


def notes_of(section: Section, m: Material) -> list[str]:
    return m.attempt(f"the notes of the section {section.name}", lambda: _lines(section.notes(m))) or []


def _lines(said: Iterable[str]) -> list[str]:
    return [said] if isinstance(said, str) else [str(line) for line in said]


def tables_of(section: Section, m: Material) -> Tables:
    return m.attempt(f"the tables of the section {section.name}", lambda: dict(section.tables(m))) or {}


def figures_of(section: Section, m: Material, named: Iterable[str] = ()) -> Drawings:
    """The figures of a section, found out once; `named`: the names of all sections of the page."""
    if section.name in m.drawings:
        return m.drawings[section.name]
    found: dict[str, Any] = {}
    for one in FIGURES:
        home = one.section if one.section == OTHERS or one.section in named else OTHERS
        if home == section.name or one.section == section.name:
            found |= m.attempt(f"the figure {one.name}", partial(_drawn_by, one, m)) or {}
    own = m.attempt(f"the figures of the section {section.name}", lambda: _drawings(section.figures(m)))
    m.drawings[section.name] = found | (own or {})
    return m.drawings[section.name]


def _drawn_by(figure: Any, m: Material) -> dict[str, tuple[str, Callable[[], Drawing]]]:
    return _drawings(figure.drawings(m))


def _drawings(given: Drawings) -> dict[str, tuple[str, Callable[[], Drawing]]]:
    return {name: (str(caption), make) for name, (caption, make) in dict(given).items()}


FRAMES = ("settings", "runs", "curves", "published", "swept")
"""What a figure of one's own can be drawn from, by the names of its parameters."""


@dataclass(frozen=True)
class Figure:
    """A figure that `draw` makes of those of `FRAMES` that its parameters name."""

    name: str
    caption: str
    draw: Callable[..., Drawing]
    applies: Callable[[Material], bool] = lambda m: not m.runs.empty
    section: str = OTHERS

    def drawings(self, m: Material) -> Drawings:
        return {self.name: (self.caption, self._drawn_from(m))} if self.applies(m) else {}

    def _drawn_from(self, m: Material) -> Callable[[], Drawing]:
        """What draws it. The frames are copies, so that no figure can change another."""
        wanted = {name: getattr(m, name) for name in signature(self.draw).parameters}
        return partial(self._draw, {name: one.copy() for name, one in wanted.items()})

    def _draw(self, frames: Mapping[str, Any]) -> Drawing:
        made = self.draw(**frames)
        made = getattr(made, "figure", made)  # of axes, or of a grid of seaborn's
        if not hasattr(made, "savefig"):
            raise UserError(f"it returned {type(made).__name__}; return the matplotlib figure")
        return made


@dataclass(frozen=True)
class Figures:
    """What makes one figure or several, or none, of all that is known of a sweep, with captions that follow from it."""

    name: str
    section: str
    drawings: Callable[[Material], Drawings]


@overload
def figure(function: Callable[..., Drawing], /) -> Callable[..., Drawing]: ...


@overload
def figure(
    caption: str = ...,
    *,
    name: str = ...,
    applies: Callable[[Material], bool] | None = ...,
    section: str = ...,
) -> Callable[[Callable[..., Drawing]], Callable[..., Drawing]]: ...


def figure(
    caption: str | Callable[..., Drawing] = "",
    *,
    name: str = "",
    applies: Callable[[Material], bool] | None = None,
    section: str = OTHERS,
) -> Any:
    """Register a function as a figure of every report: on the page, and as PNG, SVG and PDF in figures/.

    The function's parameters are any of settings, runs, curves, published (data frames, see `ablate.analysis`) and
    swept (the knobs that tell the settings apart); it returns a matplotlib figure. By default the caption is the
    first line of the docstring; `section` is the part of the page that shows it: results, curves, comparisons …
    Raises ConfigError for another parameter, and for a name that another figure has.
    """

    if not isinstance(caption, str):
        return figure()(caption)

    def register(function: Callable[..., Drawing]) -> Callable[..., Drawing]:
        check_function(function, "figure")
        own = name or function.__name__
        strange = [parameter for parameter in signature(function).parameters if parameter not in FRAMES]
        if strange:
            raise ConfigError(f"the figure {own} asks for {listing(strange)}; choose {listing(FRAMES)}")
        said = caption or (function.__doc__ or own).strip().split("\n")[0]
        limits: dict[str, Any] = {} if applies is None else {"applies": applies}
        FIGURES.add(Figure(own, said, function, section=section, **limits))
        return function

    return register
