"""What a plan says and keeps of its texts: which were used, and how much of them. CPU, 3 s."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.analysis.frames import runs_frame, swept_knobs
from ablate.config.composing import fallback_data
from ablate.config.identity import run_id, run_identity, setting_id, short_hash
from ablate.config.resolved import resolve
from ablate.config.schema import Config, to_dict
from ablate.data.corpora import as_used, load
from ablate.records import results
from ablate.sweeping.launch import run_sweep
from ablate.sweeping.plan import Plan, make_plan
from ablate.training.loop import train

Compose = Callable[..., Config]
SETTINGS = ("num_hiddens=4", "num_steps=5", "batch_size=4", "val_tokens=100", "epochs=1", "seeds=2", "prefixes=[]")


@pytest.fixture
def own(compose: Compose, tmp_path: Path) -> Compose:
    """A config on a file of 700 characters, under further overrides."""
    (tmp_path / "mine.txt").write_text("Grüße, élan! " * 53 + "Ende 123456", encoding="utf-8")
    path = f"data.path={tmp_path / 'mine.txt'}"
    return lambda *overrides: compose("data=text_file", path, *SETTINGS, *overrides)


def planned(folder: Path, *configs: Config) -> Plan:
    return make_plan(configs, folder / "results" / "x", fallback_data())


def test_what_is_used_of_a_file_of_ones_own_is_said(own: Compose, tmp_path: Path) -> None:
    (note,) = planned(tmp_path, own("max_tokens=300")).notes
    for fact in ("mine.txt", "700 characters", "data.cleaning=keep", "first 300", "next 100", "max_tokens=null"):
        assert fact in note
    assert "left out" not in note
    (note,) = planned(tmp_path, own("max_tokens=null", "val_tokens=0")).notes
    assert "first 700" in note
    assert "max_tokens=null" not in note
    (note,) = planned(tmp_path, own("max_tokens=200"), own("max_tokens=300")).notes
    assert "first 200 to 300" in note


def test_what_cleaning_leaves_out_is_said_letters_first(own: Compose, tmp_path: Path) -> None:
    (note,) = planned(tmp_path, own("data.cleaning=letters", "max_tokens=300")).notes
    left_out = 53 * len("üßé,!") + len("123456")
    assert f"{left_out} characters (ß é ü " in note
    assert "data.cleaning=keep" in note


def test_a_text_that_the_command_names_needs_no_word(compose: Compose, tmp_path: Path) -> None:
    assert planned(tmp_path, compose("data=python_docs", *SETTINGS)).notes == []
    (note,) = planned(tmp_path, compose("data=auto", *SETTINGS)).notes
    assert "python_docs" in note or "time_machine" in note


def test_pairs_of_ones_own(compose: Compose, tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_text("a b c\td e f\n" * 70, encoding="utf-8")
    config = compose("task=translation", "data=pair_file", f"data.path={tmp_path / 'mine.tsv'}", "task.pairs=64")
    (note,) = planned(tmp_path, config).notes
    for fact in ("mine.tsv", "70 pairs", "64"):
        assert fact in note


def test_a_large_vocabulary_is_warned_of(own: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("different" in line for line in planned(tmp_path, own()).warnings)
    monkeypatch.setattr("ablate.sweeping.texts.LARGE_VOCABULARY", 10)
    assert any("different chars" in line for line in planned(tmp_path, own()).warnings)


@pytest.mark.full
@pytest.mark.parametrize("values", [["600", "700"], ["900", "20000"], ["null", "5000"], ["600", "null", "601"]])
def test_what_there_is_to_train_on_is_one_setting(own: Compose, tmp_path: Path, values: list[str]) -> None:
    plan = planned(tmp_path, *(own(f"max_tokens={value}") for value in values))
    (setting,) = plan.settings
    assert setting.config.max_tokens == 600
    assert len({run.run_id for run in setting.runs}) == len(setting.runs) == 2
    numbers = [value for value in values if value not in ("600", "null")]
    if len(numbers) > 1:
        assert any(f"max_tokens={','.join(numbers)}" in line and "max_tokens=600" in line for line in plan.warnings)


def test_less_than_there_is_stays_what_was_typed(own: Compose, tmp_path: Path) -> None:
    plan = planned(tmp_path, own("max_tokens=599"), own("max_tokens=600"))
    assert [setting.config.max_tokens for setting in plan.settings] == [599, 600]
    assert not any("max_tokens" in line for line in plan.warnings)


def test_a_record_says_what_was_used(own: Compose) -> None:
    config = own("max_tokens=5000")
    record = train(config, load(config.data))
    assert record.config["max_tokens"] == record.identity["max_tokens"] == record.counts["train_tokens"] == 600


@pytest.mark.parametrize("typed", ["5000", "null"])
def test_runs_from_before_are_found_and_shown_as_what_they_are(own: Compose, tmp_path: Path, typed: str) -> None:
    """Their names and identities hold what was typed."""
    config = own(f"max_tokens={typed}", "seeds=1")
    corpus = load(config.data)
    asked = resolve(config)
    record = train(config, corpus)
    older = replace(
        record,
        run_id=run_id(asked, corpus.sha256),
        setting_id=setting_id(asked, corpus.sha256),
        identity=run_identity(asked, corpus.sha256),
        config=to_dict(asked),
    )
    assert older.run_id != record.run_id
    folder = tmp_path / "results" / "x"
    results.save(folder, older)
    (setting,) = planned(tmp_path, config).settings
    assert setting.missing == []
    assert [run.run_id for run in setting.runs] == [record.run_id]
    assert older.run_id in setting.runs[0].former
    frame, problems = runs_frame(folder)
    assert problems == []
    assert frame["run_id"].tolist() == [record.run_id]
    assert frame["max_tokens"].tolist() == [600]
    assert frame["setting_id"].tolist() == [record.setting_id] == [setting.setting_id]
    (setting,) = make_plan([config], tmp_path / "results" / "another", fallback_data()).settings
    assert [run.reused_from for run in setting.runs] == [folder]
    (setting,) = planned(tmp_path, config.but(fresh=True)).settings
    assert [run.run_id for run in setting.missing] == [record.run_id]
    run_sweep([config.but(fresh=True, results_dir=str(tmp_path / "results"), name="x")], "x", "")
    assert [path.stem for path in (folder / "runs").iterdir() if path.suffix == ".json"] == [record.run_id]
    assert runs_frame(folder)[1] == []


def test_what_is_no_text_is_left_alone(compose: Compose) -> None:
    config = resolve(compose("task=memory"))
    corpus = load(config.data)
    assert as_used(config, corpus) == config
    assert short_hash(run_identity(config, corpus.sha256)) == run_id(config, corpus.sha256)


def test_a_reused_run_bears_the_name_of_this_sweeps_file(
    own: Compose, tmp_path: Path, sweep: Callable[..., object]
) -> None:
    config = own("max_tokens=300")
    sweep([config], "first")
    other = tmp_path / "other.txt"
    other.write_bytes((tmp_path / "mine.txt").read_bytes())
    again = config.but(data=replace(config.data, path=str(other)))
    sweep([again], "second")
    frames = [runs_frame(tmp_path / "results" / name)[0] for name in ("first", "second")]
    assert [frame["corpus"].tolist() for frame in frames] == [["mine.txt"] * 2, ["other.txt"] * 2]
    assert set(frames[1]["reused_from"]) == {"first"}


def test_a_renamed_file_is_no_other_knob(own: Compose, tmp_path: Path) -> None:
    """Records under the name of before, in the same sweep."""
    config = own("max_tokens=300", "seeds=1")
    corpus = load(config.data)
    folder = tmp_path / "results" / "x"
    for seed, (name, started) in enumerate(
        [("b.txt", "2026-01-02T00:00:00+00:00"), ("a.txt", "2026-01-01T00:00:00+00:00")]
    ):
        record = train(config.but(seed=seed), replace(corpus, name=name))
        results.save(folder, replace(record, timing=record.timing | {"started": started}))
    frame, _ = runs_frame(folder)
    assert frame["corpus"].tolist() == ["b.txt", "b.txt"]
    assert swept_knobs(frame) == []
