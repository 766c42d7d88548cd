"""The steps of an ablation path against its runs' records, made by hand. CPU, 1 s."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ablate.analysis import ablation_path
from ablate.analysis.ablation_path import COLUMNS, path_frame

Cell = Callable[..., pd.DataFrame]

PATH = {
    "metric": "perplexity",
    "better": "lower",
    "baseline": {"overrides": ["model=rnn"], "cell_id": "model=rnn"},
    "target": {"overrides": ["model=gru", "lr=2"], "cell_id": "model=gru lr=2.0"},
    "steps": [
        {
            "number": 1,
            "change": "model=gru",
            "cell_id": "model=gru",
            "reference_id": "model=rnn",
            "tried": [{"change": "model=gru", "cell_id": "model=gru"}, {"change": "lr=2", "cell_id": "lr=2.0"}],
        },
        {
            "number": 2,
            "change": "lr=2",
            "cell_id": "model=gru lr=2.0",
            "reference_id": "model=gru",
            "tried": [{"change": "lr=2", "cell_id": "model=gru lr=2.0"}],
        },
    ],
}


@pytest.fixture
def walked(tmp_path: Path, cell: Cell, together: Cell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a path, and runs of its cells: the first step halves the perplexity, the second does nothing."""
    (tmp_path / "path.json").write_text(json.dumps(PATH))
    runs = together(
        cell([4, 4.4, 4.8, 5.2, 5.6, 6, None], model="rnn"),
        cell([2, 2.2, 2.4, 2.6, 2.8, 3, 3.2], model="gru"),
        cell([2, 2.2, 2.4, 2.6, 2.8, 3, 3.2], model="gru", lr=2.0),
    )
    monkeypatch.setattr(ablation_path, "runs_frame", lambda sweep: (runs, []))
    return tmp_path


def test_a_row_per_step(walked: Path) -> None:
    table = path_frame(walked)
    assert table is not None
    assert list(table.columns) == list(COLUMNS)
    start, first, second = table.to_dict("records")
    assert (start["number"], start["change"], start["cell_id"], start["tried"]) == (0, "baseline", "model=rnn", 0)
    assert (start["n"], start["diverged"], start["value"]) == (6, 1, pytest.approx(5))
    assert all(math.isnan(start[name]) for name in ("ratio", "low", "p", "p_holm", "total"))
    assert (first["number"], first["change"], first["n"], first["diverged"], first["tried"]) == (
        1,
        "model=gru",
        7,
        0,
        2,
    )
    assert (first["ratio"], first["high"], first["low"]) == (pytest.approx(0.5), pytest.approx(0.5), 0)
    assert first["p"] == pytest.approx(2 / 128)
    assert (second["ratio"], second["low"], second["high"], second["p"]) == (1, 1, 1, 1)
    assert second["total"] == first["total"] == pytest.approx(0.5)
    assert (first["p_holm"], second["p_holm"]) == (pytest.approx(4 / 128), 1)
    assert first["value"] == pytest.approx(2.6)
    assert first["value_low"] < 2.6 < first["value_high"]


def test_a_step_whose_runs_are_gone(walked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, _ = ablation_path.runs_frame(walked)
    left = runs[runs["cell_id"] != "model=gru lr=2.0"]
    monkeypatch.setattr(ablation_path, "runs_frame", lambda sweep: (left, []))
    table = path_frame(walked)
    assert table is not None
    assert table["value"].isna().tolist() == [False, False, True]
    assert math.isnan(table["p_holm"].iloc[2])
    assert table["p_holm"].iloc[1] == pytest.approx(2 / 128)


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"metric": "perplexity"}', '{"metric": 1, "baseline": {}, "steps": 3}']
)
def test_no_path(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "path.json").write_text(content)
    assert path_frame(tmp_path) is None
