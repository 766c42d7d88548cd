"""What a stored record must hold, and when its numbers mean something else than today's. CPU, 1 s."""

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ablate.analysis.frames import runs_frame
from ablate.records import results
from ablate.records.files import write_json
from ablate.records.neighbours import Neighbours
from ablate.records.places import record_path
from ablate.records.reading import RecordError
from ablate.records.record import Record, outdated, whole_record
from tests.report import made

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
    path = record_path(tmp_path / "other", trained.run_id)
    record = results.load(path)
    task, bidirectional = WINDOWED[kind]
    record["config"] |= {"task": task, "num_steps": num_steps, "val_tokens": val_tokens}
    record["config"]["model"]["bidirectional"] = bidirectional
    del record["evaluation"]
    write_json(path, record)
    assert results.finished(tmp_path / "other", trained.run_id) is same
    assert (Neighbours(tmp_path / "new").find(trained.run_id) is not None) is same
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
    assert "0.5" in outdated(record)


def test_old_records_of_plain_language_models_stay_good(trained: Record) -> None:
    record = asdict(trained)
    assert record.pop("evaluation")
    assert outdated(record) == ""
    del record["config"]["task"]
    del record["config"]["model"]["bidirectional"]
    assert outdated(record) == ""


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
    path = record_path(tmp_path, trained.run_id)
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


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("seed",), "0"),
        (("seed",), 10**30),
        (("metrics",), []),
        (("metrics", "perplexity"), "8"),
        (("counts", "parameters"), [1]),
        (("text",), {"a": 1}),
        (("reused_from",), 5),
        (("corpus", "name"), None),
        (("timing", "started"), 5),
        (("environment", "cpu"), ["a"]),
        (("config", "model", "name"), ["gru"]),
        (("config", "lr"), "1"),
        (("config", "epochs"), None),
        (("config", "task"), None),
        (("setting_id",), "../../outside"),
    ],
)
def test_a_record_of_other_types_is_not_whole(tmp_path: Path, place: tuple[str, ...], value: object) -> None:
    record = made.record_of(made.config("gru"), 0, 8.0)
    path = tmp_path / f"{record['run_id']}.json"
    assert whole_record(json.loads(json.dumps(record)), path, path.stem)["seed"] == 0
    holder = record
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    with pytest.raises(
        RecordError, match=r"\.".join(place if place[0] not in ("metrics", "counts", "text") else place[:1])
    ) as caught:
        whole_record(record, path, path.stem)
    assert str(path) in str(caught.value)
