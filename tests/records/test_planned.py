"""Which runs the commands of a sweep ask for, as text and back, and how many are missing. Made-up records; CPU, 1 s."""

from pathlib import Path

import pytest

from ablate.cli.status import main as status
from ablate.records import results
from ablate.records.compaction import compact
from ablate.records.places import manifest_path
from ablate.records.planned import missing, seeds_of, with_planned
from ablate.records.reading import RecordError
from tests.report.made import config, write_manifest, write_run


@pytest.mark.parametrize(
    ("seeds", "text"), [([0], "0"), ([0, 1, 2], "0-2"), ([5, 0, 1, 7, 8], "0-1,5,7-8"), ([], ""), ([10, 12], "10,12")]
)
def test_seeds_as_text_and_back(seeds: list[int], text: str) -> None:
    assert with_planned({}, {"a": seeds}) == ({"a": text} if seeds else {})
    assert list(seeds_of(text)) == sorted(seeds)


def test_commands_add_up() -> None:
    assert with_planned({"a": "0-2", "b": "4"}, {"a": [2, 3], "c": [0]}) == {"a": "0-3", "b": "4", "c": "0"}


@pytest.mark.parametrize("planned", [None, {}, "text", {"a": "x"}, {"a": 3}])
def test_what_says_nothing_of_what_was_asked_for_misses_nothing_that_we_know_of(
    planned: object, tmp_path: Path
) -> None:
    write_manifest(tmp_path, planned=planned)
    assert missing(tmp_path, []) is None


def test_missing_are_planned_runs_without_a_record(tmp_path: Path) -> None:
    for seed in (0, 2, 9):
        write_run(tmp_path, config(), seed, 3.0)
    records = [record for record in results.records(tmp_path) if not isinstance(record, RecordError)]
    write_manifest(tmp_path, planned={records[0]["setting_id"]: "0-4", "of another": "0-1"})
    assert missing(tmp_path, records) == 5


def test_a_folder_of_records_alone_is_known_and_a_damaged_manifest_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        write_run(tmp_path, config(), seed, 3.0)
    compact(tmp_path)
    assert status([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 1 setting, 2 runs\n"
    manifest_path(tmp_path).write_text("{")
    assert status([str(tmp_path)]) == 0
    assert "1 damaged" in capsys.readouterr().out
