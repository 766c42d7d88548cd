"""The timings of a sweep: each counts once. CPU."""

import shutil
from pathlib import Path

from ablate.records import timings as stored_timings
from ablate.records.files import write_json
from ablate.records.places import timing_path


def test_a_copied_timing_does_not_count_again(tmp_path: Path) -> None:
    timing = {"setting_id": "a" * 12, "machine": "m", "threads": 1, "config": {}}
    path = timing_path(tmp_path, timing["setting_id"], 1, "m")
    write_json(path, timing)
    shutil.copyfile(path, path.with_name("copy.json"))
    assert list(stored_timings.timings(tmp_path)) == [timing]
