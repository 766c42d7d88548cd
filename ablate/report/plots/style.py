"""The look of all figures: their printed size and type, what stands around the panels, how they are written.

Figures are drawn at the size at which they are printed, so that 8 points here are 8 points on paper, and without
pyplot, so that none has to be closed.
"""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from ablate.records.files import replacing
from ablate.report.blocks import PNG_DPI
from ablate.report.plots.fonts import families, is_wide, wrapped

WIDTH = 6.3
"""Inches: the 16 cm of a text block on A4."""
WIDE = 7.2
"""Inches: the width of three panels; printed 16 cm wide their type is still 7 points."""
HEIGHT = 2.05
"""Inches: the height of a panel with its ticks and labels."""
EDGE = 0.05
GAP = 0.08
INK, FAINT = "0.15", "0.4"
SMALL = 7.0
"""Points: the smallest type of any figure."""

CANVASES: tuple[Any, ...] = (FigureCanvasAgg, FigureCanvasSVG, FigureCanvasPdf)

RC: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "white",
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.2,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "savefig.transparent": False,
    "text.parse_math": False,  # a title may hold a dollar sign
    "text.usetex": False,
    "text.hinting": "none",  # widths in proportion, at any resolution
    "svg.fonttype": "path",
    "svg.hashsalt": "ablate",
    "pdf.fonttype": 42,
}


class Panels(Figure):
    """A figure that a notebook can show whether or not pyplot, which tells notebooks how, has been imported."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        canvas: Any = FigureCanvasAgg(self)
        canvas.print_png(file, metadata={"Software": None})
        return file.getvalue()


@contextmanager
def styled(*texts: str) -> Iterator[None]:
    """matplotlib as all figures need it; `texts` decide whether a Chinese font joins in.

    A glyph that no font has becomes a box, without a warning: `missing_glyphs` says so once, in plain words.
    """
    with warnings.catch_warnings(), mpl.rc_context():
        mpl.rcdefaults()
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        look: Any = {**RC, "font.family": families(*texts)}
        mpl.rcParams.update(look)
        yield


def panels(
    rows: int, columns: int, height: float = HEIGHT, width: float | None = None, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of rows × columns panels, each `height` inches high with its labels, and its panels row by row."""
    width = width or {1: 4.4, 2: WIDTH}.get(columns, WIDE)
    figure = Panels(figsize=(width, height * rows), dpi=PNG_DPI, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def finish(figure: Figure, title: str = "", note: str = "", handles: Sequence[Artist] = ()) -> Figure:
    """Title and legend above the panels, small print below; the figure grows by their heights, the panels stay."""
    width, height = figure.get_size_inches()
    inside = width - 2 * EDGE
    above, below = EDGE, EDGE
    head: list[tuple[Text | Legend, float]] = []  # with their distances from the top, in inches
    if title:
        weight = "normal" if is_wide(title) else "bold"  # many Chinese fonts have but one weight
        text = figure.text(0, 0, wrapped(title, inside, 10), size=9, weight=weight, va="top", ha="left")
        head.append((text, above))
        above += _height(text) + GAP
    if handles:
        head.append((_legend(figure, handles, inside), above))
        above += _height(head[-1][0]) + GAP
    foot = None
    if note:
        foot = figure.text(0, 0, wrapped(note, inside, SMALL), size=SMALL, color=FAINT, va="bottom", ha="left")
        below += _height(foot) + GAP
    total = height + above + below
    figure.set_size_inches(width, total)
    for artist, distance in head:
        where = (EDGE / width, 1 - distance / total)
        if isinstance(artist, Text):
            artist.set_position(where)
        else:
            artist.set_bbox_to_anchor(where)
    if foot is not None:
        foot.set_position((EDGE / width, EDGE / total))
    inner = (EDGE / width, below / total, inside / width, height / total)
    figure.set_layout_engine("constrained", rect=inner, w_pad=0.03, h_pad=0.03, wspace=0.05, hspace=0.03)
    return figure


def _legend(figure: Figure, handles: Sequence[Artist], width: float) -> Legend:
    """A legend of as many columns as fit into `width` inches."""
    look: dict[str, Any] = {
        "loc": "upper left",
        "frameon": False,
        "borderaxespad": 0,
        "borderpad": 0,
        "columnspacing": 1.4,
        "handlelength": 2.2,
        "handletextpad": 0.5,
        "labelspacing": 0.3,
    }
    columns = len(handles)
    legend = figure.legend(handles=list(handles), ncols=columns, **look)
    while columns > 1 and legend.get_window_extent().width / figure.dpi > width:
        legend.remove()
        rows = math.ceil(len(handles) / columns) + 1
        columns = min(columns - 1, math.ceil(len(handles) / rows))  # at least one row more, evenly filled
        legend = figure.legend(handles=list(handles), ncols=columns, **look)
    return legend


def _height(artist: Text | Legend) -> float:
    figure = artist.get_figure(root=True)
    assert figure is not None
    return float(artist.get_window_extent().height / figure.dpi)


def _settle(figure: Figure) -> None:
    """Panels where they were laid out, but for the last digits, which follow from where in memory the solver has its
    variables: an SVG names its clip paths by all digits."""
    for panel in figure.axes:
        left, bottom, width, height = (round(float(part), 9) for part in panel.get_position(original=True).bounds)
        panel.set_position((left, bottom, width, height))


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the figure as PNG, SVG and PDF, equal figures as equal bytes, and empty it; returns the paths."""
    png, svg, pdf = (folder / f"{name}.{ending}" for ending in ("png", "svg", "pdf"))
    with styled(*(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))):
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine("none")  # laid out once, for all three files
        _settle(figure)
        # Figure.savefig would draw each of them twice.
        agg, vector, portable = (canvas(figure) for canvas in CANVASES)
        with replacing(png) as file:
            agg.print_png(file, metadata={"Software": None})
        with replacing(svg) as file:
            vector.print_svg(file, metadata={"Date": None, "Creator": None})
        with replacing(pdf) as file:
            portable.print_pdf(file, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.clear()
    return [png, svg, pdf]
