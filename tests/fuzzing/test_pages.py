"""Markup and formulas in everything that a person, or a file, may name: none of it reaches a page, or a cell. CPU."""

import csv
import json
import random
from hashlib import sha256
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st

from ablate.config.terminal import CONTROLS
from ablate.records.csv_text import csv_text
from ablate.records.files import write_text
from ablate.report import write_report
from ablate.report.html import TEMPLATES
from tests.fuzzing.conftest import Place, no_formula
from tests.fuzzing.exploring import examples, explore
from tests.fuzzing.hostile import FORMULAS, MARKUP, TEXTS
from tests.report.made import config, write_manifest, write_sweep, write_timing
from tests.report.made_search import made_up, write_search

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


def check_page(path: Path) -> None:
    page = path.read_bytes().decode()
    assert not CONTROLS.search(page.replace("\n", "").replace("\t", ""))
    Checked().feed(page)


def check_products(sweep: Path) -> None:
    """The page has no markup but its own, the tables no formula."""
    check_page(sweep / "report.html")
    for path in [*sweep.glob("*.csv"), *sweep.glob("tables/*.csv")]:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    no_formula(cell)
    for path in sweep.glob("tables/*.md"):
        text = path.read_bytes().decode()
        assert "<" not in text, path
        assert not CONTROLS.search(text.replace("\n", "")), path
    for path in sweep.glob("tables/*.tex"):
        assert not CONTROLS.search(path.read_bytes().decode().replace("\n", "")), path


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


def hostile_search(folder: Path, text: str, other: str) -> None:
    """Every text that the table and the summary of a search may have is one of these two."""
    trials = made_up(12)
    trials["reason"], trials["worker"], trials["again"] = text, other, text
    trials.loc[3, "state"], trials.loc[4, "clip"] = text or "odd", other
    write_search(folder, trials)
    facts = json.loads((folder / "search.json").read_text())
    for one in (*facts["finalists"], facts["baseline"], facts["winner"]):
        one |= {"overrides": [f"lr={text}", other], "values": {text: other}, "failure": other}
    facts |= {"study": text, "notes": [text, other]}
    facts["space"]["clip"]["choices"] = [text, other, None, 1]
    (folder / "search.json").write_text(json.dumps(facts))
    write_text(folder / "trials.csv", csv_text(trials))


def hostile_beside(here: Path, sweep: Path, text: str, other: str) -> None:
    """And what a person writes beside it: published values, exclusions, a preset's name, claims, code of their own."""
    with (sweep / "published.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["num_hiddens", "perplexity", "source", "note"], ["32", "9.5", text, other]])
    ids = sorted(path.stem for path in (sweep / "runs").iterdir())
    given = {"runs": ids[:1], "given": [text], "because": other, "at": "2026-01-01T00:00:00+00:00"}
    (sweep / "excluded.json").write_text(json.dumps({"excluded": [given]}))
    claims = here / "sweeps" / "claims"
    claims.mkdir(parents=True)
    claim = {"id": "mine", "statement": f"{text} {other}.", "order": {"along": "num_hiddens", "ascending": [64, 32]}}
    (claims / "mine.yaml").write_text(yaml.safe_dump([claim | {"elsewhere": True}], allow_unicode=True))
    code = (
        "import ablate\n"
        f"@ablate.metric({text!r}, better='lower', shown=True)\n"
        "def mine(record): return float(len(record['run_id']))\n"
        f"@ablate.figure({other!r})\n"
        f"def drawn(settings): raise ValueError({text!r})\n"
    )
    (here / "own.py").write_text(code, encoding="utf-8")
    plugins = {"own.py": sha256((here / "own.py").read_bytes()).hexdigest()}
    write_manifest(sweep, question=other, title=text, preset=other, plugins=plugins)


@examples(1, 60)
def test_pages_of_what_a_person_writes(place: Place, count: int) -> None:
    """The same with texts of a person's own; and one page about a sweep and a search."""
    some = st.sampled_from([*MARKUP, *FORMULAS, *TEXTS]).map(lambda text: text.encode("utf-8", "replace").decode())

    def check(given: tuple[str, str]) -> None:
        text, other = given
        here = place.fresh()
        hostile_sweep(place.sweep, text, other)
        hostile_beside(here, place.sweep, text, other)
        search = place.sweep.with_name("search")
        hostile_search(search, text, other)
        place.run("report", "results/made-up", "results/search", "--out", "results/both", f"--title={_typed(text)}")
        for folder in (place.sweep, search):
            check_products(folder)
        check_page(here / "results" / "both" / "report.html")

    place.own_code = True
    explore(st.tuples(some, some), check, count)


def _typed(text: str) -> str:
    """A text as a shell can hand it over."""
    return text.replace("\0", "")


FILE_NAMES = st.one_of(
    st.sampled_from(
        [*TEXTS, "a\nb", "a\x1b[2Jb", "a\rb", "\u202ea", "a\x85b", "\x9b31m", "a\u2028b", "é" * 127, "--out", "-"]
    ),
    st.text(max_size=8),
).filter(
    lambda name: (
        not {"/", "\0"} & {*name}
        and name not in ("", ".", "..")
        and "\ud800" not in name
        and len(name.encode("utf-8", "replace")) < 256
    )
)


@examples(2, 60)
def test_names_of_folders(place: Place, count: int) -> None:
    """A sweep's folder may have any name that a file may: each command tells it in one line."""
    commands = [("report",), ("status",), ("claims",), ("exclude", "--list"), ("compact",), ("export", "--to=csv")]

    def check(given: tuple[str, tuple[str, ...]]) -> None:
        name, (command, *more) = given
        place.fresh()
        sweep = place.sweep.with_name(name.encode("utf-8", "replace").decode())
        write_sweep(sweep, [config(model) for model in ("rnn", "gru")], seeds=2, epochs=3)
        told = place.run(command, f"results/{sweep.name}", *more)
        assert not CONTROLS.search(told.out.replace("\n", "")), told.out
        if command == "report":
            assert told.status == 0, told.err
            check_products(sweep)

    explore(st.tuples(FILE_NAMES, st.sampled_from(commands)), check, count)


@examples(1, 60)
def test_pages(place: Place, count: int) -> None:
    """Tables and page of such a sweep, and its exports."""
    openpyxl = None if find_spec("openpyxl") is None else import_module("openpyxl")
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
        if openpyxl is None:
            return
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
