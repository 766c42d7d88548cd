"""Any text in a cell of a table: CSV without a formula, Markdown without markup, LaTeX without a command. CPU."""

import csv
import io
import re
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import strategies as st

from ablate.records.csv_text import csv_text, of_text
from ablate.report.blocks import Column, Sheet
from ablate.report.html import breakable
from ablate.report.latex import ACCENTS, ESCAPES, label, latex
from ablate.report.markdown import markdown
from tests.fuzzing.conftest import no_formula
from tests.fuzzing.exploring import examples, explore
from tests.fuzzing.hostile import FORMULAS, texts

pytestmark = pytest.mark.filterwarnings("ignore")

CELLS = st.one_of(texts(), st.tuples(st.sampled_from(FORMULAS), texts()).map("".join), st.text("\\{}$&#^_%~[]|*`<>\n "))
OURS = re.compile(r"\\([A-Za-z]+|[^A-Za-z])")
SETTING = """
begin end centering caption label small footnotesize scriptsize setlength tabcolsep linewidth toprule midrule bottomrule
emph raggedright allowbreak usepackage
"""
COMMANDS = {
    *SETTING.split(),
    *ACCENTS.values(),
    *(name for text in ESCAPES.values() for name in OURS.findall(text)),
    "\\",
}
"""The commands of a table of ours."""


@examples(30, 3000)
def test_cells(count: int) -> None:
    def check(given: tuple[Sequence[str], Sequence[str]]) -> None:
        cells, more = given
        rows = [list(cells), list(more)]
        _check_csv(rows)
        columns = [Column(text, long=place == 0) for place, text in enumerate(cells)]
        sheet = Sheet("table", cells[0], columns, rows, pd.DataFrame(), notes=list(more))
        _check_markdown(markdown(sheet), len(cells))
        _check_latex(latex(sheet, more[0], cells[0]))
        for text in (*cells, *more):
            assert re.fullmatch(r"(<wbr>|[^<>])*", str(breakable(text)))

    pair = st.integers(1, 3).flatmap(lambda n: st.tuples(*[st.lists(CELLS, min_size=n, max_size=n)] * 2))
    explore(pair, check, count)


def _check_csv(rows: Sequence[Sequence[str]]) -> None:
    """Cells are what they were, but for an apostrophe before a formula, and `\\r`, which would begin a row."""
    frame = pd.DataFrame([[*row, 1.5] for row in rows], columns=[f"c{place}" for place in range(len(rows[0]) + 1)])
    read = list(csv.reader(io.StringIO(csv_text(frame), newline="")))[1:]
    assert len(read) == len(rows)
    for row, cells in zip(read, rows, strict=True):
        for stored, cell in zip(row, cells, strict=False):
            no_formula(stored)
            assert of_text(stored) == cell.replace("\r\n", "\n").replace("\r", "\n") or stored == cell


def _check_markdown(text: str, columns: int) -> None:
    assert "<" not in text
    table = [line for line in text.split("\n") if line.startswith("| ")]
    assert len(table) == 4, text
    for line in table:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == columns + 1, line


def _check_latex(text: str) -> None:
    """No command but ours; braces in pairs; no character that means something stands by itself."""
    body = text.partition("\n")[2]
    for name in OURS.findall(body):
        assert name in COMMANDS, name
    plain = OURS.sub("", body)
    depth = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert not set("#%") & set(plain)
    assert not [one for one in plain if ord(one) < 32 and one != "\n"]


@examples(10, 1000)
def test_labels(count: int) -> None:
    """A label is a word, and no two sweeps have one."""
    seen: dict[str, str] = {}

    def check(given: str) -> None:
        made = label(given, "table")
        assert re.fullmatch(r"tab:[A-Za-z0-9_.+-]*:table", made)
        assert seen.setdefault(made, given) == given

    explore(texts(), check, count)
