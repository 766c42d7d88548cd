"""The steps of an ablation path against its runs' records, made by hand. CPU, 1 s."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis import ablation_path
from ablate.analysis.ablation_path import COLUMNS, path_frame

Setting = Callable[..., pd.DataFrame]

PATH: dict[str, Any] = {
    "metric": "perplexity",
    "better": "lower",
    "baseline": {"overrides": ["model=rnn"], "setting_id": "model=rnn"},
    "target": {"overrides": ["model=gru", "lr=2"], "setting_id": "model=gru lr=2.0"},
    "steps": [
        {
            "number": 1,
            "change": "model=gru",
            "setting_id": "model=gru",
            "reference_id": "model=rnn",
            "tried": [{"change": "model=gru", "setting_id": "model=gru"}, {"change": "lr=2", "setting_id": "lr=2.0"}],
        },
        {
            "number": 2,
            "change": "lr=2",
            "setting_id": "model=gru lr=2.0",
            "reference_id": "model=gru",
            "tried": [{"change": "lr=2", "setting_id": "model=gru lr=2.0"}],
        },
    ],
}


@pytest.fixture
def walked(tmp_path: Path, setting: Setting, together: Setting, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a path, and runs of its settings: the first step halves the perplexity, the second does little."""
    (tmp_path / "path.json").write_text(json.dumps(PATH | {"choosing_seeds": [0, 1, 2]}))
    runs = together(
        setting([4, 4.4, 4.8, 5.2, 5.6, 6, 6.4], model="rnn"),
        setting([2, 2.2, 2.4, 2.6, 2.8, 3.3, 3.4], model="gru"),
        setting([2, 2.2, 2.5, 2.6, 2.7, 3.0, 3.3], model="gru", lr=2.0),
    )
    monkeypatch.setattr(ablation_path, "runs_frame", lambda sweep: (runs, []))
    return tmp_path


def test_a_row_per_step(walked: Path) -> None:
    """What was chosen is reported by the seeds that did not choose it; baseline and target by all."""
    table = path_frame(walked)
    assert table is not None
    assert list(table.columns) == list(COLUMNS)
    start, first, second = table.to_dict("records")
    rnn, gru = np.log([4, 4.4, 4.8, 5.2, 5.6, 6, 6.4]), np.log([2, 2.2, 2.4, 2.6, 2.8, 3.3, 3.4])
    both = np.log([2, 2.2, 2.5, 2.6, 2.7, 3.0, 3.3])
    assert (start["number"], start["change"], start["setting_id"], start["tried"]) == (0, "baseline", "model=rnn", 0)
    assert (start["n"], start["diverged"], start["value"]) == (7, 0, pytest.approx(np.exp(rnn.mean())))
    assert all(math.isnan(start[name]) for name in ("ratio", "low", "p", "p_holm", "total"))
    assert (first["number"], first["change"], first["tried"]) == (1, "model=gru", 2)
    assert (first["n"], first["value"]) == (4, pytest.approx(np.exp(gru[3:].mean())))
    assert first["value_low"] < first["value"] < first["value_high"]
    steps = [stats.ttest_ind(a[3:], b[3:], equal_var=False) for a, b in ((gru, rnn), (both, gru))]
    for row, test, ratio in zip((first, second), steps, ((gru - rnn)[3:].mean(), (both - gru)[3:].mean()), strict=True):
        assert row["ratio"] == pytest.approx(np.exp(ratio))
        assert (row["low"], row["high"]) == pytest.approx(np.exp(test.confidence_interval(0.95)))
        assert row["p"] == pytest.approx(test.pvalue, rel=1e-12)
        assert row["method"] == "Welch t, on logarithms"
    assert (first["p_holm"], second["p_holm"]) == pytest.approx((2 * steps[0].pvalue, steps[1].pvalue))
    assert second["n"] == 7
    whole = stats.ttest_ind(both, rnn, equal_var=False)
    assert second["total"] == pytest.approx(np.exp(both.mean() - rnn.mean()))
    assert (second["total_low"], second["total_high"]) == pytest.approx(np.exp(whole.confidence_interval(0.95)))
    assert first["total"] == first["ratio"]


def test_a_path_of_an_older_version_is_corrected_for_what_was_tried(walked: Path) -> None:
    """All seeds chose: p of steps that rest on a choice among two is doubled, their intervals are those of 97.5 %."""
    (walked / "path.json").write_text(json.dumps(PATH))
    table = path_frame(walked)
    assert table is not None
    gru, rnn = np.log([2, 2.2, 2.4, 2.6, 2.8, 3.3, 3.4]), np.log([4, 4.4, 4.8, 5.2, 5.6, 6, 6.4])
    test = stats.ttest_ind(gru, rnn, equal_var=False)
    assert table["n"].tolist() == [7, 7, 7]
    assert table["p"][1] == pytest.approx(2 * test.pvalue)
    assert (table["low"][1], table["high"][1]) == pytest.approx(np.exp(test.confidence_interval(0.975)))


def test_one_seed_chooses_and_leaves_none(walked: Path) -> None:
    (walked / "path.json").write_text(json.dumps(PATH | {"choosing_seeds": list(range(7))}))
    table = path_frame(walked)
    assert table is not None
    assert table["n"].tolist() == [7, 0, 7]
    assert table[["ratio", "p"]].isna().all(axis=None)
    assert not math.isnan(table["total"][2])


def test_a_step_whose_runs_are_gone(walked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, _ = ablation_path.runs_frame(walked)
    left = runs[runs["setting_id"] != "model=gru lr=2.0"]
    monkeypatch.setattr(ablation_path, "runs_frame", lambda sweep: (left, []))
    table = path_frame(walked)
    assert table is not None
    assert table["value"].isna().tolist() == [False, False, True]
    assert math.isnan(table["p_holm"].iloc[2])
    assert table["p_holm"].iloc[1] == table["p"].iloc[1]


@pytest.mark.slow
def test_a_step_that_does_nothing_keeps_its_level(
    walked: Path, setting: Setting, together: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of eight changes without effect, over 2,000 paths of 10 seeds: significantly better in 2.5 % of them.

    And its ratio is 1 on average. On the seeds that chose it both would be false.
    """
    rng = np.random.default_rng(0)
    found, logs = [], []
    for _ in range(2000):
        draws = rng.normal(0, 0.1, (9, 10))
        best = int(draws[1:, :5].mean(axis=1).argmin()) + 1
        tried = [{"change": "x", "setting_id": "model=gru"}] * 8
        path = PATH | {"choosing_seeds": list(range(5)), "steps": [PATH["steps"][0] | {"tried": tried}]}
        (walked / "path.json").write_text(json.dumps(path))
        runs = pd.concat([setting(np.exp(draws[0]), model="rnn"), setting(np.exp(draws[best]), model="gru")])
        monkeypatch.setattr(ablation_path, "runs_frame", lambda sweep, runs=runs: (runs, []))
        table = path_frame(walked)
        assert table is not None
        found.append(table["p"][1] <= 0.05 and table["ratio"][1] < 1)
        logs.append(math.log(table["ratio"][1]))
    assert sum(found) <= stats.binom.isf(0.001, len(found), 0.025)
    assert np.mean(logs) == pytest.approx(0, abs=4 * np.std(logs) / len(logs) ** 0.5)


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"metric": "perplexity"}', '{"metric": 1, "baseline": {}, "steps": 3}']
)
def test_no_path(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "path.json").write_text(content)
    assert path_frame(tmp_path) is None


def test_where_there_are_test_data_these_report(walked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, _ = ablation_path.runs_frame(walked)
    path = PATH | {"metric": "val_perplexity", "choosing_seeds": [0, 1, 2]}
    (walked / "path.json").write_text(json.dumps(path))
    tested = runs.assign(test_perplexity=10 * runs["perplexity"])
    monkeypatch.setattr(ablation_path, "runs_frame", lambda sweep: (tested, []))
    table = path_frame(walked)
    assert table is not None
    assert set(table["metric"]) == {"test_perplexity"}
    assert set(table["chosen_by"]) == {"val_perplexity"}
    assert table["value"].iloc[1] == pytest.approx(10 * stats.gmean([2.6, 2.8, 3.3, 3.4]))
    monkeypatch.setattr(ablation_path, "runs_frame", lambda sweep: (runs.assign(test_perplexity=math.nan), []))
    table = path_frame(walked)
    assert table is not None
    assert set(table["metric"]) == {"val_perplexity"}
