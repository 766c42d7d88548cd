"""What a folder of results holds, and what is said of one that holds nothing. CPU, below a second."""

from pathlib import Path

from ablate.records.compaction import compact
from ablate.records.places import begun, checkpoints_dir, no_sweep
from tests.report.made import config, write_manifest, write_run


def test_a_folder_that_does_not_exist_is_answered_with_the_one_that_is_spelt_alike(tmp_path: Path) -> None:
    write_run(tmp_path / "gates-hw", config(), 0, 2.0)
    (tmp_path / "gates-wh").mkdir()  # no sweep
    assert f"did you mean {tmp_path / 'gates-hw'}?" in str(no_sweep(tmp_path / "gate-hw"))
    assert "give a folder that ablate has written" in str(no_sweep(tmp_path / "else"))
    assert "give a folder that ablate has written" in str(no_sweep(tmp_path / "gates-wh")), "it is there, and empty"


def test_an_empty_folder_of_checkpoints_goes_with_those_of_single_records(tmp_path: Path) -> None:
    write_run(tmp_path, config(), 0, 2.0)
    write_manifest(tmp_path)
    kept = checkpoints_dir(tmp_path) / "one.pt"
    kept.parent.mkdir()
    kept.touch()
    compact(tmp_path)
    assert begun(tmp_path) == 1
    kept.unlink()
    compact(tmp_path)
    assert not checkpoints_dir(tmp_path).exists()
    assert begun(tmp_path) == 0
