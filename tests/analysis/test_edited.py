"""Sweeps in which code of a person's own was edited: whose runs count. Made-up records; CPU, 1 s."""

import json
from pathlib import Path

import pytest

from ablate.analysis.frames import runs_frame
from ablate.records import results
from ablate.records.compaction import compact
from ablate.records.files import write_json
from ablate.records.manifest import load_manifest
from ablate.records.places import manifest_path, record_path
from tests.report.made import config, write_manifest, write_run


def trained(sweep: Path, source: str, started: str, seeds: int = 2, width: int = 8, sha256: str = "t" * 64) -> None:
    """Runs of a cell of somebody's own, as this source has it."""
    for seed in range(seeds):
        run = write_run(sweep, config(num_hiddens=width, why=source), seed, 2.0 + seed, sha256=sha256)
        record = results.read(sweep, run)
        del record["config"]["why"]
        own = {"model": {"cell": "own", "source": source}, "num_hiddens": width, "data": {"sha256": sha256}}
        record |= {"identity": {**own, "seed": seed}, "timing": record["timing"] | {"started": started}}
        record_path(sweep, run).write_text(json.dumps(record))


def known(sweep: Path, **files: str) -> None:
    write_manifest(sweep)
    write_json(
        manifest_path(sweep), load_manifest(sweep) | {"plugins": {f"{name}.py": own for name, own in files.items()}}
    )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("last", "kept"), [("new", 3), ("old", 2), (None, 3)])
def test_those_of_the_last_command_count(tmp_path: Path, packed: bool, last: str | None, kept: int) -> None:
    """Also where an edit was taken back; the last ones trained where no file tells, as in a notebook."""
    trained(tmp_path, "old", "2026-01-01")
    trained(tmp_path, "new", "2026-01-02", seeds=3)
    known(tmp_path, **{"own": last} if last else {})
    if packed:
        compact(tmp_path)
    frame, [line] = runs_frame(tmp_path)
    assert frame["seed"].tolist() == list(range(kept))
    assert frame["setting_id"].nunique() == 1
    assert f"{5 - kept} runs of rnn" in line
    assert ("own.py" in line) == (last is not None)


def test_what_differs_otherwise_is_no_other_state_of_it(tmp_path: Path) -> None:
    trained(tmp_path, "old", "2026-01-01")
    trained(tmp_path, "new", "2026-01-02", width=16)
    trained(tmp_path, "new", "2026-01-02", sha256="u" * 64)
    known(tmp_path, own="new")
    frame, problems = runs_frame(tmp_path)
    assert (frame["setting_id"].nunique(), problems) == (3, [])
