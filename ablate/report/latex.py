"""A sheet as a LaTeX table in the style of booktabs, to be read with \\input."""

import re

from ablate.report.blocks import Column, Sheet

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


def latex(sheet: Sheet, sweep: str) -> str:
    """A table environment with caption and label; a comment says what the document must load."""
    long = len(sheet.rows) > PAGE
    columns = "".join(_column(column, sheet.columns) for column in sheet.columns)
    heading = _row([escaped(column.heading) for column in sheet.columns])
    rows = [_styled(row, number in sheet.foreign) for number, row in enumerate(sheet.rows)]
    notes = [escaped(note) for note in sheet.notes]
    if sheet.left_out:
        notes.append(escaped(f"{sheet.left_out:,} more rows are in {sheet.name}.csv."))
    caption = " ".join([f"{escaped(sheet.title)}, {escaped(sweep)}.", *notes])
    label = "tab:" + re.sub(r"[^A-Za-z0-9]+", "-", f"{sweep}-{sheet.name}").strip("-")
    body = [r"\toprule", heading, r"\midrule", *([r"\endhead"] if long else []), *rows, r"\bottomrule"]
    if long:
        lines = [rf"\begin{{longtable}}{{{columns}}}", rf"\caption{{{caption}}}\label{{{label}}}\\", *body]
        lines.append(r"\end{longtable}")
    else:
        lines = [r"\begin{table}", r"\centering", r"\small", rf"\caption{{{caption}}}", rf"\label{{{label}}}"]
        lines += [rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}", r"\end{table}"]
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


def _column(column: Column, columns: list[Column]) -> str:
    wrapped = sum(other.long for other in columns)
    return f"p{{{0.5 / wrapped:.2g}\\linewidth}}" if column.long else "r" if column.number else "l"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _styled(row: list[str], foreign: bool) -> str:
    cells = [escaped(cell) for cell in row]
    return _row([rf"\emph{{{cell}}}" if cell else "" for cell in cells] if foreign else cells)
