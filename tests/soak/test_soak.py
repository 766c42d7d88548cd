"""What the soak finds wrong, on folders that were damaged on purpose; and a short soak. Linux; CPU, 1 s and 30 s."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from subjects import SWEEPS, Left, left_in

from ablate.config.schema import Config
from ablate.records import results
from ablate.records.places import curve_path, record_path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the soak stops and kills programs as Linux has them")


@pytest.fixture
def folder(sweep: Callable[..., Any], small: Callable[..., Config]) -> Path:
    found = Path(sweep([small("seeds=2", "engine=torch_nn")]).folder)
    for name in ("runs.csv", "settings.csv"):
        (found / name).write_text("perplexity,wall_s\n1.5,2\n")
    return found


def left(folder: Path) -> Left:
    return left_in(folder, SWEEPS[0])


def damage_nothing(folder: Path, run: str) -> None:
    pass


def cut(folder: Path, run: str) -> None:
    record_path(folder, run).write_text(record_path(folder, run).read_text()[:-20])


def take_the_curve(folder: Path, run: str) -> None:
    curve_path(folder, run).unlink()


def leave_a_checkpoint(folder: Path, run: str) -> None:
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / f"{run}.pt").touch()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_nothing, ""),
        (cut, "torn"),
        (take_the_curve, "without its curve"),
        (leave_a_checkpoint, "left behind: checkpoints"),
    ],
)
def test_damage_is_found(folder: Path, damage: Callable[[Path, str], None], said: str) -> None:
    run = next(one["run_id"] for one in results.records(folder) if isinstance(one, dict))
    usual = [line for line in left(folder).wrong if not line.startswith(("left behind: runs", "left behind: curves"))]
    assert usual == []
    damage(folder, run)
    found = [line for line in left(folder).wrong if not line.startswith(("left behind: runs", "left behind: curves"))]
    assert bool(found) == bool(said)
    assert all(said in line for line in found)


def test_another_outcome_is_found_and_another_time_is_none(folder: Path) -> None:
    before = left(folder)
    (folder / "runs.csv").write_text("perplexity,wall_s\n1.5,3\n")
    assert left(folder).tables == before.tables
    (folder / "runs.csv").write_text("perplexity,wall_s\n1.6,2\n")
    assert left(folder).tables != before.tables


@pytest.mark.slow
def test_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    soak = Path(__file__).parent
    words = ["--minutes", "0.2", "--seed", "3", "--rounds", "sweep", "compaction", "full-disk", "--log", "log"]
    done = subprocess.run([sys.executable, soak, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9" in (tmp_path / "log").read_text()
