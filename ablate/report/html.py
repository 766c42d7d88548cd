"""A page as one HTML file that needs nothing else: no network; figures, style and one script inside.

The page is whole without its script, which sorts tables and lets a reader leave out seeds; no other script can run,
since the page allows that one alone, by its hash.
"""

import base64
import re
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ablate.config.terminal import CONTROLS
from ablate.report.blocks import PNG_DPI, Badge, Figure, Page

TEMPLATES = Path(__file__).resolve().parent / "templates"
LARGEST_SVG = 100_000
"""Bytes; a larger figure goes in as PNG, so that a page of ten can still be sent by mail."""
COLOURS = 256
"""Of such a PNG: a figure has about ten, and the shades at the edges of its letters."""


def render(pages: Sequence[Page], title: str, foot: str) -> str:
    """The whole document: one page, or several sweeps one after the other below an overview."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
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
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    names = anchors(pages)
    return environment.get_template("report.html.j2").render(
        pages=list(zip(names, pages, strict=True)),
        title=title,
        style=style,
        script=Markup(script),
        script_hash=Markup(f"sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}"),
        foot=foot,
    )


def shown(value: Any) -> Any:
    """A text of which a page may hold every character: control characters, but for spaces and line ends, as typed."""
    if not isinstance(value, str) or not INVISIBLE.search(value):
        return value
    kind = type(value)  # escaped already, or not
    return kind(INVISIBLE.sub(lambda found: repr(found[0])[1:-1], value))


INVISIBLE = re.compile(CONTROLS.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


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
    if figure.image:
        return figure.image
    svg = figure.path(".svg")
    if svg.stat().st_size <= LARGEST_SVG:
        kind, content = "svg+xml", svg.read_bytes()
    else:
        kind, content = "png", with_palette(figure.path(".png"))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def with_palette(path: Path) -> bytes:
    """A PNG file of at most `COLOURS` colours: about a third of the bytes, and nothing that an eye could see."""
    from PIL import Image  # as matplotlib, which needs it: where figures are drawn

    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    content = BytesIO()
    reduced.save(content, "PNG")  # optimize=True takes five times as long for 4 % of the bytes
    return content.getvalue()


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
