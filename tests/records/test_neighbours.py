"""Runs of other sweeps beside this one: found, and copied with their origin named. CPU, 1 s."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.config.schema import Config, to_dict
from ablate.records import results
from ablate.records.compaction import compact
from ablate.records.neighbours import Neighbours, reuse
from ablate.records.places import curve_path, record_path
from ablate.records.record import Record


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
    record_path(tmp_path / "a", trained.run_id).write_text("damaged")
    assert find(tmp_path / "b", trained.run_id, asked_before) is None


@pytest.mark.parametrize("asked_before", [0, 1, Neighbours.FEW - 1, Neighbours.FEW, Neighbours.FEW + 1])
def test_what_a_neighbour_packs_meanwhile_is_found(tmp_path: Path, trained: Record, asked_before: int) -> None:
    """At whichever moment it moves its files into tables while a plan is made."""
    results.save(tmp_path / "a", trained)
    neighbours = Neighbours(tmp_path / "mine")
    for number in range(asked_before):
        neighbours.find(f"{number:012}")
    compact(tmp_path / "a")
    assert neighbours.find(trained.run_id) == tmp_path / "a"


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
        "record": record_path(theirs, trained.run_id),
        "curve": curve_path(theirs, trained.run_id),
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
    assert len(looks) < 20 * (2 * Neighbours.FEW + 4)  # for a few, at the file and at the table


def test_a_reused_run_names_where_it_was_trained(tmp_path: Path, trained: Record, small: Callable[..., Config]) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    results.save(first, trained)
    before = results.load(record_path(first, trained.run_id))
    asked = to_dict(small("model=gru", "epochs=25", "name=second"))
    reuse(second, first, trained.run_id, asked)
    reuse(third, second, trained.run_id, asked | {"name": "third"})
    assert results.load(record_path(first, trained.run_id)) == before
    for folder in (second, third):
        record = results.load(record_path(folder, trained.run_id))
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
