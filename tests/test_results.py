"""Records on disk: whole or absent, found again, reused with their origin named. CPU, 1 s."""

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ablate import results
from ablate.analysis.frames import runs_frame
from ablate.config import Config, to_dict
from ablate.data.corpora import Corpus
from ablate.identity import PROTOCOL
from ablate.results import Record, RecordError
from ablate.training import train


@pytest.fixture(scope="module")
def trained(small: Callable[..., Config], corpus: Corpus) -> Record:
    """A real record, to be left as it is."""
    return train(small("model=gru", "epochs=25", "engine=api"), corpus)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_record_comes_back_as_it_was(tmp_path: Path, trained: Record) -> None:
    results.save(tmp_path, trained)
    expected = json.loads(json.dumps(asdict(trained)))
    curve = expected.pop("curve")
    assert results.load(results.record_path(tmp_path, trained.run_id)) == expected
    stored = results.load_curve(tmp_path, trained.run_id)
    assert stored.keys() == curve.keys()
    for name, values in curve.items():
        assert [value is None for value in stored[name]] == [value is None for value in values]
        known = [value for value in values if value is not None]
        assert [value for value in stored[name] if value is not None] == pytest.approx(known, rel=1e-6)
    assert results.finished(tmp_path, trained.run_id)
    assert files(tmp_path) == {f"runs/{trained.run_id}.json", f"curves/{trained.run_id}.csv"}


def test_what_is_not_finite_is_null(tmp_path: Path, trained: Record) -> None:
    metrics = {"perplexity": math.inf, "tail_perplexity": math.nan, "best_perplexity": 1.5}
    results.save(tmp_path, replace(trained, metrics=metrics))
    text = results.record_path(tmp_path, trained.run_id).read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["metrics"] == {"perplexity": None, "tail_perplexity": None, "best_perplexity": 1.5}


@pytest.mark.parametrize("moves", [0, 1])
def test_a_save_that_is_cut_short_leaves_no_finished_run(
    tmp_path: Path, trained: Record, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    """The disk fills up before the first file, or between the curve and the record, is moved into place."""
    done, move = [], os.replace

    def fail(source: Path, target: Path) -> None:
        if len(done) == moves:
            raise OSError(28, "No space left on device")
        done.append(target)
        move(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        results.save(tmp_path, trained)
    assert not results.finished(tmp_path, trained.run_id)
    assert files(tmp_path) == ({f"curves/{trained.run_id}.csv"} if moves else set())


@pytest.mark.parametrize("damage", ["cut", "empty", "list", "foreign", "binary", "no curve", "protocol", "status"])
def test_a_damaged_or_foreign_record_is_not_finished(tmp_path: Path, trained: Record, damage: str) -> None:
    results.save(tmp_path, trained)
    path = results.record_path(tmp_path, trained.run_id)
    text = path.read_text()
    record = json.loads(text)
    match damage:
        case "cut":
            path.write_text(text[: len(text) // 2])
        case "empty":
            path.write_text("")
        case "list":
            path.write_text("[1, 2]")
        case "foreign":
            path.write_text('{"a": 1}')
        case "binary":
            path.write_bytes(b"\xff\xfe\0")
        case "no curve":
            results.curve_path(tmp_path, trained.run_id).unlink()
        case "protocol":
            path.write_text(json.dumps(record | {"protocol": PROTOCOL + 1}))
        case "status":
            path.write_text(json.dumps(record | {"status": "running"}))
    assert not results.finished(tmp_path, trained.run_id)
    if damage not in ("no curve", "protocol", "status"):
        with pytest.raises(RecordError) as caught:
            results.load(path)
        assert str(path) in str(caught.value)
        [problem] = results.records(tmp_path)
        assert isinstance(problem, RecordError)


def test_a_missing_record_is_not_finished(tmp_path: Path) -> None:
    assert not results.finished(tmp_path, "0" * 12)
    assert not results.finished(tmp_path / "nowhere", "0" * 12)
    assert list(results.records(tmp_path)) == []
    with pytest.raises(RecordError):
        results.load_curve(tmp_path, "0" * 12)


WINDOWED = {
    "task": ({"name": "fill_in", "masked": 0.15}, False),
    "bidirectional": ({"name": "language_model", "masked": 0.15}, True),
}


@pytest.mark.parametrize("kind", WINDOWED)
@pytest.mark.parametrize(("num_steps", "val_tokens", "same"), [(35, 100, True), (20, 100, False), (50, 20, True)])
def test_runs_measured_in_windows_of_their_own_length_are_not_taken_for_todays(
    tmp_path: Path, trained: Record, kind: str, num_steps: int, val_tokens: int, same: bool
) -> None:
    """Records older than the field `evaluation`; those whose windows were the ones of today stay good."""
    results.save(tmp_path / "other", trained)
    path = results.record_path(tmp_path / "other", trained.run_id)
    record = results.load(path)
    task, bidirectional = WINDOWED[kind]
    record["config"] |= {"task": task, "num_steps": num_steps, "val_tokens": val_tokens}
    record["config"]["model"]["bidirectional"] = bidirectional
    del record["evaluation"]
    results.write_json(path, record)
    assert results.finished(tmp_path / "other", trained.run_id) is same
    assert (results.find_elsewhere(tmp_path / "new", trained.run_id) is not None) is same
    frame, problems = runs_frame(tmp_path / "other")
    assert len(frame) == same
    if not same:
        assert len(problems) == 1
        assert "windows of 20 tokens" in problems[0]
        assert "windows of 35 tokens" in problems[0]


def test_a_masked_share_of_its_own_is_another_measurement(tmp_path: Path, trained: Record) -> None:
    record = asdict(trained)
    record["config"] = record["config"] | {"task": {"name": "fill_in", "masked": 0.5}, "num_steps": 35}
    del record["evaluation"]
    assert "0.5" in results.outdated(record)


def test_old_records_of_plain_language_models_stay_good(trained: Record) -> None:
    record = asdict(trained)
    assert record.pop("evaluation")
    assert results.outdated(record) == ""
    del record["config"]["task"]
    del record["config"]["model"]["bidirectional"]
    assert results.outdated(record) == ""


def test_a_run_is_found_in_a_sibling_only(tmp_path: Path, trained: Record) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "LOG.md").write_text("not a sweep")
    assert results.find_elsewhere(tmp_path / "a", trained.run_id) is None
    results.save(tmp_path / "a", trained)
    assert results.find_elsewhere(tmp_path / "a", trained.run_id) is None
    assert results.find_elsewhere(tmp_path / "b", trained.run_id) == tmp_path / "a"
    assert results.find_elsewhere(tmp_path / "not there yet", trained.run_id) == tmp_path / "a"
    assert results.find_elsewhere(tmp_path / "nowhere" / "x", trained.run_id) is None
    results.record_path(tmp_path / "a", trained.run_id).write_text("damaged")
    assert results.find_elsewhere(tmp_path / "b", trained.run_id) is None


def test_a_reused_run_names_where_it_was_trained(tmp_path: Path, trained: Record, small: Callable[..., Config]) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    results.save(first, trained)
    before = results.load(results.record_path(first, trained.run_id))
    asked = to_dict(small("model=gru", "epochs=25", "name=second"))
    results.reuse(second, first, trained.run_id, asked)
    results.reuse(third, second, trained.run_id, asked | {"name": "third"})
    assert results.load(results.record_path(first, trained.run_id)) == before
    for folder in (second, third):
        record = results.load(results.record_path(folder, trained.run_id))
        assert record["reused_from"] == "first"
        assert record["config"]["name"] == folder.name
        changed = {key for key in record if record[key] != before[key]}
        assert changed == {"reused_from", "config"}
        assert results.finished(folder, trained.run_id)


def test_a_folder_stands_by_itself(tmp_path: Path, trained: Record, small: Callable[..., Config]) -> None:
    results.save(tmp_path / "results" / "first", trained)
    second = tmp_path / "results" / "second"
    results.reuse(second, tmp_path / "results" / "first", trained.run_id, to_dict(small("model=gru")))
    shutil.copytree(second, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "results")
    assert results.finished(tmp_path / "elsewhere", trained.run_id)
    assert len(results.load_curve(tmp_path / "elsewhere", trained.run_id)["epoch"]) == 25


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"commands": []}'])
def test_a_manifest_that_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        results.manifest_path(tmp_path).write_text(content)
    with pytest.raises(RecordError) as caught:
        results.load_manifest(tmp_path)
    assert str(results.manifest_path(tmp_path)) in str(caught.value)
