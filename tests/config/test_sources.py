"""The source that a user's file consists of: the modules beside it that it imports count, no others do. CPU, 1 s."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from ablate.config import plugins
from ablate.config.errors import UserError
from ablate.config.registry import CELLS, TASKS, snapshot
from ablate.config.sources import beside, digest, module_hash
from ablate.tasks.facts import TaskFacts

CELL = """\
from ablate.cells.cell import cell
{before}

@cell
def leaky(x, h, *, W):
    {inside}
    return {factor} * h + x.new + h @ W.new
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files are; not where Python looks. Afterwards nothing of them is left."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    restore, loaded, modules = snapshot(), dict(plugins.LOADED), set(sys.modules)
    yield tmp_path
    restore()
    plugins.LOADED.clear()
    plugins.LOADED.update(loaded)
    plugins.FINDER.folders.clear()
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def written(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py".replace("/init.py", "/__init__.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))


def loaded(folder: Path) -> str | None:
    plugins.load([str(folder / "mine.py")])
    return plugins.source_hash("cell", "leaky")


@pytest.mark.parametrize(
    ("before", "inside", "factor"),
    [
        ("import parts_of_mine", "", "parts_of_mine.HALF"),
        ("from parts_of_mine import HALF", "", "HALF"),
        ("import importlib\nparts = importlib.import_module('parts_of_mine')", "", "parts.HALF"),
        ("", "from parts_of_mine import HALF", "HALF"),
        ("import package_of_mine.numbers as numbers", "", "numbers.HALF"),
        ("from package_of_mine import numbers", "", "numbers.HALF"),
        ("from package_of_mine import HALF", "", "HALF"),
    ],
)
def test_what_is_imported_from_beside_counts_and_is_what_runs(
    folder: Path, before: str, inside: str, factor: str
) -> None:
    def all_written(value: str) -> None:
        written(
            folder,
            mine=CELL.format(before=before, inside=inside, factor=factor),
            parts_of_mine="from values_of_mine import HALF",
            package_of_mine__init="from .numbers import HALF",
            package_of_mine__numbers="from values_of_mine import HALF",
            values_of_mine=f"HALF = {value}",
            unused=f"OTHER = {value}",
        )

    all_written("0.5")
    first = loaded(folder)
    assert loaded(folder) == first
    assert used_half(folder) == 0.5
    (folder / "unused.py").write_text("OTHER = 7")
    assert loaded(folder) == first, "nothing imports it"
    all_written("0.125")
    assert loaded(folder) != first
    assert used_half(folder) == 0.125


def used_half(folder: Path) -> float:
    """The factor that the loaded cell computes with."""
    ones = type("Ones", (), {"new": 0.0})

    class Number(float):
        def __matmul__(self, other: float) -> float:
            return 0.0

    return float(CELLS["leaky"].equations(ones, Number(1.0), W=ones))


def test_a_file_alone_has_the_hash_of_its_text(folder: Path) -> None:
    written(folder, mine=CELL.format(before="import json, numpy, ablate", inside="", factor="0.5"))
    assert loaded(folder) == hashlib.sha256((folder / "mine.py").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["json", "numpy", "ablate"])
def test_what_is_not_imported_from_there_does_not_count(folder: Path, name: str) -> None:
    written(folder, **{name: "HALF = 0.5"})
    assert beside(f"import {name}".encode(), folder) == {}


def test_modules_of_one_name_in_two_folders_are_each_the_own(folder: Path) -> None:
    for name, value in (("one", "0.5"), ("other", "0.25")):
        (folder / name).mkdir()
        written(
            folder / name,
            mine=CELL.format(before="from parts_of_mine import HALF", inside="", factor="HALF").replace("leaky", name),
            parts_of_mine=f"HALF = {value}",
        )
        plugins.load([str(folder / name / "mine.py")])
    factors = [CELLS[name].equations.__globals__["HALF"] for name in ("one", "other")]
    assert factors == [0.5, 0.25]


def test_a_mistake_in_a_module_beside_is_told_with_its_own_line(folder: Path) -> None:
    written(folder, mine="import parts_of_mine", parts_of_mine="x = 1\ny = undefined\n")
    with pytest.raises(UserError, match=r"^parts_of_mine.py, line 2: NameError"):
        loaded(folder)
    written(folder, parts_of_mine="x = 1\n\ndef (\n")
    with pytest.raises(UserError, match=r"^parts_of_mine.py, line 3: SyntaxError"):
        loaded(folder)


def test_two_modules_that_import_each_other(folder: Path) -> None:
    written(folder, a="import b", b="import a")
    assert set(beside(b"import a", folder)) == {"a", "b"}
    assert digest(b"import a", beside(b"import a", folder)) == digest(b"import a", beside(b"import a", folder))


TASK = """
from ablate.tasks.facts import TaskFacts
from ablate.config.registry import TASKS
TASKS.add(TaskFacts("mine", "A task", "code_of_mine:Mine"))
"""


def test_code_that_is_named_counts(folder: Path) -> None:
    def of(value: str) -> str | None:
        written(folder, mine=TASK, code_of_mine="from values_of_mine import V\nclass Mine:\n    value = V")
        written(folder, values_of_mine=f"V = {value}")
        plugins.load([str(folder / "mine.py")])
        assert TASKS["mine"].code.value == float(value), "it is imported when it is needed"
        return plugins.source_hash("task", "mine")

    first = of("0.5")
    assert first == of("0.5") != of("0.125")


def test_code_that_is_named_in_a_notebook_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))

    def of(value: str) -> str | None:
        written(folder, code_of_mine=f"class Mine:\n    value = {value}")
        TASKS.add(TaskFacts("mine", "A task", "code_of_mine:Mine"))
        return plugins.source_hash("task", "mine")

    first = of("0.5")
    assert first == of("0.5") != of("0.125")
    assert first is not None


def test_code_that_is_ours_or_nowhere_has_no_hash() -> None:
    assert module_hash("no_such_module_at_all") is None
    assert TASKS.origin.keys().isdisjoint({"language_model", "translation", "memory"})
