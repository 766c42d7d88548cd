"""A sheet as a LaTeX table in the style of booktabs, to be read with \\input."""

import re

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
"""Rows that fit on a page; a longer table runs over several."""
LINE = {r"\small": 96, r"\footnotesize": 104, r"\scriptsize": 115}
"""Characters that fit beside each other into a line of 16 cm."""
SEPARATION = r"\setlength{\tabcolsep}{3.5pt}"
GAP = 1.9
"""The space that this leaves between two columns, in characters."""
LEAST_WRAPPED = 24
"""Characters: a column of long text is no narrower."""


def latex(sheet: Sheet, sweep: str) -> str:
    """A table environment with caption and label; a comment says what the document must load."""
    long = len(sheet.rows) > PAGE
    size, columns = _layout(sheet)
    wrapped = [column.startswith("p") for column in columns]
    heading = _row([escaped(column.heading) for column in sheet.columns])
    rows = [_styled(row, wrapped, number in sheet.foreign) for number, row in enumerate(sheet.rows)]
    notes = [escaped(note) for note in sheet.notes]
    if sheet.left_out:
        notes.append(escaped(f"{sheet.left_out:,} more rows are in {sheet.name}.csv."))
    caption = " ".join([f"{escaped(sheet.title)}, {escaped(sweep)}.", *notes])
    label = "tab:" + re.sub(r"[^A-Za-z0-9]+", "-", f"{sweep}-{sheet.name}").strip("-")
    body = [r"\toprule", heading, r"\midrule", *([r"\endhead"] if long else []), *rows, r"\bottomrule"]
    if long:
        lines = [
            f"{{{size}{SEPARATION}",
            rf"\begin{{longtable}}{{{''.join(columns)}}}",
            rf"\caption{{{caption}}}\label{{{label}}}\\",
            *body,
        ]
        lines.append(r"\end{longtable}}")
    else:
        lines = [r"\begin{table}", r"\centering", size, SEPARATION, rf"\caption{{{caption}}}", rf"\label{{{label}}}"]
        lines += [rf"\begin{{tabular}}{{{''.join(columns)}}}", *body, r"\end{tabular}", r"\end{table}"]
    text = "\n".join(lines) + "\n"
    return f"% needs {_packages(text, long)}\n{text}"


def escaped(text: str) -> str:
    """Text that means nothing but itself."""
    return "".join(ESCAPES.get(character, character) for character in re.sub(r"[\t\r\n]+", " ", text))


def _packages(text: str, long: bool) -> str:
    needs = [r"\usepackage{booktabs}"] + [r"\usepackage{longtable}"] * long
    if any(ord(character) > 0x24F for character in text):
        needs.append(
            "a font that has all of its letters: compile with xelatex or lualatex (\\usepackage{ctex} for Chinese)"
        )
    return ", ".join(needs)


def _layout(sheet: Sheet) -> tuple[str, list[str]]:
    """The largest type in which the table is no wider than the text, and its columns; long ones share what is left."""
    widths = [
        max(len(text) for text in texts)
        for texts in zip(*([c.heading for c in sheet.columns], *sheet.rows), strict=True)
    ]
    wraps = [column.long and width > LEAST_WRAPPED for column, width in zip(sheet.columns, widths, strict=True)]
    fixed = sum(width + GAP for width, wrap in zip(widths, wraps, strict=True) if not wrap)
    needed = fixed + sum(wraps) * (LEAST_WRAPPED + GAP)
    size, line = next(((size, line) for size, line in LINE.items() if needed <= line), list(LINE.items())[-1])
    share = max(LEAST_WRAPPED, (line - fixed) / max(1, sum(wraps)) - GAP) / line
    plain = ["r" if column.number else "l" for column in sheet.columns]
    wrapped = rf"p{{{share:.2f}\linewidth}}"
    return size, [wrapped if wrap else one for wrap, one in zip(wraps, plain, strict=True)]


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _styled(row: list[str], wrapped: list[bool], foreign: bool) -> str:
    """What somebody else measured in italics, wrapped text without stretched spaces."""
    cells = [escaped(cell) for cell in row]
    if foreign:
        cells = [rf"\emph{{{cell}}}" if cell else "" for cell in cells]
    return _row([rf"\raggedright {cell}" if wrap else cell for cell, wrap in zip(cells, wrapped, strict=True)])
