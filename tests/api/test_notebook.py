"""The tour of the documents, docs/examples/notebook.py. CPU, 10 s."""

import re
import runpy
from pathlib import Path

import pytest

import ablate
from ablate.config.schema import CONFIG_ROOT

TOUR = CONFIG_ROOT / "docs" / "examples" / "notebook.py"


@pytest.mark.full
def test_the_tour_runs(
    tmp_path: Path, text_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text(text_path.read_text())
    told = runpy.run_path(str(TOUR))
    assert isinstance(told["sweep"], ablate.Sweep)
    assert (len(told["sweep"]), len(told["more"])) == (24, 28)
    assert told["verdict"].verdict in ("confirmed", "refuted", "undecided")
    assert (tmp_path / "tour.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "results" / "tour" / "export-csv" / "runs.csv").is_file()
    assert "24 runs, now 28" in capsys.readouterr().out


def test_the_tour_names_only_what_there_is() -> None:
    text = TOUR.read_text(encoding="utf-8")
    assert set(re.findall(r"\bablate\.(\w+)\(", text)) <= set(ablate._MODULES)
