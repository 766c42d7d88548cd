"""What README.md and docs/ show is what comes out: every console block is run, and every Python block.

Needs The Time Machine for the blocks on it; `ABLATE_ACCEPT=1` writes what comes out into the documents. CPU, 1 min.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from blocks import ANY, Block, agree, blocks_of, shortened
from generating import sweeps

from ablate.cli.commands import main
from ablate.config import plugins
from ablate.config.registry import scoped
from ablate.config.schema import CONFIG_ROOT
from ablate.records.record import Record

DOCUMENTS = [CONFIG_ROOT / "README.md", *sorted((CONFIG_ROOT / "docs").rglob("*.md"))]
ACCEPT = os.environ.get("ABLATE_ACCEPT") == "1"
PROGRAMS = ("cat", "cp", "head", "ls")
"""Beside ablate: programs of the system that blocks may use."""
BOOK = re.compile(r"data=time_machine|sweeps=|ablate settle|ablate\.load")
"""What needs The Time Machine."""


def names() -> list[str]:
    return [str(path.relative_to(CONFIG_ROOT)) for path in DOCUMENTS]


def typed(document: Path) -> list[Block]:
    """The blocks that somebody types."""
    return [block for block in blocks_of(document) if block.language in ("console", "python")]


def test_blocks_that_are_not_run_are_few_and_say_why() -> None:
    left_out = [block for document in DOCUMENTS for block in typed(document) if block.reason]
    assert all(len(block.reason.split()) > 3 for block in left_out)
    assert 0 < len(left_out) <= 8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None, hydra_restore_singletons: None) -> Path:
    """Where a page's blocks are run: a copy of what a checkout has. Figures are files, but nothing is drawn."""

    def blank(material: object, to: Path) -> contextlib.AbstractContextManager[type[dict]]:
        (to / "figures").mkdir(exist_ok=True)
        for file in ("figure.png", "figures/by_value.png"):
            (to / file).touch()
        return contextlib.nullcontext(dict)

    monkeypatch.setattr("ablate.report.drawn.drawing", blank)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "examples").symlink_to(CONFIG_ROOT / "docs" / "examples")
    (tmp_path / "sweeps").symlink_to(CONFIG_ROOT / "sweeps")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ablate"])
    for name, value in {"NO_COLOR": "1", "COLUMNS": "100", "HYDRA_FULL_ERROR": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


@contextlib.contextmanager
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command or a block loads is gone after it, as with its process."""
    monkeypatch.setattr(plugins, "LOADED", {})
    with scoped():
        yield
    for module in [module for module in sys.modules if module == "docs" or module.startswith("docs.")]:
        del sys.modules[module]


def printed(command: str) -> list[str]:
    """What a command prints on both streams, in their order."""
    words = shlex.split(command, comments=True)
    words = words[2:] if words[:2] == ["python", "-m"] else words
    if words[0] in PROGRAMS:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()
    assert words[0] == "ablate", f"{command}: only ablate, {', '.join(PROGRAMS)} are run; say why this is not"
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        main(words[1:])
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in names() if typed(CONFIG_ROOT / name)])
def test_blocks_print_what_they_say(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = CONFIG_ROOT / name
    found = [block for block in typed(document) if not block.reason]
    text = "\n".join(block.text for block in found)
    book = Path(os.environ.get("ABLATE_DATA_DIR", "nowhere")).expanduser() / "timemachine.txt"
    if BOOK.search(text) and not book.is_file():
        pytest.skip("needs The Time Machine: put timemachine.txt into a folder and name it in ABLATE_DATA_DIR")
    if any(word in text for word in ("results/", "sweeps=", "ablate plan")):
        for sweep in sweeps.folders():
            shutil.copytree(sweep, folder / "results" / sweep.name)
    differing = []
    variables: dict[str, object] = {}
    for command in (command for block in found for command in block.commands):
        with alone(monkeypatch):
            out = printed(command.text)
        if not agree(command.printed, out, command.loose):
            differing.append((command, out))
    with alone(monkeypatch):
        for block in found:
            if block.language == "python" and not block.info:
                exec(compile(block.text, f"{name}, line {block.line + 1}", "exec"), variables)
    if ACCEPT and differing:
        accept(document, differing)
    assert not differing or ACCEPT, (
        "\n\n".join(
            f"{name}, line {command.first}: {command.text}\nprints\n" + "\n".join(out) for command, out in differing
        )
        + "\n\nABLATE_ACCEPT=1 writes this into the document; shorten it there by lines of …"
    )


def accept(document: Path, differing: list) -> None:
    lines = document.read_text(encoding="utf-8").splitlines()
    for command, out in reversed(differing):
        lines[command.first : command.last] = shortened(out)
    document.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_what_agrees_and_what_does_not() -> None:
    table = ["model  n   tail", "─────────────", "gru    6  2.493 (2.416–2.571)  1.28 s"]
    assert agree(table, ["model n tail", "───", "gru 6  2.5 (2.42–2.57)   99 s"])
    assert not agree(table, ["model n tail", "───", "gru 5  2.493 (2.416–2.571)  1.28 s"])
    assert not agree(table, ["model n tail", "───", "gru 6  2.9 (2.416–2.571)  1.28 s"])
    assert agree(["a", ANY, "z"], ["a", "b", "c", "z"])
    assert not agree(["a", ANY, "z"], ["a", "b", "c"])
    assert agree(["a", ANY, "m", ANY], ["a", "b", "m"])
    assert agree([f"group {ANY} 3 runs"], ["group 4.5 GB, 3 runs"])
    assert agree(["p = 1.3e-21"], ["p = 2.0e-21"])
    assert not agree(["p = 1.3e-21"], ["p = 2.0e-12"])
    assert agree(["gru 1.5 ± 0.3"], ["gru 1.4 (0.9–2.6)"], loose=True)
    assert not agree(["gru 1.5 ± 0.3"], ["gru 2.5 (0.9–2.6)"], loose=True)
    assert not agree(["gru 1.5 ± 0.3"], ["gru 1.4 (0.9–2.6)"])


def test_what_is_written_into_a_document_agrees_with_what_was_printed() -> None:
    out = [
        "6/6 runs after 3 s: gru done (cohort)",
        "6 runs trained",
        "",
        "what trains together",
        "group  settings",
        "───",
    ]
    assert shortened(out) == [ANY, "6 runs trained", ANY]
    assert agree(shortened(out), out)


def test_an_example_that_is_shown_is_the_one_that_the_tests_run() -> None:
    """A block titled with a file is included from it, or, where that cannot be, is part of it word by word."""
    shown = 0
    for block in (block for document in DOCUMENTS for block in blocks_of(document)):
        titled = re.search(r'title="([^"]+)"', block.info)
        if titled and block.text != f'--8<-- "{titled[1]}"':
            assert block.text in (CONFIG_ROOT / titled[1]).read_text(encoding="utf-8")
        shown += titled is not None
    assert shown


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)[^)]*\)|!\[[^\]]*\]\(([^)\s]+)\)")


def test_every_part_of_a_record_is_explained() -> None:
    table = (
        (CONFIG_ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8").split("## What a record says")[1]
    )
    explained = [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(explained) == sorted(f.name for f in fields(Record) if f.name != "curve")


def test_links_of_the_readme_lead_somewhere() -> None:
    """Those of docs/ are checked by the strict build of the site."""
    text = (CONFIG_ROOT / "README.md").read_text(encoding="utf-8")
    targets = [one or other for one, other in LINK.findall(text)]
    assert targets
    assert [target for target in targets if "://" not in target and not (CONFIG_ROOT / target).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((CONFIG_ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
