"""The sweeps kept in results/: every number of their tables as it was before their records became Parquet files.

`committed_numbers.json` has a checksum of each column of each sweep's table of settings, to 12 digits, made from the
single records by the code before (and its numbers compared with the committed tables of that time); the column
`activation` is newer: it once had no value in most cells with tanh; those of tables 9 and 10 are of 20 seeds, of 6
before, whose records are among them as they were; intervals of perplexities end at 1. Needs a checkout; CPU, 5 s.
"""

import hashlib
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.analysis.aggregate import aggregate
from ablate.analysis.frames import runs_frame
from ablate.analysis.study import stored_search
from ablate.analysis.throughput import speed_frame, with_speed
from ablate.config.schema import CONFIG_ROOT
from ablate.records.baselines import FILE as BASELINES
from ablate.report.products import BEFORE_MANIFESTS, EARLIER, MANIFEST, SPEED_MANIFEST

RESULTS = CONFIG_ROOT / "results"
GOLDEN_PATH = Path(__file__).with_name("committed_numbers.json")
GOLDEN: dict[str, dict[str, Any]] = json.loads(GOLDEN_PATH.read_text(encoding="utf-8"))
MOST_FILES, LARGEST = 160, 5 * 2**19
"""What results/ may be in version control: so many files, none larger than so many bytes."""


def needs_a_checkout() -> None:
    if shutil.which("git") is None or not (CONFIG_ROOT / ".git").exists():
        pytest.skip("needs a checkout")


def table(folder: Path) -> pd.DataFrame:
    """settings.csv of a sweep, or of one that was only timed speed.csv, without the ids of settings."""
    runs, problems = runs_frame(folder)
    assert problems == []
    speed = speed_frame(folder)
    return (with_speed(aggregate(runs, 0.95), speed) if len(runs) else speed).drop(columns="setting_id")


def checksums(frame: pd.DataFrame) -> dict[str, Any]:
    columns = {str(name): _checksum(frame[name].tolist()) for name in frame}
    return {"rows": len(frame), "columns": columns}


def _checksum(values: list[Any]) -> str:
    return hashlib.sha256("\n".join(map(_text, values)).encode()).hexdigest()[:12]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | str):
        return str(value)
    return f"{float(value):.12g}" if isinstance(value, int | float) else str(value)


@pytest.mark.full
@pytest.mark.parametrize("name", GOLDEN)
def test_every_number_of_a_committed_sweep_is_as_it_was(name: str) -> None:
    if not (RESULTS / name).is_dir():
        pytest.skip("needs a checkout with its results")
    found = checksums(table(RESULTS / name))
    differing = {column for column, value in GOLDEN[name]["columns"].items() if found["columns"].get(column) != value}
    assert found["rows"] == GOLDEN[name]["rows"]
    assert not differing, f"other numbers in {sorted(differing)} than the records of {name} gave when they were made"


@pytest.mark.full
def test_what_is_committed_is_records_and_few_files() -> None:
    """Pages, tables and figures are made from them: ablate report results/NAME."""
    needs_a_checkout()
    listed = subprocess.run(["git", "-C", CONFIG_ROOT, "ls-files", "-z", "results"], capture_output=True, text=True)
    paths = [CONFIG_ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(paths) < MOST_FILES
    assert [str(path) for path in paths if path.is_file() and path.stat().st_size > LARGEST] == []
    # What a report writes beside records would be moved aside by the next one, which cannot tell who put it there.
    figures = [path.parent.name for path in paths if path.name == "figure.png" and path.is_file()]
    assert figures == ["model-by-num-hiddens"], "figures belong into docs/, or are made by ablate report"


@pytest.mark.parametrize(
    "made",
    [
        *(*BEFORE_MANIFESTS[""], "figures/curves.svg", "tables/spread.tex", f"{EARLIER}/figure.png"),
        *(MANIFEST, SPEED_MANIFEST, "speed.csv", "speed.png", BASELINES),
    ],
)
def test_what_is_made_from_committed_records_is_no_change_of_the_checkout(made: str) -> None:
    needs_a_checkout()
    assert subprocess.run(["git", "-C", CONFIG_ROOT, "check-ignore", "-q", f"results/gates/{made}"]).returncode == 0


@pytest.mark.full
@pytest.mark.parametrize("name", [path.parent.name for path in sorted(RESULTS.glob("*/trials.csv"))])
def test_a_trial_of_a_committed_search_finds_its_runs(name: str) -> None:
    """Its settings have other ids in trials.csv, which is older than those of today."""
    search = stored_search(RESULTS / name)
    assert search is not None
    measured = search.trials[search.trials["n"] > 0]
    assert len(measured) > 0
    runs, _ = runs_frame(RESULTS / name)
    assert set(measured["setting_id"]) <= set(runs["setting_id"])
