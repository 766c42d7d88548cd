"""Markup and formulas in everything that a person, or a file, may name: none of it reaches a page, or a cell. CPU."""

import csv
import json
import random
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import strategies as st

from ablate.report import write_report
from ablate.report.html import TEMPLATES
from tests.fuzzing.conftest import Place, no_formula
from tests.fuzzing.exploring import examples, explore
from tests.fuzzing.hostile import FORMULAS, MARKUP, TEXTS
from tests.report.made import config, write_manifest, write_sweep, write_timing

pytestmark = pytest.mark.filterwarnings("ignore")

ELEMENTS = """
a article b blockquote body br caption code dd div dl dt figcaption figure h1 h2 h3 head header html img li main meta
nav ol p pre script section span strong style table tbody td th thead title tr ul wbr footer
"""
ATTRIBUTES = """
alt aria-hidden aria-label charset class content hidden href http-equiv id lang name role scope src style tabindex type
"""


PAGE_SCRIPT = (TEMPLATES / "page.js").read_text(encoding="utf-8")


class Checked(HTMLParser):
    """A page holds the elements and attributes of the template, no link but to itself, and no script but its own."""

    in_script = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS.split(), f"<{tag}>"
        self.in_script = tag == "script"
        self.holds_data = ("type", "application/json") in attributes
        for name, value in attributes:
            assert name in ATTRIBUTES.split(), f"<{tag} {name}>"
            if name == "href":
                assert (value or "").startswith("#")
            if name == "src":
                assert (value or "").startswith("data:image/")

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False

    def handle_data(self, data: str) -> None:
        if self.in_script and self.holds_data:
            json.loads(data)
        elif self.in_script:
            assert data == PAGE_SCRIPT


def check_products(sweep: Path) -> None:
    """The page has no markup but its own, the tables no formula."""
    page = (sweep / "report.html").read_text(encoding="utf-8")
    Checked().feed(page)
    for path in [*sweep.glob("*.csv"), *sweep.glob("tables/*.csv")]:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    no_formula(cell)
    for path in sweep.glob("tables/*.md"):
        assert "<" not in path.read_text(encoding="utf-8"), path


def hostile_sweep(sweep: Path, text: str, other: str) -> None:
    """Every text that a record, a manifest, a timing or a failure may have is one of these two."""
    settings = [config(model, num_hiddens=hidden) for model in ("rnn", "gru") for hidden in (32, 64)]
    for setting in settings:
        setting["model"]["cell"] = "gru"
        setting["model"]["mine"] = other
        setting["title"] = text
    write_sweep(sweep, settings, seeds=3, epochs=3, timed=False)
    for path in sorted((sweep / "runs").iterdir()):
        record = json.loads(path.read_text())
        record["corpus"] |= {"name": other, "unit": "word"}
        record["text"] = {text: f"{text} {other}", other: text}
        record["references"] = {text: other}
        record["config"]["model"]["name"] = {"gru": text}.get(record["config"]["model"]["name"], other)
        record["environment"] |= {"cpu": text, "gpu": other, "platform": text, "git_commit": other}
        record["engine"] = text
        record["divergence"] = None
        record["reused_from"] = other
        path.write_text(json.dumps(record))
    for setting in settings[:1]:
        write_timing(sweep, setting, 1000.0)
    for path in (sweep / "speed").iterdir():
        timing = json.loads(path.read_text())
        timing["machine_facts"] |= {"cpu": text, "gpu": other}
        path.write_text(json.dumps(timing))
    (sweep / "failures").mkdir()
    failure = {"setting_id": "0123456789ab", "error": text, "config": settings[-1], "traceback": other}
    (sweep / "failures" / "0123456789ab.json").write_text(json.dumps(failure))
    quoted = f"python -m ablate -m title='{text.replace(chr(39), '')}'"
    write_manifest(sweep, commands=[quoted], question=other, title=text, plugins={text: "0" * 64})


@examples(1, 60)
def test_pages(place: Place, count: int) -> None:
    """Tables and page of such a sweep, and its exports."""
    openpyxl = pytest.importorskip("openpyxl")
    some = st.sampled_from([*MARKUP, *FORMULAS, *TEXTS])

    def check(given: tuple[str, str]) -> None:
        text, other = given
        place.fresh()
        hostile_sweep(place.sweep, text, other)
        place.run("report", "results/made-up")
        check_products(place.sweep)
        place.run("export", "results/made-up", "--to", "csv")
        for path in place.sweep.glob("export-csv/*.csv"):
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.reader(file):
                    for cell in row:
                        no_formula(cell)
        place.run("export", "results/made-up", "--to", "xlsx")
        for sheet in openpyxl.load_workbook(place.sweep / "export.xlsx"):
            for cells in sheet.iter_rows():
                assert all(cell.data_type != "f" for cell in cells)

    explore(st.tuples(some, some), check, count)


@pytest.mark.slow
def test_pages_with_figures(tmp_path: Path) -> None:
    """The same with every figure drawn, of a few."""
    for number, text in enumerate((MARKUP[0], FORMULAS[0], "$\\frac{", "%s%n{0}", "\u202e", "a" * 500)):
        sweep = tmp_path / f"made-{number}"
        hostile_sweep(sweep, text, random.Random(number).choice(MARKUP))
        write_report(sweep)
        check_products(sweep)
