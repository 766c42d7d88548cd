"""A sheet as a LaTeX table in the style of booktabs, to be read with \\input."""

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cache

from ablate.config.errors import counted
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
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    '"': "''",
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
PAGE = 45
"""Rows that fit on a page; a longer table goes on in further ones."""
TEXT_WIDTH, TEXT_HEIGHT = 455.0, 640.0
"""Points: a text block of 16 cm on A4, as the figures are made for; a table on its side has the height. In a narrower
document tables are scaled down."""
SIZES = {r"\small": (9, 1.028), r"\footnotesize": (8, 1.0625), r"\scriptsize": (7, 1.139)}
"""Size of type → its points, and how much wider Computer Modern's letters of that size are than those of 10 points."""
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
    rows_on_page = PAGE if environment == "table" else PAGE * 2 // 3
    starts = range(0, max(1, len(shown.rows)), rows_on_page)
    heading = _row([escaped(column.heading) for column in shown.columns])
    wrapped = [column.startswith("p") for column in layout.columns]
    parts = []
    for start in starts:
        rows = [
            _styled(row, wrapped, start + number in shown.foreign)
            for number, row in enumerate(shown.rows[start : start + rows_on_page])
        ]
        caption = _caption(sheet, title, same) if not start else f"{escaped(sheet.title)}, {escaped(title)}, continued."
        name = label(sweep or title, sheet.name) + (f":{start // rows_on_page + 1}" if start else "")
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
    return " ".join(escaped(text) for text in (f"{sheet.title}, {title}.", *notes))


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


def escaped(text: str) -> str:
    """Text that means nothing but itself."""
    return "".join(ESCAPES.get(character, character) for character in re.sub(r"[\t\r\n]+", " ", text))


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
    return _Layout(size, columns, fixed + sum(wraps) * share)


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
