"""The frames of a search, from a trials.csv of known content, and from a study. CPU, 6 s."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablate.analysis import trials as t
from ablate.analysis.study import stored_search
from ablate.errors import UserError
from tests.report.made_search import SPACE, made_up, write_search, write_study


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


def test_the_best_trial_had_all_its_seeds(frame: pd.DataFrame) -> None:
    best = t.best_trial(frame, "val_perplexity")
    assert best is not None
    assert best["state"] == "done"
    assert best["val_perplexity"] == frame.loc[frame["state"] == "done", "val_perplexity"].min()
    assert t.best_trial(frame[frame["state"] != "done"], "val_perplexity") is None


# --- where a search is stored ---------------------------------------------------------------------------


def test_a_folder_without_a_search_has_none(tmp_path: Path) -> None:
    assert not t.holds_search(tmp_path)
    assert stored_search(tmp_path) is None


@pytest.mark.parametrize("journal", [False, True])
def test_a_study_tells_the_same_as_its_table(tmp_path: Path, journal: bool) -> None:
    """Neither trials.csv nor search.json is there: the search is still under way, or was killed."""
    write_study(tmp_path / "found", made_up(12), journal=journal)
    search = stored_search(tmp_path / "found")
    assert search is not None
    assert (search.space, search.objectives, search.facts) == (SPACE, ["val_perplexity"], {})
    expected = made_up(12).set_index("number")
    found = search.trials.set_index("number")
    for name in ("state", "num_hiddens", "layers", "clip", "n", "cell_id"):
        assert found[name].astype(str).to_list() == expected[name].astype(str).to_list(), name
    assert found["lr"].to_numpy() == pytest.approx(expected["lr"].to_numpy())
    assert (found["dropout"].isna() == (expected["layers"] == 1)).all()
    told = expected["val_perplexity"].to_numpy()
    assert found["val_perplexity"].to_numpy(float) == pytest.approx(told)
    assert found.loc[expected["state"] == "pruned", "reason"].eq("pruned after epoch 20").all()


def test_the_newer_of_study_and_table_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    write_search(folder, made_up(20))
    write_study(folder, made_up(24))
    table, study = folder / "trials.csv", folder / "study.db"
    for newer, count in ((table, 20), (study, 24)):
        for path in (table, study):
            os.utime(path, (1000, 2000 if path is newer else 1000))
        search = stored_search(folder)
        assert search is not None
        assert len(search.trials) == count
        assert search.facts["winner"]["number"] == 4


def test_a_damaged_study_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("this is no database, but a text that is long enough to be looked at" * 20)
    with pytest.raises(UserError, match=r"the study .*study.db cannot be read: "):
        stored_search(tmp_path)
