"""The frames of a search, from a trials.csv of known content, and from a study. CPU, 6 s."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import FrozenTrial

from ablate.analysis import trials as t
from ablate.analysis.study import stored_search, trial_table
from ablate.config.errors import UserError
from tests.report.made_search import SPACE, made_up, write_search, write_study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made_up().to_csv(tmp_path / "trials.csv", index=False)
    return tmp_path


@pytest.fixture
def frame(folder: Path) -> pd.DataFrame:
    return t.trials_frame(folder, SPACE, ["val_perplexity"])[0]


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
    higher = t.history(frame.rename(columns={"val_perplexity": "accuracy"}), "accuracy")
    assert higher["best"].is_monotonic_increasing
    assert higher["best"].iloc[-1] == history.loc[history["state"] == "done", "value"].max()


def test_timeline_starts_at_zero_and_numbers_the_processes(frame: pd.DataFrame) -> None:
    timeline = t.timeline(frame)
    assert timeline["begin_s"].min() == 0
    assert set(timeline["worker"]) == {1, 2}
    assert (timeline["end_s"] - timeline["begin_s"]).to_list() == [7.0] * 60


@pytest.mark.full
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


@pytest.mark.full
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


def test_a_value_that_the_space_does_not_hold_is_told() -> None:
    space = {"num_hiddens": {"kind": "choice", "choices": [[8], 16]}}
    with pytest.raises(UserError, match="num_hiddens=8"):
        t.as_study(pd.DataFrame({"num_hiddens": [16, 8], "val_loss": [1.0, 2.0]}), space, "val_loss")


def test_choices_survive_the_table() -> None:
    table = pd.DataFrame({"x": [8.0, np.nan, 32.0]})
    assert [t.text(value) for value in table["x"].dropna()] == ["8", "32"]
    assert t.text(None) == "null"
    assert t.text("gru") == "gru"
    assert t.text(0.5) == "0.5"


def test_a_folder_without_a_search_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished search"):
        t.search_facts(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        t.trials_frame(tmp_path, SPACE, ["val_perplexity"])


def test_the_best_trial_had_all_its_seeds(frame: pd.DataFrame) -> None:
    best = t.best_trial(frame, "val_perplexity")
    assert best is not None
    assert best["state"] == "done"
    assert best["val_perplexity"] == frame.loc[frame["state"] == "done", "val_perplexity"].min()
    assert t.best_trial(frame[frame["state"] != "done"], "val_perplexity") is None


DAMAGED = {
    "3,done,1": "3 of 17 fields",
    "3": "1 of 17 fields",
    "3,done,1,8,1,1,,9,2,,2026-01-01T00:00:00,2026-01-01T00:00:07,p,3,,,,,": "19 of 17 fields",
    '3,"done,1,8,1,1,,9,2,,': "a quotation mark that is never closed",  # and not all that follows
    "x,done,1,8,1,1,,9,2,,2026-01-01T00:00:00,,p,3,,,": "number is 'x'",
    "1e300,done,1,8,1,1,,9,2,,2026-01-01T00:00:00,,p,3,,,": "number is '1e300'",
    "2,done,1,8,1,1,,9,2,,2026-01-01T00:00:00,,p,3,,,": "trial 2 a second time",
    "3,,1,8,1,1,,9,2,,2026-01-01T00:00:00,,p,3,,,": "no state",
    "3,done,zz,8,1,1,,9,2,,2026-01-01T00:00:00,,p,3,,,": "lr is 'zz'",
    "3,done,1,8,1.5,1,,9,2,,2026-01-01T00:00:00,,p,3,,,": "layers is '1.5'",
    "3,done,1,8,1,1,,9_0,2,,2026-01-01T00:00:00,,p,3,,,": "val_perplexity is '9_0'",
    "3,done,1,8,1,1,,9,2,,yesterday,,p,3,,,": "started is 'yesterday'",
    "3,done,1,8,1,1,,9,2,,2026-01-01T00:00:00,9999-01-01T00:00:00,p,3,,,": "ended is '9999",
    '3,done,1,8,1,1,,9,2,,2026-01-01T00:00:00,,p,3,,,"abc': "a quotation mark that is never closed",
    f"3,done,1,8,1,1,,9,2,,2026-01-01T00:00:00,,p,3,,,{'x' * 200_000}": "a field of more than 131072 characters",
    "3,done, ,8,1,1,,9,2,,2026-01-01T00:00:00,,p,3,,,": "lr is ' '",
    "3,done,1,8,1,1,,9,2,,2026-01-01T00:00:00,,p\udcff,3,,,": "not a text in UTF-8",
}


@pytest.mark.parametrize("row", DAMAGED)
def test_a_damaged_row_is_named_and_costs_no_other(tmp_path: Path, row: str) -> None:
    folder = write_search(tmp_path / "found", made_up(12))
    path = folder / "trials.csv"
    lines = path.read_text().split("\n")
    path.write_bytes("\n".join([*lines[:4], row, *lines[5:]]).encode(errors="surrogateescape"))
    search = stored_search(folder)
    assert search is not None
    assert search.trials["number"].to_list() == [number for number in range(12) if number != 3]
    assert search.trials["val_perplexity"].dtype.kind == "f"
    [said] = search.skipped
    assert f"trials.csv, line 5: {DAMAGED[row]}" in said


HEADER = "number,state,n,started,ended,worker,reason"
OPEN = "a quotation mark that is never closed"


@pytest.mark.parametrize(
    ("rows", "reasons", "damaged"),
    [
        (['0,done,1,,,p,"abc', "1,done,1,,,p,", "2,done,1,,,p,x"], {1: "", 2: "x"}, 2),
        (["0,done,1,,,p,", '1,done,1,,,p,"abc', "2,done,1,,,p,x"], {0: "", 2: "x"}, 3),
        (["0,done,1,,,p,", "1,done,1,,,p,x", '2,done,1,,,p,"abc'], {0: "", 1: "x"}, 4),
        (['0,done,1,,,p,"abc', "1,done,1,,,p,", '2,done,1,,,p,"a\nb"'], {1: "", 2: "a\nb"}, 2),
        (['0,done,1,,,p,"abc', '1,done,1,,,p,"a\nb"', "2,done,1,,,p,x"], {1: "a\nb", 2: "x"}, 2),
        (['0,done,1,,,p,"a\n1,2\n\nx"', "1,done,1,,,p,x"], {0: "a\n1,2\n\nx", 1: "x"}, 0),
        (['0,done,1,,,p,"a\rb"', "1,done,1,,,p,x"], {0: "a\rb", 1: "x"}, 0),
    ],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_an_open_quotation_mark_costs_its_own_line(
    rows: list[str], reasons: dict[int, str], damaged: int, end: str
) -> None:
    frame, problems = t.read_table("\n".join([HEADER, *rows]) + end, {}, [])
    assert dict(zip(frame["number"], frame["reason"].fillna(""), strict=True)) == reasons
    assert problems == ([f"line {damaged}: {OPEN}"] if damaged else [])
    with pytest.raises(ValueError, match=f"first line has {OPEN}"):
        t.read_table("\n".join([HEADER.replace("reason", '"reason'), *rows]) + end, {}, [])


def test_a_table_of_trials_has_the_types_that_pandas_finds_and_spaces_do_not_count() -> None:
    text = "number,state,n,started,ended,worker,a,b,c,d,v\n 0,done, 1,,,p,x,True, 2,, 1.5\n1 ,done,,,,,,False,3,, inf\n"
    space = {"c": {"kind": "int"}}
    frame, problems = t.read_table(text, space, ["v"])
    assert not problems
    assert {name: frame[name].dtype.kind for name in "abcdv"} == dict(zip("abcdv", "Obiff", strict=True))
    assert frame["number"].to_list() == [0, 1]
    assert frame["v"].to_list() == [1.5, math.inf]
    assert frame["a"].isna().to_list() == [False, True]
    assert frame["d"].isna().all()


def test_a_table_of_damaged_rows_alone_has_none(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "found", made_up(12))
    path = folder / "trials.csv"
    path.write_text(path.read_text().split("\n")[0] + "\nx\n")
    search = stored_search(folder)
    assert search is not None
    assert len(search.trials) == 0
    assert t.search_importance(search.trials, search.space, "val_perplexity").empty


def test_a_table_without_a_knob_is_told_without_it(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "found", made_up(12))
    made_up(12).drop(columns=["lr", "reason"]).to_csv(folder / "trials.csv", index=False)
    search = stored_search(folder)
    assert search is not None
    assert list(search.space) == [name for name in SPACE if name != "lr"]
    assert search.skipped == [f"{folder / 'trials.csv'} lacks the column lr"]


@pytest.mark.full
def test_a_damaged_trial_of_a_study_is_named_and_costs_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    write_study(folder, made_up(12), journal=True)
    path = folder / "study.journal"
    lines = path.read_text().split("\n")
    place = next(place for place, line in enumerate(lines) if '"user_attrs":{"key"' in line)
    lines[place] = lines[place].replace('"user_attrs":{', '"user_attrs":{"metrics":5,')
    path.write_text("\n".join(lines))
    search = stored_search(folder)
    assert search is not None
    assert len(search.trials) == 11
    [said] = search.skipped
    assert said.endswith("metrics is not as a search writes it")


# --- where a search is stored ---------------------------------------------------------------------------


def test_a_folder_without_a_search_has_none(tmp_path: Path) -> None:
    assert stored_search(tmp_path) is None


@pytest.mark.full
@pytest.mark.parametrize("journal", [False, True])
def test_a_study_tells_the_same_as_its_table(tmp_path: Path, journal: bool) -> None:
    """Neither trials.csv nor search.json is there: the search is still under way, or was killed."""
    write_study(tmp_path / "found", made_up(12), journal=journal)
    search = stored_search(tmp_path / "found")
    assert search is not None
    assert (search.space, search.objectives, search.facts) == (SPACE, ["val_perplexity"], {})
    expected = made_up(12).set_index("number")
    found = search.trials.set_index("number")
    for name in ("state", "num_hiddens", "layers", "clip", "n", "setting_id"):
        assert found[name].astype(str).to_list() == expected[name].astype(str).to_list(), name
    assert found["lr"].to_numpy() == pytest.approx(expected["lr"].to_numpy())
    assert (found["dropout"].isna() == (expected["layers"] == 1)).all()
    told = expected["val_perplexity"].to_numpy()
    assert found["val_perplexity"].to_numpy(float) == pytest.approx(told)
    assert found.loc[expected["state"] == "pruned", "reason"].eq("pruned after epoch 20").all()


@pytest.mark.full
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


@pytest.mark.full
def test_a_damaged_study_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("this is no database, but a text that is long enough to be looked at" * 20)
    with pytest.raises(UserError, match=r"the study .*study.db cannot be read: "):
        stored_search(tmp_path)


# --- moments and durations ------------------------------------------------------------------------------


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Move this process to a time zone."""

    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


def stamped(number: int, started: str, ended: str, **attributes: Any) -> FrozenTrial:
    """A told trial whose stamps by Optuna are these local times."""
    trial = optuna.create_trial(value=1.0, user_attrs=attributes)
    trial.number = number
    trial.datetime_start, trial.datetime_complete = map(datetime.fromisoformat, (started, ended))
    return trial


def table_of(*trials: FrozenTrial) -> pd.DataFrame:
    return t.read_table(trial_table(trials, [], ["val_perplexity"]), {}, ["val_perplexity"])[0]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati"])
def test_moments_are_those_that_the_search_stamped(zone: str, in_zone: Callable[[str], None]) -> None:
    """Clocks went back in Berlin at 01:00 UTC; the second trial was asked by a process in another zone."""
    in_zone(zone)
    first = {"began_at": "2026-10-25T00:59:58.000+00:00", "ended_at": "2026-10-25T01:00:03.500+00:00", "seconds": 5.5}
    second = {"began_at": "2026-10-25T01:00:00.000+00:00", "ended_at": "2026-10-25T01:00:02.000+00:00"}
    frame = table_of(
        stamped(0, "2026-10-25T02:59:58", "2026-10-25T02:00:03.500", **first),
        stamped(1, "2026-10-24T20:00:00", "2026-10-24T20:00:02", **second),
    )
    assert [str(moment) for moment in frame["started"]] == ["2026-10-25 00:59:58+00:00", "2026-10-25 01:00:00+00:00"]
    assert frame["seconds"].to_list() == [5.5, 2.0]
    timeline = t.timeline(frame)
    assert timeline["number"].to_list() == [0, 1]
    assert timeline["begin_s"].to_list() == [0.0, 2.0]
    assert timeline["end_s"].to_list() == [5.5, 4.0]


def test_an_older_study_has_no_negative_time(in_zone: Callable[[str], None]) -> None:
    """Its stamps are local times: 02:59:58 came before 02:00:03 when clocks went back."""
    in_zone("Europe/Berlin")
    frame = table_of(
        stamped(0, "2026-10-25T02:59:58", "2026-10-25T02:00:03", seconds=5.1),
        stamped(1, "2026-10-25T02:59:59", "2026-10-25T02:00:03"),
        stamped(2, "2026-07-01T12:00:00", "2026-07-01T12:00:07"),
    )
    assert frame["seconds"].to_list() == [5.1, 0.0, 7.0]
    assert (frame["ended"] >= frame["started"]).all()
    assert str(frame["started"].iloc[2]) == "2026-07-01 10:00:00+00:00"


def test_an_older_table_stays_as_it_is(tmp_path: Path) -> None:
    old = made_up(3)
    old.loc[1, "ended"] = "2025-12-31T23:00:05"
    frame, problems = t.read_table(old.to_csv(index=False), SPACE, ["val_perplexity"])
    assert not problems
    assert frame["started"].dt.tz is None
    assert frame["seconds"].to_list() == [7.0, pytest.approx(math.nan, nan_ok=True), 7.0]
    timeline = t.timeline(frame)
    assert (timeline["end_s"] >= timeline["begin_s"]).all()


# --- where nothing differs ------------------------------------------------------------------------------

HALF = {"kind": "float", "low": 0.0, "high": 1.0, "step": None, "log": False}


def tried(values: Sequence[float], **columns: Sequence[float]) -> pd.DataFrame:
    """Finished trials with these values; of the knobs a and b, where not given, each trial has its own."""
    n = len(values)
    usual = {"a": np.linspace(0.1, 0.9, n), "b": np.linspace(0.8, 0.2, n)}
    facts = {"number": range(n), "state": ["done" if np.isfinite(v) else "diverged" for v in values]}
    return pd.DataFrame(facts | usual | {"val_perplexity": values} | columns)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([28.77] * 9, "no trial differs from the others"),
        ([28.77 * (1 + 1e-9 * k) for k in range(9)], "no trial differs from the others"),
        ([28.77] * 8 + [9.0], "8 of 9 trials have the same value"),
        ([9.0] * 8 + [28.77], "8 of 9 trials have the same value"),
        ([9.0, 8.0], "2 trials have a value, fewer than 8"),
        ([9.0, 9.0], "no trial differs from the others"),
        ([9.0] + [math.inf] * 9, "one trial has a value"),
        ([math.inf] * 9, "no trial has a value"),
        ([0.0] * 12, "no trial differs from the others"),
    ],
)
def test_values_that_tell_nothing_have_no_importance(values: list[float], why: str) -> None:
    frame = tried(values)
    assert t.no_importance(frame, "val_perplexity") == why
    assert t.search_importance(frame, {"a": HALF, "b": HALF}, "val_perplexity").empty
    finite = [value for value in values if np.isfinite(value)]
    best = t.best_trial(frame, "val_perplexity")
    if not finite or (len(finite) > 1 and len(t.distinct(finite)) == 1):
        assert best is None
    else:
        assert best is not None
        assert best["val_perplexity"] == min(finite)


@pytest.mark.full
def test_a_knob_with_one_value_left_has_no_importance() -> None:
    frame = tried([9 - 0.1 * k + 0.01 * (k % 3) for k in range(16)], b=[0.5] * 16)
    table = t.search_importance(frame, {"a": HALF, "b": HALF}, "val_perplexity")
    assert set(table["knob"]) == {"a"}
    assert t.search_importance(frame, {"b": HALF}, "val_perplexity").empty


def test_one_constant_objective_of_two_has_no_importance() -> None:
    frame = tried([9 - 0.1 * k for k in range(16)], tokens_per_s=[1e5] * 16)
    assert not t.search_importance(frame, {"a": HALF, "b": HALF}, "val_perplexity").empty
    assert t.search_importance(frame, {"a": HALF, "b": HALF}, "tokens_per_s").empty


@pytest.mark.full
@pytest.mark.parametrize(("objective", "knob"), [("accuracy", "a"), ("val_perplexity", "b")])
def test_what_is_important_decides_which_trials_are_the_best(objective: str, knob: str) -> None:
    """Here a decides which values are the highest, and b which are the lowest."""
    a, b, middle = np.random.default_rng(0).uniform(0, 1, (3, 200))
    values = np.select([a > 0.85, b < 0.15], [3 + middle, 1 - middle], 2 + middle / 10)
    frame = tried(values.tolist(), a=a, b=b).rename(columns={"val_perplexity": objective})
    table = t.search_importance(frame, {"a": HALF, "b": HALF}, objective)
    whole = table[(table["region"] == "whole space") & (table["evaluator"] == "PED-ANOVA")]
    assert whole.sort_values("importance")["knob"].iloc[-1] == knob


@pytest.mark.full
def test_the_better_half_of_an_accuracy_is_the_higher_one() -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 1, 40)
    frame = tried(list(1 - a), a=a, b=rng.uniform(0, 1, 40)).rename(columns={"val_perplexity": "accuracy"})
    table = t.search_importance(frame, {"a": HALF, "b": HALF}, "accuracy")
    whole = table[(table["region"] == "whole space") & (table["evaluator"] == "PED-ANOVA")]
    assert whole.sort_values("importance")["knob"].iloc[-1] == "a"
    best = t.best_trial(frame, "accuracy")
    assert best is not None
    assert best["a"] == a.min()
