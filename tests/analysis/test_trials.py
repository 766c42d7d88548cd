"""The frames and figures of a search, from a trials.csv of known content. CPU, 8 s."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ablate.analysis import trials as t
from ablate.errors import UserError
from ablate.report import search_plots as plots
from ablate.report.search import write_search

SPACE = {
    "lr": {"kind": "float", "low": 0.01, "high": 10.0, "step": None, "log": True},
    "num_hiddens": {"kind": "choice", "choices": [8, 16, 32]},
    "layers": {"kind": "int", "low": 1, "high": 3, "step": 1, "log": False},
    "clip": {"kind": "choice", "choices": [None, 1]},
    "dropout": {"kind": "float", "low": 0.0, "high": 0.5, "step": None, "log": False, "conditions": {"layers": [2, 3]}},
}


def made_up(count: int = 60) -> pd.DataFrame:
    """lr decides nearly all, with its optimum at 1; num_hiddens a little; the rest nothing."""
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2026-01-01T00:00:00")
    rows = []
    for number in range(count):
        lr, hidden = 10 ** rng.uniform(-2, 1), int(rng.choice([8, 16, 32]))
        layers = int(rng.integers(1, 4))
        value = 8 + 3 * np.log10(lr) ** 2 + 4 / hidden + rng.normal(0, 0.02)
        state = (
            "diverged" if number % 20 == 19 else "pruned" if number % 10 == 8 else "dropped" if number % 3 else "done"
        )
        began = start + pd.Timedelta(seconds=5 * (number // 2))
        rows.append(
            {
                "number": number,
                "state": state,
                "lr": lr,
                "num_hiddens": hidden,
                "layers": layers,
                "clip": rng.choice(["null", "1"]),
                "dropout": rng.uniform(0, 0.5) if layers > 1 else None,
                "val_perplexity": np.inf if state == "diverged" else value,
                "n": 2,
                "last_epoch": None,
                "started": began.isoformat(),
                "ended": (began + pd.Timedelta(seconds=7)).isoformat(),
                "worker": f"process {number % 2}",
                "cell_id": str(number),
                "duplicate_of": None,
                "again": None,
                "reason": None,
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made_up().to_csv(tmp_path / "trials.csv", index=False)
    return tmp_path


@pytest.fixture
def frame(folder: Path) -> pd.DataFrame:
    return t.trials_frame(folder)


def test_null_is_a_choice_and_empty_is_none(frame: pd.DataFrame) -> None:
    assert set(frame["clip"]) == {"null", "1"}
    assert (frame["dropout"].isna() == (frame["layers"] == 1)).all()
    assert frame["started"].dtype.kind == "M"


def test_history_holds_the_best_of_whole_configurations(frame: pd.DataFrame) -> None:
    history = t.history(frame, "val_perplexity")
    assert not (history["state"] == "diverged").any()
    best = np.inf
    for row in history.itertuples():
        best = min(best, row.value) if row.state == "done" else best
        assert row.best == pytest.approx(best)
    higher = t.history(frame, "val_perplexity", "higher")
    assert higher["best"].is_monotonic_increasing


def test_timeline_starts_at_zero_and_numbers_the_processes(frame: pd.DataFrame) -> None:
    timeline = t.timeline(frame)
    assert timeline["begin_s"].min() == 0
    assert set(timeline["worker"]) == {1, 2}
    assert (timeline["end_s"] - timeline["begin_s"]).to_list() == [7.0] * 60


def test_importance_names_its_evaluator_and_finds_the_knob_that_decides(frame: pd.DataFrame) -> None:
    importance = t.search_importance(frame, SPACE, "val_perplexity")
    names = set(importance["evaluator"])
    assert "PED-ANOVA" in names
    for (_, region), own in importance.groupby(["evaluator", "region"]):
        assert own["importance"].sum() == pytest.approx(1)
        if region == "whole space":
            assert own.sort_values("importance")["knob"].iloc[-1] == "lr"
            assert own["importance"].max() > 0.5
    assert set(importance["region"]) == {"whole space", "better half"}
    whole, half = (importance[importance["region"] == r]["n"].iloc[0] for r in ("whole space", "better half"))
    assert half == (whole + 1) // 2
    again = t.search_importance(frame, SPACE, "val_perplexity")
    pd.testing.assert_frame_equal(importance, again)


def test_importance_depends_on_the_range() -> None:
    """Where lr was searched near its optimum only, num_hiddens decides more."""
    frame = made_up(300)
    near = frame[frame["lr"].between(0.5, 2)]
    narrowed = t.narrow(near, SPACE)
    assert 0.5 <= narrowed["lr"]["low"] < narrowed["lr"]["high"] <= 2
    assert narrowed["num_hiddens"]["choices"] == [8, 16, 32]
    both = {
        name: t.search_importance(part, space, "val_perplexity").query("region == 'whole space'").set_index("knob")
        for name, part, space in (("wide", frame, SPACE), ("near", near, narrowed))
    }
    wide, close = (both[name].query("evaluator == 'PED-ANOVA'")["importance"] for name in ("wide", "near"))
    assert close["num_hiddens"] > wide["num_hiddens"]


def test_too_few_trials_have_no_importance(frame: pd.DataFrame) -> None:
    assert t.search_importance(frame.head(5), SPACE, "val_perplexity").empty


def test_choices_survive_the_table() -> None:
    table = pd.DataFrame({"x": [8.0, np.nan, 32.0]})
    assert [t.text(value) for value in table["x"].dropna()] == ["8", "32"]
    assert t.text(None) == "null"
    assert t.text("gru") == "gru"
    assert t.text(0.5) == "0.5"


def test_a_folder_without_a_search_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished search"):
        t.search_facts(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        t.trials_frame(tmp_path)


def test_every_figure_shows_its_trials(frame: pd.DataFrame) -> None:
    shown = frame[frame["state"].isin(t.VALUED)]
    history = plots.plot_history(t.history(frame, "val_perplexity"), "val_perplexity", "a search")
    assert sum(len(c.get_offsets()) for c in history.axes[0].collections) == (frame["state"] != "diverged").sum()
    slices = plots.plot_slices(frame, SPACE, "val_perplexity")
    assert [axis.get_xlabel() for axis in slices.axes] == list(SPACE)
    parallel = plots.plot_parallel(frame, SPACE, "val_perplexity")
    assert len([line for line in parallel.axes[0].lines if len(line.get_xdata()) == len(SPACE) + 1]) == len(shown)
    timeline = plots.plot_timeline(t.timeline(frame))
    assert len(timeline.axes[0].patches) == len(frame)
    importance = t.search_importance(frame, SPACE, "val_perplexity")
    assert len(plots.plot_importance(importance).axes) == importance["evaluator"].nunique()
    assert plots.plot_importance(importance.head(0)).axes
    speed = frame.assign(tokens_per_s=np.linspace(1000, 9000, len(frame)))
    front = plots.plot_front(speed, [1, 4, 7], ("val_perplexity", "tokens_per_s"))
    assert len(front.axes[0].lines[0].get_xdata()) == 3
    plt.close("all")


@pytest.mark.parametrize("objectives", [["val_perplexity"], ["val_perplexity", "tokens_per_s"]])
def test_the_report_of_a_search(folder: Path, objectives: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fresh = {"value": 7.5, "low": 7.0, "high": 8.0, "seeds": {"6": 7.5}}
    told = dict.fromkeys(objectives, 7.25)
    one: dict[str, Any] = {
        "number": 4,
        "values": {"lr": 1.0},
        "overrides": ["lr=1.0"],
        "in_the_search": told,
        "fresh": {"val_perplexity": fresh},
        "speed": None,
        "failure": None,
    }
    facts = {
        "study": "made-up",
        "space": SPACE,
        "settings": {"objectives": [{"name": n} for n in objectives]},
        "winner": one,
        "finalists": [one],
        "front": [one] if len(objectives) > 1 else [],
        "baseline": one | {"number": None, "overrides": []},
    }
    (folder / "search.json").write_text(json.dumps(facts))
    if len(objectives) > 1:
        made_up().assign(tokens_per_s=5000.0).to_csv(folder / "trials.csv", index=False)
    written = {path.name for path in write_search(folder)}
    kinds = ["history", "importance", "parallel", "slices"]
    several = len(objectives) > 1
    expected = {f"search-{kind}{f'-{name}' if several else ''}.png" for kind in kinds for name in objectives}
    assert written == expected | {"search-timeline.png"} | ({"search-front.png"} if several else set())
    assert all((folder / name).stat().st_size > 5000 for name in written)
    assert {"evaluator", "region"} <= set(pd.read_csv(folder / "importance.csv").columns)
    out = capsys.readouterr().out
    assert "7.5 (7 to 8)" in out
    assert "baseline" in out
