"""A place for each input, the command in this process, and whole files to break."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ablate.cli import main
from ablate.config import plugins
from ablate.config.registry import scoped
from ablate.config.terminal import CONTROLS
from ablate.sweeping.planning import estimate
from tests.fuzzing.exploring import NO_WORDS, numbered

STATUSES = (0, 1, 2)

SMALL = [
    "data=python_docs",
    "max_tokens=60",
    "val_tokens=10",
    "num_hiddens=4",
    "batch_size=2",
    "num_steps=3",
    "epochs=1",
    "seeds=1",
    "prefixes=[]",
    "report=false",
    "engine=eager",
]
"""A setting that trains in no time, of any model."""


@dataclass
class Told:
    """What a command left: its exit status, and what it printed."""

    status: int
    out: str
    err: str


@dataclass
class Place:
    """Where one input is tried: a folder of its own, in which nothing but `results` may change."""

    root: Path
    folders: Iterator[Path]
    capture: pytest.CaptureFixture[str]
    own_code: bool = False
    """Whether errors are those of a person's own code, which are told in the words of Python."""
    here: Path = field(init=False)

    def fresh(self) -> Path:
        """The next folder; the one before it is gone, and what it had loaded too."""
        if hasattr(self, "here"):
            os.chdir(self.root)
            shutil.rmtree(self.here, ignore_errors=True)
        self.here = next(self.folders)
        (self.here / "results").mkdir(parents=True)
        os.chdir(self.here)
        return self.here

    @property
    def sweep(self) -> Path:
        return self.here / "results" / "made-up"

    def run(self, *words: str) -> Told:
        """The command; whatever no command may do is a failed assertion."""
        before = self.outside()
        self.capture.readouterr()
        plugins.LOADED.clear()
        with scoped():
            status = main(list(words))
        said = self.capture.readouterr()
        told = Told(status, said.out, said.err)
        assert status in STATUSES, f"status {status}: {words}"
        assert "Traceback" not in told.err + told.out, told.err[-1000:]
        line = next((line for line in told.err.splitlines() if NO_WORDS.search(line)), "")
        assert not CONTROLS.search(told.err.replace("\n", "")), f"not as it is typed: {told.err!r:.300}"
        assert self.own_code or not line, f"no words for a person: {line!r:.300}"
        if status == 2:
            assert re.search(r"^ablate: .*\S", told.err, re.MULTILINE), f"status 2 without a reason: {told.err!r:.300}"
        assert self.outside() == before, f"changed outside of results: {words}"
        return told

    def outside(self) -> dict[str, bytes]:
        """All files beside this input's folder of results."""
        there = [path for path in self.here.rglob("*") if path.is_file() and not path.is_fifo()]
        return {str(path): path.read_bytes() for path in there if not path.is_relative_to(self.here / "results")} | {
            str(path): b"" for path in self.root.iterdir()
        }


@pytest.fixture
def place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hydra_restore_singletons: None,
    no_figures: None,
) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ablate"])
    monkeypatch.setattr(plugins, "LOADED", {})
    monkeypatch.setattr(estimate, "PROBE_S", 0.01)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power fails here, and a page takes dozens
    for name, value in {
        "ABLATE_DATA_DIR": str(tmp_path / "no-data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "ABLATE_NATIVE": "0",  # nothing is worth a compiler here
        "HYDRA_FULL_ERROR": "0",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "inputs"
    root.mkdir()
    made = Place(root, numbered(root), capsys)
    yield made
    os.chdir(tmp_path)


def no_formula(value: Any) -> None:
    """A cell of a CSV that no spreadsheet computes: of what looks like a formula, a number is none."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        float(value)
