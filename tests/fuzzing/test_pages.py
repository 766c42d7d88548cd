"""Markup and formulas in everything that a person, or a file, may name: none of it reaches a page, or a cell. CPU."""

import csv
import json
import random
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle
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
from tests.fuzzing.hostile import FORMULAS, MARKUP, TEXTS, texts
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
    ours = {*sweep.glob("*.csv"), *sweep.glob("tables/*.csv")} - {sweep / "published.csv"}
    for path in sorted(ours):
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


def hostile_sweep(sweep: Path, texts: Sequence[str]) -> None:
    """Every text that a record, a manifest, a timing or a failure may have is one of these, of which there are two or
    more: the first two are the names of models, the others are taken in turn."""
    (text, other), some = texts[:2], cycle(texts)
    settings = [config(model, num_hiddens=hidden) for model in ("rnn", "gru") for hidden in (32, 64)]
    for setting in settings:
        setting["model"]["cell"] = "gru"
        setting["model"]["mine"] = other
        setting["title"] = text
    write_sweep(sweep, settings, seeds=3, epochs=3, timed=False)
    for path in sorted((sweep / "runs").iterdir()):
        record = json.loads(path.read_text())
        record["corpus"] |= {"name": other, "unit": "word"}
        record["text"] = {next(some): f"{next(some)} {next(some)}", next(some): next(some)}
        record["references"] = {next(some): next(some)}
        record["config"]["model"]["name"] = {"gru": text}.get(record["config"]["model"]["name"], other)
        record["environment"] |= {name: next(some) for name in ("cpu", "gpu", "platform", "git_commit")}
        record["engine"] = next(some)
        record["divergence"] = None
        record["reused_from"] = next(some)
        path.write_text(json.dumps(record))
    for setting in settings[:1]:
        write_timing(sweep, setting, 1000.0)
    for path in (sweep / "speed").iterdir():
        timing = json.loads(path.read_text())
        timing["machine_facts"] |= {"cpu": next(some), "gpu": next(some)}
        path.write_text(json.dumps(timing))
    (sweep / "failures").mkdir()
    failure = {"setting_id": "0123456789ab", "error": next(some), "config": settings[-1], "traceback": next(some)}
    (sweep / "failures" / "0123456789ab.json").write_text(json.dumps(failure))
    quoted = f"python -m ablate -m title='{next(some).replace(chr(39), '')}'"
    write_manifest(sweep, commands=[quoted], question=next(some), title=next(some), plugins={next(some): "0" * 64})


def hostile_search(folder: Path, texts: Sequence[str]) -> None:
    """Every text that the table and the summary of a search may have is one of these, taken in turn."""
    trials, some = made_up(12), cycle(texts)
    trials["reason"], trials["worker"], trials["again"] = next(some), next(some), next(some)
    trials.loc[3, "state"], trials.loc[4, "clip"] = next(some) or "odd", next(some)
    write_search(folder, trials)
    facts = json.loads((folder / "search.json").read_text())
    for one in (*facts["finalists"], facts["baseline"], facts["winner"]):
        one |= {"overrides": [f"lr={next(some)}", next(some)], "values": {next(some): next(some)}}
        one["failure"] = next(some)
    facts |= {"study": next(some), "notes": [next(some), next(some)]}
    facts["space"]["clip"]["choices"] = [next(some), next(some), None, 1]
    (folder / "search.json").write_text(json.dumps(facts))
    write_text(folder / "trials.csv", csv_text(trials))


def hostile_beside(here: Path, sweep: Path, texts: Sequence[str]) -> None:
    """And what a person writes beside it: published values, exclusions, a preset's name, claims, code of their own."""
    some = cycle(texts)
    with (sweep / "published.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [["num_hiddens", "perplexity", "source", "note"], ["32", "9.5", next(some), next(some)]]
        csv.writer(file).writerows(rows)
    ids = sorted(path.stem for path in (sweep / "runs").iterdir())
    given = {"runs": ids[:1], "given": [next(some)], "because": next(some), "at": "2026-01-01T00:00:00+00:00"}
    (sweep / "excluded.json").write_text(json.dumps({"excluded": [given]}))
    (sweep / "quality.json").write_text(json.dumps({"until": [next(some), "perplexity<9"]}))
    claims = here / "sweeps" / "claims"
    claims.mkdir(parents=True)
    statement = f"{next(some)} {next(some)}."
    claim = {"id": "mine", "statement": statement, "order": {"along": "num_hiddens", "ascending": [64, 32]}}
    (claims / "mine.yaml").write_text(yaml.safe_dump([claim | {"elsewhere": True}], allow_unicode=True))
    code = (
        "import ablate\n"
        f"@ablate.metric({next(some)!r}, better='lower', shown=True)\n"
        "def mine(record): return float(len(record['run_id']))\n"
        f"@ablate.figure({next(some)!r})\n"
        f"def drawn(settings): raise ValueError({next(some)!r})\n"
    )
    (here / "own.py").write_text(code, encoding="utf-8")
    plugins = {"own.py": sha256((here / "own.py").read_bytes()).hexdigest()}
    write_manifest(sweep, question=next(some), title=next(some), preset=next(some), plugins=plugins)


def some_texts(change: Callable[[str], str] = str) -> st.SearchStrategy[list[str]]:
    """Two texts or more, for a page costs a second or two: it is tried with several at once."""
    one = st.one_of(st.sampled_from([*MARKUP, *FORMULAS, *TEXTS]), st.sampled_from(MARKUP), texts())
    return st.lists(one.map(change), min_size=2, max_size=12)


@examples(1, 60)
def test_pages_of_what_a_person_writes(place: Place, count: int) -> None:
    """The same with texts of a person's own; and one page about a sweep and a search."""

    def check(texts: list[str]) -> None:
        here = place.fresh()
        hostile_sweep(place.sweep, texts)
        hostile_beside(here, place.sweep, texts)
        search = place.sweep.with_name("search")
        hostile_search(search, texts)
        place.run(
            "report", "results/made-up", "results/search", "--out", "results/both", f"--title={_typed(texts[-1])}"
        )
        for folder in (place.sweep, search):
            check_products(folder)
        check_page(here / "results" / "both" / "report.html")

    place.own_code = True
    explore(some_texts(lambda text: text.encode("utf-8", "replace").decode()), check, count)


def _typed(text: str) -> str:
    """A text as a shell can hand it over."""
    return text.replace("\0", "")


FILE_NAMES = st.one_of(
    st.sampled_from(
        [*TEXTS, "a\nb", "a\x1b[2Jb", "a\rb", "\u202ea", "a\x85b", "\x9b31m", "a\u2028b", "é" * 127, "--out", "-"]
    ),
    st.sampled_from(["\udcff", "a\udce9b", "\udced\udca0\udc80"]),  # bytes that are no UTF-8, as Python has them
    st.text(max_size=8),
).filter(
    lambda name: (
        not {"/", "\0"} & {*name}
        and name not in ("", ".", "..")
        and not re.search("[\ud800-\udc7f\udd00-\udfff]", name)
        and len(name.encode("utf-8", "surrogateescape")) < 256
    )
)


@examples(2, 60)
def test_names_of_folders(place: Place, count: int) -> None:
    """A sweep's folder may have any name that a file may: each command tells it in one line."""
    commands = [("report",), ("status",), ("claims",), ("exclude", "--list"), ("compact",), ("export", "--to=csv")]

    def check(given: tuple[str, tuple[str, ...]]) -> None:
        name, (command, *more) = given
        place.fresh()
        sweep = place.sweep.with_name(name)
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

    def check(texts: list[str]) -> None:
        place.fresh()
        hostile_sweep(place.sweep, texts)
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

    explore(some_texts(), check, count)


@pytest.mark.slow
def test_pages_with_figures(tmp_path: Path) -> None:
    """The same with every figure drawn, of a few."""
    for number, text in enumerate((MARKUP[0], FORMULAS[0], "$\\frac{", "%s%n{0}", "\u202e", "a" * 500)):
        sweep = tmp_path / f"made-{number}"
        hostile_sweep(sweep, (text, random.Random(number).choice(MARKUP)))
        write_report(sweep)
        check_products(sweep)
