"""Records on disk: whole or absent, and each run once. CPU, 1 s."""

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ablate.analysis.frames import runs_frame
from ablate.config.errors import StorageError
from ablate.config.identity import PROTOCOL
from ablate.config.schema import Config
from ablate.records import results
from ablate.records.compaction import compact
from ablate.records.neighbours import Neighbours
from ablate.records.places import curve_path, record_path
from ablate.records.reading import RecordError
from ablate.records.record import SCHEMA, NewerRecord, Record
from ablate.sweeping.plan import make_plan


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.full
def test_a_record_comes_back_as_it_was(tmp_path: Path, trained: Record) -> None:
    results.save(tmp_path, trained)
    expected = json.loads(json.dumps(asdict(trained)))
    curve = expected.pop("curve")
    assert results.load(record_path(tmp_path, trained.run_id)) == expected
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
    text = record_path(tmp_path, trained.run_id).read_text()
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
    with pytest.raises(OSError, match="disk is full"):
        results.save(tmp_path, trained)
    assert not results.finished(tmp_path, trained.run_id)
    assert files(tmp_path) == ({f"curves/{trained.run_id}.csv"} if moves else set())


@pytest.mark.parametrize("damage", ["cut", "empty", "list", "foreign", "binary", "no curve", "protocol", "status"])
def test_a_damaged_or_foreign_record_is_not_finished(tmp_path: Path, trained: Record, damage: str) -> None:
    results.save(tmp_path, trained)
    path = record_path(tmp_path, trained.run_id)
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
            curve_path(tmp_path, trained.run_id).unlink()
        case "protocol":
            path.write_text(json.dumps(record | {"protocol": PROTOCOL + 1}))
        case "status":
            path.write_text(json.dumps(record | {"status": "running"}))
    assert not results.finished(tmp_path, trained.run_id)
    if damage not in ("no curve", "protocol"):
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


@pytest.mark.parametrize("name", ["copy", "{id} (conflicted copy 2026-11-28)", "{id}.sync-conflict", "{id}-1"])
def test_a_copied_record_is_not_another_seed(tmp_path: Path, trained: Record, name: str) -> None:
    results.save(tmp_path / "a", trained)
    results.save(tmp_path / "a", replace(trained, run_id="0" * 12, seed=1))
    before, _ = runs_frame(tmp_path / "a")
    path = record_path(tmp_path / "a", trained.run_id)
    copied = path.with_name(f"{name.format(id=trained.run_id)}.json")
    shutil.copyfile(path, copied)
    after, [problem] = runs_frame(tmp_path / "a")
    assert list(after["run_id"]) == list(before["run_id"])
    assert str(copied) in problem
    assert trained.run_id in problem
    assert Neighbours(tmp_path / "b").find(copied.stem) is None


def test_a_setting_has_each_seed_once(tmp_path: Path, trained: Record) -> None:
    """However a second record of the same seed came here, under a name of its own."""
    results.save(tmp_path, trained)
    results.save(tmp_path, replace(trained, run_id="f" * 12))
    frame, [problem] = runs_frame(tmp_path)
    assert not frame.duplicated(["setting_id", "seed"]).any()
    assert len(frame) == 1
    assert "f" * 12 in problem


@pytest.mark.parametrize(("field", "ours"), [("protocol", PROTOCOL), ("schema", SCHEMA)])
def test_a_record_of_a_later_version_is_not_overwritten(
    tmp_path: Path, trained: Record, small: Callable[..., Config], field: str, ours: int
) -> None:
    results.save(tmp_path / "a", trained)
    path = record_path(tmp_path / "a", trained.run_id)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: ours + 1}))
    before = path.read_bytes()
    assert not results.finished(tmp_path / "a", trained.run_id)
    assert Neighbours(tmp_path / "b").find(trained.run_id) is None
    config = small("model=gru", "epochs=25", "engine=torch_nn")
    for attempt in (
        lambda: results.save(tmp_path / "a", trained),
        lambda: make_plan([config], tmp_path / "a", config.data),
        lambda: make_plan([config.but(fresh=True)], tmp_path / "a", config.data),
    ):
        with pytest.raises(NewerRecord) as caught:
            attempt()
        for part in (str(path), str(ours + 1), "upgrade", "name="):
            assert part in str(caught.value)
    assert path.read_bytes() == before


def test_a_record_of_an_earlier_version_is_trained_again(tmp_path: Path, trained: Record) -> None:
    results.save(tmp_path, replace(trained, protocol=PROTOCOL - 1))
    assert not results.finished(tmp_path, trained.run_id)
    results.save(tmp_path, trained)
    assert results.finished(tmp_path, trained.run_id)


def test_a_folder_that_cannot_be_listed_is_an_error_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one's own sweep: no finished run would be a wrong answer."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    (tmp_path / "runs").mkdir()
    with pytest.raises(StorageError, match="permission denied"):
        list(results.records(tmp_path))


def test_a_few_runs_of_a_sweep_in_either_form(tmp_path: Path, trained: Record) -> None:
    """Those in runs.parquet, one that is a file of its own, which counts, and none that there is not."""
    ids = [f"{k:012x}" for k in range(5)]
    for k, run_id in enumerate(ids):
        results.save(tmp_path, replace(trained, run_id=run_id, seed=k))
    compact(tmp_path)
    results.save(tmp_path, replace(trained, run_id=ids[1], seed=1, status="diverged"))
    found = results.read_some(tmp_path, [ids[3], "f" * 12, ids[1], ids[0]])
    assert found == {run_id: results.read(tmp_path, run_id) for run_id in (ids[3], ids[1], ids[0])}
    assert [record["status"] for record in found.values()] == ["ok", "diverged", "ok"]
