"""A sheet as a Markdown table (GitHub's dialect)."""

import re

from ablate.config.errors import counted
from ablate.config.terminal import one_line
from ablate.report.blocks import Sheet


def markdown(sheet: Sheet) -> str:
    """Title, table, notes; what somebody else measured is in italics."""
    lines = [f"### {escaped(sheet.title)}", ""]
    lines.append(_row([escaped(column.heading) for column in sheet.columns]))
    lines.append(_row(["---:" if column.number else ":---" for column in sheet.columns]))
    for number, row in enumerate(sheet.rows):
        cells = [escaped(cell) for cell in row]
        lines.append(_row([f"*{cell}*" if cell else "" for cell in cells] if number in sheet.foreign else cells))
    notes = [escaped(note) for note in sheet.notes]
    if sheet.left_out:
        notes.append(f"In {sheet.name}.csv: {counted(sheet.left_out, 'more row')}.")
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Text that means nothing but itself inside a table; a single _ within a word does so anyway."""
    text = one_line(" ".join(text.split()))
    text = re.sub(r"([\\`*\[\]|~$]|^[#+-](?=[\s#]))", r"\\\1", text)  # between two $ is mathematics
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
