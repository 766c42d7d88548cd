"""A command on experiments, and scripts to run with it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.cli import main


@pytest.fixture
def ablated(tmp_path: Path, capsys: pytest.CaptureFixture[str], no_figures: None) -> Callable[..., tuple[int, str]]:
    """A command's exit status and what it said, its sweep in `sweep` below the test's folder; a report if asked for."""

    def run(*words: str, command: str = "run", report: bool = False) -> tuple[int, str]:
        report_or_not = [] if report else ["report=false"]
        status = main([command, *words, f"results_dir={tmp_path}", "name=sweep", *report_or_not])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    """A script of this text, as it is named on the command line; of another text it is another version."""

    def write(text: str) -> str:
        path = tmp_path / "train.py"
        path.write_text(text, encoding="utf-8")
        return f"experiment={path}:train"

    return write
