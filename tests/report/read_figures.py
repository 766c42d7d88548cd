"""What a figure shows, read back from it, and whether all of it can be read."""

import functools
import itertools
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from sweeps_for_plots import SHAPES, published_of, settings_of

from ablate.analysis.frames import swept_knobs
from ablate.report import plots
from ablate.report.plots.style import styled

TIMED = {"models_by_sizes", "gates", "all_diverged"}
PUBLISHED = {"models_by_sizes", "gates", "layers"}


@functools.cache
def drawn(name: str, title: str = "Does a wider network still gain?") -> Figure:
    """The by_value figure of a shape."""
    runs = SHAPES[name]
    settings = settings_of(runs, name in TIMED)
    return plots.by_value(
        runs, settings, swept_knobs(runs), published_of(settings) if name in PUBLISHED else None, title
    )


TAIL = "tail perplexity"
LAST_EPOCH = "training perplexity\n(last epoch)"


def panel(figure: Figure, label: str) -> Axes:
    """The panel whose x or y axis has this label."""
    (found,) = [axes for axes in figure.axes if label in (axes.get_xlabel(), axes.get_ylabel())]
    return found


def said(figure: Figure) -> list[str]:
    """Every visible text."""
    return [text.get_text() for text in texts(figure)]


def texts(figure: Figure) -> Iterator[Text]:
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip():
            yield text


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def tick_labels(axes: Axes, which: str) -> list[str]:
    axis = axes.xaxis if which == "x" else axes.yaxis
    return [label.get_text() for label in axis.get_ticklabels()]


def points(axes: Axes, marker: str, hollow: bool = False) -> list[Line2D]:
    """The lines with a marker, filled or hollow."""
    found = [line for line in axes.lines if line.get_marker() == marker]
    return [line for line in found if same_color(line.get_markerfacecolor(), "white") == hollow]


def look(line: Line2D) -> tuple[str, str]:
    return str(line.get_marker()), to_hex(line.get_color())


def crosses(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_marker() == "x"]


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every visible text with its box in pixels, a pixel smaller on each side."""
    with styled(*said(figure)):
        figure.draw_without_rendering()
        return [(text.get_text(), text.get_window_extent().padded(-1)) for text in texts(figure)]


def assert_legible(figure: Figure) -> None:
    """No text overlaps another or leaves the figure, none is smaller than 7 points, no tick is a power of ten."""
    found = boxes(figure)
    outside = [text for text, box in found if not (figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1))]
    outside += [text for text, box in found if not (figure.bbox.containsy(box.y0) and figure.bbox.containsy(box.y1))]
    assert not outside
    overlapping = [(a, b) for (a, one), (b, other) in itertools.combinations(found, 2) if one.overlaps(other)]
    assert not overlapping
    assert min(text.get_fontsize() for text in texts(figure)) >= 7
    assert not [text for text in said(figure) if "10^" in text or "e+0" in text]
    assert figure.get_size_inches()[0] <= 7.2
