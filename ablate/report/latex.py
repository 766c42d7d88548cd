"""A sheet as a LaTeX table in the style of booktabs, to be read with \\input."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from ablate.config.errors import counted
from ablate.config.terminal import CONTROLS
from ablate.report.blocks import Sheet

ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "[": "{[}",  # at the start of a row it would be an option of the \\ before it
    "*": "{*}",  # and this a part of it
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
    "`": r"\textasciigrave{}",
    "\N{WORD JOINER}": "{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "·": r"$\cdot$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≡": r"$\equiv$",
    "≠": r"$\neq$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "’": "'",
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{THIN SPACE}": r"\,",
}
ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING BREVE}": "u",
    "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING DOT BELOW}": "d",
    "\N{COMBINING CEDILLA}": "c",
}
"""An accent that has no character together with its letter → its command: that of the candidate, H̃."""
PAGE = 45
"""Rows of one line that a page has at most; a longer table goes on in further ones."""
RULES = 50.0
"""Points: what rules, heading and the space around a table take of a page's height."""
CAPTION_LINE = 12.0
"""Points from one line of a caption to the next."""
UNBROKEN, PIECE = 30, 10
"""Letters of the longest word in a caption that is not broken, and of the pieces of a longer one."""
TEXT_WIDTH, TEXT_HEIGHT = 455.0, 640.0
"""Points: a text block of 16 cm on A4, as the figures are made for; a table on its side has the height. In a narrower
document tables are scaled down."""
SIZES = {r"\small": (9, 1.028), r"\footnotesize": (8, 1.0625), r"\scriptsize": (7, 1.139)}
"""Size of type → its points, and how much wider Computer Modern's letters of that size are than those of 10 points."""
LINE = {r"\small": 11.0, r"\footnotesize": 9.5, r"\scriptsize": 8.0}
"""Size of type → points from one line to the next."""
SEPARATION = r"\setlength{\tabcolsep}{3.5pt}"
GAP = 7.0
"""Points between two columns."""
LEAST_WRAPPED = 90.0
"""Points: a column of long text is no narrower."""
WIDTHS = {
    0.28: "ijl.,:;'|!",
    0.39: "ft()[]rs-/ \N{NO-BREAK SPACE}",
    0.56: "bdhknpquxy",
    0.78: "mwMWABCDGHKNOQRUVXYÖÜÄ±×÷≤≥−→∞<>=+%&",
}
"""Em of Computer Modern → the characters that are no wider."""
OTHER = 0.5
WIDE = 1.0
"""Of digits and other Latin letters; of everything else."""


def latex(sheet: Sheet, title: str, sweep: str = "") -> str:
    """A table environment with caption and label; a comment says what the document must load.

    `title`: the sweep's, for the caption; `sweep`: its folder, which makes the label that of no other sweep. The table
    is as wide as the text at most: where it would be wider its type becomes smaller, then columns that are the same in
    all rows move into the caption, then it is set on its side; in a narrower document it is scaled down.
    """
    shown, same = sheet, ""
    layout = _layout(shown, TEXT_WIDTH)
    if layout.width > TEXT_WIDTH and len(sheet.rows) > 1:
        shown, same = _without_constant_columns(sheet)
        layout = _layout(shown, TEXT_WIDTH)
    environment = "table"
    if layout.width > TEXT_WIDTH:
        layout, environment = _layout(shown, TEXT_HEIGHT), "sidewaystable"
    caption = _caption(sheet, title, same)
    width, height = (TEXT_WIDTH, TEXT_HEIGHT) if environment == "table" else (TEXT_HEIGHT, TEXT_WIDTH)
    ends = _ends(shown.rows, layout, height - RULES - _lines(caption, width) * CAPTION_LINE)
    heading = _row([escaped(column.heading) for column in shown.columns])
    wrapped = [column.startswith("p") for column in layout.columns]
    parts = []
    for page, (start, end) in enumerate(pairwise([0, *ends])):
        rows = [
            _styled(row, wrapped, start + number in shown.foreign) for number, row in enumerate(shown.rows[start:end])
        ]
        if page:
            caption = breakable(f"{sheet.title}, {title}, continued.")
        name = label(sweep or title, sheet.name) + (f":{page + 1}" if page else "")
        lines = [rf"\begin{{{environment}}}", r"\centering", rf"\caption{{{caption}}}", rf"\label{{{name}}}"]
        lines += [layout.size + SEPARATION, r"\begin{adjustbox}{max width=\linewidth}"]
        lines += [rf"\begin{{tabular}}{{{''.join(layout.columns)}}}", r"\toprule", heading, r"\midrule", *rows]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{adjustbox}", rf"\end{{{environment}}}"]
        parts.append("\n".join(lines) + "\n")
    text = "\n".join(parts)
    return f"% needs {_packages(text, environment)}\n{text}"


def label(sweep: str, table: str) -> str:
    """`tab:gates:cells`; of a name with other characters than a label may have, with a hash, so that none are alike."""
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", sweep).strip("-")
    if plain != sweep:
        plain = f"{plain}-{hashlib.sha256(sweep.encode('utf-8', 'replace')).hexdigest()[:6]}".lstrip("-")
    return f"tab:{plain}:{table}"


def _caption(sheet: Sheet, title: str, same: str) -> str:
    """What the table is, what all of its rows share, and its notes."""
    notes = [*[same] * bool(same), *sheet.notes]
    if sheet.left_out:
        notes.append(f"In {sheet.name}.csv: {counted(sheet.left_out, 'more row')}.")
    return " ".join(breakable(text) for text in (f"{sheet.title}, {title}.", *notes))


def breakable(text: str) -> str:
    """Text that means nothing but itself, of which a line may end within a word that would fill it."""
    return "".join(
        r"\allowbreak{}".join(map(escaped, re.findall(rf".{{1,{PIECE}}}", word)))
        if len(word) > UNBROKEN
        else escaped(word)
        for word in re.split(r"(\s+)", text)
    )


def _lines(text: str, width: float, size: str = "") -> int:
    """How many lines of `width` points a text takes that breaks at its spaces."""
    points, wider = SIZES.get(size, (10, 1.0))
    lines, used = 1, 0.0
    for word in text.split(" "):
        own = text_points(word, points, wider)
        if used and used + own > width:
            lines, used = lines + 1, 0.0
        lines += int(own / width)
        used += min(own, width) + text_points(" ", points, wider)
    return lines


def _without_constant_columns(sheet: Sheet) -> tuple[Sheet, str]:
    """The sheet without columns, but the first, that say the same in every row; and a sentence that says it."""
    constant = [
        place
        for place in range(1, len(sheet.columns))
        if len({row[place] for row in sheet.rows}) == 1
        and not (sheet.columns[place].long and sheet.rows[0][place] != "–")
    ]
    said = [
        f"{sheet.columns[place].heading} {sheet.rows[0][place]}"
        for place in constant
        if sheet.rows[0][place] not in ("–", "")
    ]
    kept = [place for place in range(len(sheet.columns)) if place not in constant]
    columns = [sheet.columns[place] for place in kept]
    rows = [[row[place] for place in kept] for row in sheet.rows]
    same = f"In all rows: {', '.join(said)}." if said else ""
    return replace(sheet, columns=columns, rows=rows), same


def text_points(text: str, size: float = 10.0, wider: float = 1.0) -> float:
    """How wide a text is in Computer Modern, in points."""
    return sum(map(_em, text)) * size * wider


@cache
def _em(character: str) -> float:
    for width, characters in WIDTHS.items():
        if character in characters:
            return width
    return (
        (OTHER if character.islower() or character.isdigit() or not character.isalpha() else 0.75)
        if character < "\u0250"
        else WIDE
    )


@dataclass(frozen=True)
class _Layout:
    """Type and columns of a table, and how wide it then is, in points."""

    size: str
    columns: list[str]
    width: float
    wraps: list[bool]
    """Of each column, whether its text is wrapped, in `share` points."""
    share: float


def _ends(rows: Sequence[Sequence[str]], layout: _Layout, height: float) -> list[int]:
    """The row after the last one of each page: as many lines as are `height` points high, and no more than `PAGE`."""
    room = max(1, min(PAGE, int(height / LINE[layout.size])))
    ends, used = [], 0
    for number, row in enumerate(rows):
        lines = max(
            (_lines(cell, layout.share, layout.size) for cell, wraps in zip(row, layout.wraps, strict=True) if wraps),
            default=1,
        )
        if used and used + lines > room:
            ends.append(number)
            used = 0
        used += lines
    return [*ends, len(rows)]


def escaped(text: str) -> str:
    """Text that means nothing but itself; an accent is one with its letter, as LaTeX has them.

    Control characters, of which a form feed ends a paragraph and others no document may hold, are spaces.
    """
    plain = unicodedata.normalize("NFC", re.sub(rf"({CONTROLS.pattern})+", " ", text))
    plain = re.sub(r"(?<![\w-])-(?=\.?\d)", "\N{MINUS SIGN}", plain)  # of a number; a hyphen is shorter
    plain = re.sub("-(?=-)", "-\N{WORD JOINER}", plain)  # two would be a dash
    return "".join(
        rf"\{ACCENTS[one[1]]}{{{ESCAPES.get(one[0], one[0])}}}" if one[1:] in ACCENTS else ESCAPES.get(one[0], one[0])
        for one in re.findall(rf".[{''.join(ACCENTS)}]?", plain)
    )


def _packages(text: str, environment: str) -> str:
    needs = [r"\usepackage{booktabs}", r"\usepackage{adjustbox}"]
    needs += [r"\usepackage{rotating}"] * (environment == "sidewaystable")
    if any(ord(character) > 0x24F for character in text):
        needs.append(
            "a font that has all of its letters: compile with xelatex or lualatex (\\usepackage{ctex} for Chinese)"
        )
    return ", ".join(needs)


def _layout(sheet: Sheet, line: float) -> _Layout:
    """The largest type in which the table is no wider than `line` points, else the smallest; long columns share it."""
    size = ""
    for size, (points, wider) in SIZES.items():  # noqa: B007
        widths = [
            max(text_points(text, points, wider) for text in texts)
            for texts in zip(*([c.heading for c in sheet.columns], *sheet.rows), strict=True)
        ]
        wraps = [column.long and width > LEAST_WRAPPED for column, width in zip(sheet.columns, widths, strict=True)]
        fixed = sum(width for width, wrap in zip(widths, wraps, strict=True) if not wrap) + GAP * len(widths)
        if fixed + sum(wraps) * LEAST_WRAPPED <= line:
            break
    share = max(LEAST_WRAPPED, (line - fixed) / max(1, sum(wraps)) - 0.01 * line)
    plain = ["r" if column.number else "l" for column in sheet.columns]
    wrapped = rf"p{{{share / line:.2f}\linewidth}}"
    columns = [wrapped if wrap else one for wrap, one in zip(wraps, plain, strict=True)]
    return _Layout(size, columns, fixed + sum(wraps) * share, wraps, share)


BREAKS = re.compile(r"(?<=[/=_])(?=\w)|(?<=,)(?=[^\W\d])")
"""Where a line of wrapped text may end within what has no spaces: `context=as-published/constant`."""


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _styled(row: list[str], wrapped: list[bool], foreign: bool) -> str:
    """What somebody else measured in italics, wrapped text without stretched spaces."""
    cells = [
        BREAKS.sub(r"\\allowbreak ", escaped(cell)) if wrap else escaped(cell)
        for cell, wrap in zip(row, wrapped, strict=True)
    ]
    if foreign:
        cells = [rf"\emph{{{cell}}}" if cell else "" for cell in cells]
    return _row([rf"\raggedright {cell}" if wrap else cell for cell, wrap in zip(cells, wrapped, strict=True)])
