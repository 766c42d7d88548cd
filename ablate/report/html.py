"""A page as one HTML file that needs nothing else: no network, no script, figures and style inside."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from ablate.report.blocks import Badge, Figure, Page

TEMPLATES = Path(__file__).resolve().parent / "templates"
PNG_DPI = 220
LARGEST_SVG = 300_000
"""Bytes; a larger figure goes in as PNG."""
MIME = {".svg": "image/svg+xml", ".png": "image/png"}


def render(pages: Sequence[Page], title: str, foot: str) -> str:
    """The whole document: one page, or several sweeps one after the other below an overview."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "embedded": embedded,
        "unbroken": unbroken,
        "inches": inches,
        "slug": slug,
        "breakable": breakable,
    }
    environment.globals["badge"] = Badge
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    names = anchors(pages)
    return environment.get_template("report.html.j2").render(
        pages=list(zip(names, pages, strict=True)), title=title, style=style, foot=foot
    )


def anchors(pages: Sequence[Page]) -> list[str]:
    """A prefix for the anchors of each page, each of its own."""
    if len(pages) == 1:
        return [""]
    return [f"{number}-{slug(page.name)}-" for number, page in enumerate(pages, 1)]


def slug(text: str) -> str:
    """Text as an anchor."""
    return re.sub(r"[^\w]+", "-", text).strip("-").lower() or "sweep"


def embedded(figure: Figure) -> str:
    """The figure as a data URI: as an image of its own its letters and styles cannot meet those of the page."""
    svg = figure.path(".svg")
    path = svg if svg.stat().st_size <= LARGEST_SVG else figure.path(".png")
    return f"data:{MIME[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def inches(figure: Figure) -> str:
    """The width at which a figure was drawn: the page enlarges all alike, so that their letters have one size."""
    with figure.path(".png").open("rb") as file:
        header = file.read(24)
    return f"{int.from_bytes(header[16:20], 'big') / PNG_DPI:.2f}"


def unbroken(text: str) -> str:
    """`n = 10`, `95 %` and `3.2 ± 0.1` stay on one line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\b[np]) (?==)|(?<=\b[np] =) | (?=±)|(?<=±) ", "\N{NO-BREAK SPACE}", text)


def breakable(text: str) -> Markup:
    """Places where a long name or command may break: after _, /, = and commas."""
    return Markup(re.sub(r"([_/=,])(?=\S)", r"\1<wbr>", str(Markup.escape(text))))
