"""What is printed is what is meant: no smiley, no style, in a name that a person gave. CPU, 1 s."""

import ast
from pathlib import Path

import pytest
from rich.table import Table

from ablate.config import terminal
from ablate.config.schema import PACKAGE_DIR

TEXT = "a :smile: [b] 12 :x:"


def test_lines_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.lines()(TEXT)
    terminal.lines(stderr=False)(TEXT)
    terminal.lines(quiet=True)(TEXT)
    assert capsys.readouterr() == (f"{TEXT}\n", f"{TEXT}\n")


def test_a_style_is_no_smiley(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.lines(markup=True)("[red]failed:[/] :smile:")
    assert capsys.readouterr().err == "failed: :smile:\n"


def test_brackets_in_a_table_are_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    """As of a list of prefixes; and what would close a style that nobody has begun is no error."""
    table = Table("[/b]", title="a [/red] title")
    table.add_row("[the,time]")
    terminal.console(width=60).print(table)
    out = capsys.readouterr().out
    assert all(text in out for text in ("[/b]", "a [/red] title", "[the,time]"))


ODD = "a\nb\r\x1b[31m\x07\x9b\x85\u2028\u202e\u2066c"


def test_what_moves_a_cursor_is_printed_as_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    typed = r"a\nb\r\x1b[31m\x07\x9b\x85\u2028\u202e\u2066c"
    terminal.lines()(ODD)
    table = Table(ODD, title=ODD)
    table.add_row(ODD)
    terminal.console(width=200).print(table)
    said = capsys.readouterr()
    assert said.err == f"{typed}\n"
    assert said.out.count(typed) == 3
    assert not terminal.CONTROLS.search(said.out.replace("\n", ""))


def test_a_long_line_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.lines()("word " * 100)
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.full
def test_nothing_else_makes_a_console() -> None:
    calls = []
    for path in sorted(Path(PACKAGE_DIR).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            made = [node.func] if isinstance(node, ast.Call) else getattr(node, "bases", [])
            if any(getattr(one, "id", getattr(one, "attr", "")) == "Console" for one in made):
                calls.append(path.relative_to(PACKAGE_DIR).as_posix())
    assert calls == ["config/terminal.py"]
