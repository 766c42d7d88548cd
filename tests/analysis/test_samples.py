"""Values by seed and by process, read from frames and timings made by hand. CPU, 1 s."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.analysis.samples import SPEED_COLUMNS, measured, samples, setting_losses, speed_samples, typical
from ablate.config.errors import UserError
from ablate.config.metrics import METRICS, Metric

Setting = Callable[..., pd.DataFrame]


def test_a_series_by_seed_for_each_setting(setting: Setting, together: Setting) -> None:
    runs = together(setting([3, None, 5], model="gru"), setting([7, 8], first_seed=2), setting([1], model="lstm"))
    runs.loc[runs["perplexity"] == 8, "perplexity"] = math.nan  # finished, but not measured
    by_setting = samples(runs.sample(frac=1, random_state=0), "perplexity")
    assert {name: dict(values.sort_index()) for name, values in by_setting.items()} == {
        "model=gru": {0: 3, 1: math.inf, 2: 5},
        "plain": {2: 7},
        "model=lstm": {0: 1},
    }


def test_a_metric_that_nobody_measured(setting: Setting, together: Setting) -> None:
    runs = together(setting([3, 4]), setting([3, None], model="gru")).assign(val_perplexity=None)
    by_setting = samples(runs, "val_perplexity")
    assert list(by_setting["plain"]) == []
    assert list(by_setting["model=gru"]) == [math.inf]
    with pytest.raises(UserError, match=r"'perplexty'; choose perplexity.*mean perplexity"):
        measured(runs, "perplexty")


def test_mean_logarithm_of_a_setting(setting: Setting, together: Setting) -> None:
    runs = together(
        setting([2, 8]),
        setting([3, None, 3], model="gru"),
        setting([3, None], model="lstm"),
        setting([None], model="rnn", lr=9.0),
        setting([5], lr=0.5).assign(perplexity=math.nan),
    )
    values = setting_losses(runs, "perplexity").set_index("setting_id")["value"]
    assert dict(values) == pytest.approx(
        {"plain": math.log(4), "model=gru": math.log(3), "model=lstm": math.inf, "model=rnn lr=9.0": math.inf}
    )


def test_mean_of_a_setting_of_what_may_be_0_lower_is_better(setting: Setting, together: Setting) -> None:
    runs = together(setting([0.0, 0.5]), setting([0.3, None, 0.5], model="gru"), setting([0.9, None], model="lstm"))
    values = setting_losses(runs, "accuracy").set_index("setting_id")["value"]
    assert dict(values) == pytest.approx({"plain": -0.25, "model=gru": -0.4, "model=lstm": math.inf})


def test_diverged_runs_of_what_is_better_when_higher(
    setting: Setting, together: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On logarithms, too, they are the worst, and not runs of which nothing was measured."""
    monkeypatch.setitem(METRICS.found, "snr", Metric("snr", "signal to noise", "higher"))
    runs = together(setting([2, 8]), setting([3, None, 3], model="gru"), setting([3, None], model="lstm"))
    values = setting_losses(runs.assign(snr=runs["perplexity"]), "snr").set_index("setting_id")["value"]
    assert dict(values) == pytest.approx({"plain": -math.log(4), "model=gru": -math.log(3), "model=lstm": math.inf})


def timing(setting_id: str, samples: list[tuple[int, float, str]], median: float | None = 1.0) -> dict[str, Any]:
    taken = [{"launch": launch, "tokens_per_s": value, "unclean": why} for launch, value, why in samples]
    summary = {"train": {"tokens_per_s": median}}
    one = {"setting_id": setting_id, "machine": "abc", "threads": 1, "config": {}}
    return one | {"samples": {"train": taken}, "summary": summary}


def test_a_row_per_process(tmp_path: Path) -> None:
    speed = tmp_path / "speed"
    speed.mkdir()
    first = timing("a", [(0, 10, ""), (1, 30, ""), (0, 12, ""), (0, 99, "busy"), (0, 20, ""), (1, 40, "")])
    for name, content in {
        "a-abc-1": first,
        "b-abc-1": timing("b", [(0, 10, "")], median=None),  # not to be believed as a whole
        "c": {"foreign": 1},
        "a-abc-1 (copy)": first,
    }.items():
        (speed / f"{name}.json").write_text(json.dumps(content))
    (speed / "d.json").write_text("{")
    common = {"setting_id": "a", "machine": "abc", "threads": 1, "engine": None, "measured_at": ""}
    assert speed_samples(tmp_path).to_dict("records") == [
        common | {"launch": 0, "tokens_per_s": 12},
        common | {"launch": 1, "tokens_per_s": 35},
    ]
    when = {"facts": {"engine": "eager"}, "measured_at": "2026-01-05"}
    (speed / "a-abc-1.json").write_text(json.dumps(first | when))
    assert set(speed_samples(tmp_path)[["engine", "measured_at"]].itertuples(index=False, name=None)) == {
        ("eager", "2026-01-05")
    }


def test_no_timings(tmp_path: Path) -> None:
    frame = speed_samples(tmp_path)
    assert frame.empty
    assert list(frame.columns) == list(SPEED_COLUMNS)


def test_of_a_metric_that_is_better_when_higher_a_diverged_run_is_below_any() -> None:
    runs = pd.DataFrame({"accuracy": [0.9, math.nan, 0.0], "status": ["ok", "diverged", "ok"]})
    assert measured(runs, "accuracy").tolist() == [0.9, -math.inf, 0.0]


def test_typical_values_are_geometric_where_there_are_ratios() -> None:
    values = pd.Series([20.0, 40.0, 80.0, math.inf])
    mean, low, high = typical(values, "tail_perplexity", 0.95)
    half = stats.t.ppf(0.975, 2) * math.log(2) / 3**0.5
    assert (mean, low, high) == pytest.approx((40, 40 * math.exp(-half), 40 * math.exp(half)))
    mean, low, high = typical(pd.Series([0.9, 1.0, 0.98]), "accuracy", 0.95)
    assert (mean, high) == (pytest.approx(0.96), 1)
    assert low == pytest.approx(0.96 - stats.t.ppf(0.975, 2) * np.std([0.9, 1.0, 0.98], ddof=1) / 3**0.5)
    assert typical(pd.Series([5.0]), "perplexity", 0.95) == pytest.approx((5, math.nan, math.nan), nan_ok=True)
    assert np.isnan(typical(pd.Series([math.inf]), "perplexity", 0.95)).all()
