"""Records on disk: whole or absent, found again, reused with their origin named. CPU, 1 s."""

import copy
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ablate.analysis.frames import runs_frame
from ablate.config.errors import StorageError
from ablate.config.identity import PROTOCOL
from ablate.config.schema import Config, to_dict
from ablate.data.corpora import Corpus
from ablate.records import results
from ablate.records import timings as stored_timings
from ablate.records.files import write_json
from ablate.records.neighbours import Neighbours, reuse
from ablate.records.results import Record, RecordError
from ablate.sweeping.plan import make_plan
from ablate.training.loop import train


@pytest.fixture(scope="module")
def trained(small: Callable[..., Config], corpus: Corpus) -> Record:
    """A real record, to be left as it is."""
    return train(small("model=gru", "epochs=25", "engine=torch_nn"), corpus)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.full
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
    with pytest.raises(OSError, match="disk is full"):
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
    write_json(path, record)
    assert results.finished(tmp_path / "other", trained.run_id) is same
    assert (find(tmp_path / "new", trained.run_id) is not None) is same
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


def find(sweep: Path, run_id: str, asked_before: int = 0) -> Path | None:
    """As a plan looks: for few runs at the files, for many in a list of each folder."""
    neighbours = Neighbours(sweep)
    for number in range(asked_before):
        assert neighbours.find(f"{number:012}") is None
    found = neighbours.find(run_id)
    assert neighbours.warning() == []
    return found


@pytest.mark.parametrize("asked_before", [0, Neighbours.FEW])
def test_a_run_is_found_in_a_sibling_only(tmp_path: Path, trained: Record, asked_before: int) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "LOG.md").write_text("not a sweep")
    assert find(tmp_path / "a", trained.run_id, asked_before) is None
    results.save(tmp_path / "a", trained)
    assert find(tmp_path / "a", trained.run_id, asked_before) is None
    assert find(tmp_path / "b", trained.run_id, asked_before) == tmp_path / "a"
    assert find(tmp_path / "not there yet", trained.run_id, asked_before) == tmp_path / "a"
    assert find(tmp_path / "nowhere" / "x", trained.run_id, asked_before) is None
    results.record_path(tmp_path / "a", trained.run_id).write_text("damaged")
    assert find(tmp_path / "b", trained.run_id, asked_before) is None


@pytest.mark.parametrize("asked_before", [0, Neighbours.FEW])
@pytest.mark.parametrize("locked", ["folder", "record", "curve"])
def test_a_neighbour_that_cannot_be_read_costs_one_line(
    tmp_path: Path, trained: Record, monkeypatch: pytest.MonkeyPatch, locked: str, asked_before: int
) -> None:
    """Root may read everything, so the system's answers to anybody else are given here."""
    theirs = tmp_path / "a"
    for name in ("a", "b", "c"):
        results.save(tmp_path / name, trained)
    shut = {
        "folder": theirs,
        "record": results.record_path(theirs, trained.run_id),
        "curve": results.curve_path(theirs, trained.run_id),
    }[locked]
    may_not_be_seen = [theirs / name for name in ("runs", "curves")] if locked == "folder" else []
    plain = {name: getattr(os, name) for name in ("stat", "listdir", "access")}

    def below(path: object) -> bool:
        return any(Path(str(path)).is_relative_to(folder) for folder in may_not_be_seen)

    def refusing(name: str) -> Callable[..., object]:
        def answer(path: object, *more: object, **options: object) -> object:
            if below(path):
                raise PermissionError(13, "Permission denied", str(path))
            return plain[name](path, *more, **options)

        return answer

    monkeypatch.setattr(os, "stat", refusing("stat"))
    monkeypatch.setattr(os, "listdir", refusing("listdir"))
    monkeypatch.setattr(os, "access", lambda path, *_, **__: not Path(path).is_relative_to(shut) and not below(path))
    neighbours = Neighbours(tmp_path / "mine")
    for number in range(asked_before):
        neighbours.find(f"{number:012}")
    for _ in range(3):
        assert neighbours.find(trained.run_id) == tmp_path / "b"
    [line] = neighbours.warning()
    assert str(theirs) in line
    assert "permission denied" in line


def test_many_runs_cost_one_look_at_each_neighbour(
    tmp_path: Path, trained: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (tmp_path / f"n{number:02}" / "runs").mkdir(parents=True)
    looks = []
    listing, asking = os.listdir, os.stat
    monkeypatch.setattr(os, "listdir", lambda path: looks.append(path) or listing(path))
    monkeypatch.setattr(os, "stat", lambda path, *a, **k: looks.append(path) or asking(path, *a, **k))
    neighbours = Neighbours(tmp_path / "mine")
    for number in range(500):
        neighbours.find(f"{number:012}")
    assert len(looks) < 20 * (Neighbours.FEW + 3)


# --- one list of what a record must hold --------------------------------------------------------------------


def without(record: dict[str, object], path: tuple[str, ...]) -> dict[str, object]:
    out = copy.deepcopy(record)
    inner: Any = out
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return out


def paths_of(values: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        yield (*before, name)
        if isinstance(value, dict) and len(before) < 2:
            yield from paths_of(value, (*before, name))


@pytest.mark.full
def test_what_is_complete_is_shown_and_what_is_not_is_named(tmp_path: Path, trained: Record) -> None:
    """A record without any one of its values: the sweep trains it again, or the report shows it; never neither."""
    results.save(tmp_path, trained)
    path = results.record_path(tmp_path, trained.run_id)
    whole = json.loads(path.read_text())
    lacking = 0
    for part in paths_of(whole):
        path.write_text(json.dumps(without(whole, part)))
        frame, problems = runs_frame(tmp_path)
        assert results.finished(tmp_path, trained.run_id) == (len(frame) == 1) == (problems == []), part
        lacking += frame.empty
    assert lacking > 20
    for part in ("corpus", "config", "timing", "environment", "metrics"):
        path.write_text(json.dumps(whole | {part: None}))
        assert not results.finished(tmp_path, trained.run_id)
        assert runs_frame(tmp_path)[0].empty


@pytest.mark.parametrize("name", ["copy", "{id} (conflicted copy 2026-11-28)", "{id}.sync-conflict", "{id}-1"])
def test_a_copied_record_is_not_another_seed(tmp_path: Path, trained: Record, name: str) -> None:
    results.save(tmp_path / "a", trained)
    results.save(tmp_path / "a", replace(trained, run_id="0" * 12, seed=1))
    before, _ = runs_frame(tmp_path / "a")
    path = results.record_path(tmp_path / "a", trained.run_id)
    copied = path.with_name(f"{name.format(id=trained.run_id)}.json")
    shutil.copyfile(path, copied)
    after, [problem] = runs_frame(tmp_path / "a")
    assert list(after["run_id"]) == list(before["run_id"])
    assert str(copied) in problem
    assert trained.run_id in problem
    assert find(tmp_path / "b", copied.stem) is None


def test_a_setting_has_each_seed_once(tmp_path: Path, trained: Record) -> None:
    """However a second record of the same seed came here, under a name of its own."""
    results.save(tmp_path, trained)
    results.save(tmp_path, replace(trained, run_id="f" * 12))
    frame, [problem] = runs_frame(tmp_path)
    assert not frame.duplicated(["setting_id", "seed"]).any()
    assert len(frame) == 1
    assert "f" * 12 in problem


@pytest.mark.parametrize(("field", "ours"), [("protocol", PROTOCOL), ("schema", results.SCHEMA)])
def test_a_record_of_a_later_version_is_not_overwritten(
    tmp_path: Path, trained: Record, small: Callable[..., Config], field: str, ours: int
) -> None:
    results.save(tmp_path / "a", trained)
    path = results.record_path(tmp_path / "a", trained.run_id)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: ours + 1}))
    before = path.read_bytes()
    assert not results.finished(tmp_path / "a", trained.run_id)
    assert find(tmp_path / "b", trained.run_id) is None
    config = small("model=gru", "epochs=25", "engine=torch_nn")
    for attempt in (
        lambda: results.save(tmp_path / "a", trained),
        lambda: make_plan([config], tmp_path / "a", config.data),
        lambda: make_plan([config.but(fresh=True)], tmp_path / "a", config.data),
    ):
        with pytest.raises(results.NewerRecord) as caught:
            attempt()
        for part in (str(path), str(ours + 1), "upgrade", "name="):
            assert part in str(caught.value)
    assert path.read_bytes() == before


def test_a_record_of_an_earlier_version_is_trained_again(tmp_path: Path, trained: Record) -> None:
    results.save(tmp_path, replace(trained, protocol=PROTOCOL - 1))
    assert not results.finished(tmp_path, trained.run_id)
    results.save(tmp_path, trained)
    assert results.finished(tmp_path, trained.run_id)


def test_a_copied_timing_does_not_count_again(tmp_path: Path) -> None:
    timing = {"setting_id": "a" * 12, "machine": "m", "threads": 1}
    path = results.timing_path(tmp_path, timing["setting_id"], 1, "m")
    write_json(path, timing)
    shutil.copyfile(path, path.with_name("copy.json"))
    assert list(stored_timings.timings(tmp_path)) == [timing]


def test_a_folder_that_cannot_be_listed_is_an_error_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one's own sweep: no finished run would be a wrong answer."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    (tmp_path / "runs").mkdir()
    with pytest.raises(StorageError, match="permission denied"):
        list(results.records(tmp_path))


def test_a_reused_run_names_where_it_was_trained(tmp_path: Path, trained: Record, small: Callable[..., Config]) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    results.save(first, trained)
    before = results.load(results.record_path(first, trained.run_id))
    asked = to_dict(small("model=gru", "epochs=25", "name=second"))
    reuse(second, first, trained.run_id, asked)
    reuse(third, second, trained.run_id, asked | {"name": "third"})
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
    reuse(second, tmp_path / "results" / "first", trained.run_id, to_dict(small("model=gru")))
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
