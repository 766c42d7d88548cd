"""The figures of a report as files: PNG, SVG and PDF of each that makes sense for the sweep."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.config.errors import UserError, own_line
from ablate.records.files import write_atomically
from ablate.report.answer import main_figure
from ablate.report.blocks import Figure, described
from ablate.report.contents import wanted
from ablate.report.drawing import at_once
from ablate.report.html import embedded
from ablate.report.material import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@contextmanager
def drawing(m: Material, to: Path) -> Iterator[Callable[[], dict[str, Figure]]]:
    """Begin to write every figure that makes sense as PNG, SVG and PDF into `to`/figures.

    Yields what waits for them, writes the main one as figure.png, and returns those that could be drawn.
    """
    from ablate.report.plots import missing_glyphs

    if lacking := missing_glyphs(m.heading, *named_in_figures(m)):
        m.attempt.note(lacking)
    folder, what = to / "figures", wanted(m)
    with at_once({name: partial(_figure, *one, folder, name) for name, one in what.items()}) as jobs:

        def drawn() -> dict[str, Figure]:
            done = {name: m.attempt(f"the figure {name}", job) for name, job in jobs.items()}
            figures = {name: figure for name, figure in done.items() if figure}
            if main := main_figure(m, figures):
                write_atomically(to / "figure.png", figures[main].path(".png").read_bytes())
            return figures

        yield drawn


def named_in_figures(m: Material) -> list[str]:
    """The names that a user may have given, and that stand in figures: of settings, changes and claims."""
    knobs = (
        m.settings[[knob for knob in m.swept if m.settings[knob].dtype == object]]
        if m.swept
        else m.settings.iloc[:, :0]
    )
    values = [str(value) for knob in knobs for value in knobs[knob].unique()]
    changes = [] if m.path is None else [str(change) for change in m.path["change"]]
    return [*values, *changes, *(verdict.statement for verdict in m.verdicts)]


def _figure(caption: str, make: "Callable[[], Drawing]", folder: Path, name: str) -> Figure:
    from ablate.report.plots import save

    try:
        drawing = make()
    except Exception as error:  # of which only the text comes back from another process
        if own_line(error) and not isinstance(error, UserError):
            raise UserError(described(error)) from error
        raise
    figure = Figure(name, caption, save(drawing, folder, name))
    figure.image = embedded(figure)
    return figure
