"""What is added to a report from outside of it: sections of tasks, figures of one's own. Loads neither torch nor
matplotlib.

A report has parts of its own (`ablate.report.page`). A task adds a `Section`, which says of which sweeps it speaks, and
what it then has: tables, figures, sentences for the answer in short. A person adds a figure by `ablate.figure`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from ablate.analysis.tasks import each_task
from ablate.config.errors import ConfigError, UserError, listing
from ablate.config.registry import FIGURES, resolved
from ablate.report.blocks import Sheet
from ablate.report.material import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Tables = Mapping[str, Callable[[], Sheet]]
"""Name of a table → what makes it."""
Drawings = Mapping[str, "tuple[str, Callable[[], Drawing]]"]
"""Name of a figure → its caption and what draws it."""


@dataclass(frozen=True)
class Section:
    """What a task adds to the report of a sweep that `applies` holds for.

    It has a part of the page of its own, below the results, or stands `within` another part, its figures and tables
    before what is there already. Its sentences join the answer in short; `instead_of_best` puts them in the place of
    those on the best settings.
    """

    name: str
    title: str
    applies: Callable[[Material], bool]
    tables: Callable[[Material], Tables] = lambda m: {}
    figures: Callable[[Material], Drawings] = lambda m: {}
    sentences: Callable[[Material], Iterable[str]] = lambda m: ()
    notes: Callable[[Material], Iterable[str]] = lambda m: ()
    """Sentences of the protocol, on what is not as somebody else had it."""
    order: tuple[str, ...] = ()
    """Tables and figures in the order of the page; what is not named follows, figures first."""
    within: str = ""
    instead_of_best: bool = False


def contributed(m: Material) -> list[Section]:
    """The sections of the tasks of this sweep that have something to say."""
    named = dict.fromkeys(section for task in each_task(m.settings) for section in task.sections)
    sections: list[Section] = [resolved(one) for one in named]
    return [section for section in sections if section.applies(m)]


FRAMES = ("settings", "runs", "curves", "published", "swept")
"""What a figure of one's own can be drawn from, by the names of its parameters."""


@dataclass(frozen=True)
class Figure:
    """A figure of a person's own, by its name: `draw` gets those of `FRAMES` that its parameters name."""

    name: str
    caption: str
    draw: Callable[..., Drawing]
    applies: Callable[[Material], bool] = lambda m: not m.runs.empty

    def drawn_from(self, m: Material) -> Callable[[], Drawing]:
        """What draws it. The frames are copies, so that no figure can change another."""
        wanted = {name: getattr(m, name) for name in signature(self.draw).parameters}
        return partial(self._draw, {name: one.copy() for name, one in wanted.items()})

    def _draw(self, frames: Mapping[str, Any]) -> Drawing:
        made = self.draw(**frames)
        made = getattr(made, "figure", made)  # of axes, or of a grid of seaborn's
        if not hasattr(made, "savefig"):
            raise UserError(f"it returned {type(made).__name__}; return the matplotlib figure")
        return made


def figure(
    caption: str = "", *, name: str = "", applies: Callable[[Material], bool] | None = None
) -> Callable[[Callable[..., Drawing]], Callable[..., Drawing]]:
    """A figure of every report, under the function's name: on the page, and as PNG, SVG and PDF in figures/.

    The function's parameters are any of settings, runs, curves, published (frames: `ablate.analysis`) and swept (the
    knobs that tell the settings apart); it returns a matplotlib figure. The caption is the first line of its docstring
    if not given. Raises ConfigError for another parameter.
    """

    def register(function: Callable[..., Drawing]) -> Callable[..., Drawing]:
        own = name or function.__name__
        strange = [parameter for parameter in signature(function).parameters if parameter not in FRAMES]
        if strange:
            raise ConfigError(f"the figure {own} asks for {listing(strange)}; choose {listing(FRAMES)}")
        said = caption or (function.__doc__ or own).strip().split("\n")[0]
        FIGURES.add(Figure(own, said, function, **({"applies": applies} if applies else {})))
        return function

    return register


def own_figures(m: Material) -> Drawings:
    """The figures of a person's own that can be drawn of this sweep."""
    return {one.name: (one.caption, one.drawn_from(m)) for one in FIGURES if one.applies(m)}
