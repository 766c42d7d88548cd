"""The package as installed from a wheel: its folder holds conf/ and sweeps/ beside modules named like knobs.

Builds the wheel and unpacks it; no network. CPU, 20 s.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ablate.config.schema import CONFIG_ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    if not (CONFIG_ROOT / "pyproject.toml").is_file():
        pytest.skip("needs a checkout")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CONFIG_ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.mark.full
@pytest.mark.parametrize("knobs", ["speed=true", "speed=false layers=2", "sweeps=smoke", "dropout=0.1 threads=1"])
def test_knobs_named_like_a_part_of_the_package(
    site: Path, tmp_path: Path, program_environment: dict[str, str], knobs: str
) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ablate", "--cfg", "job", *knobs.split()],
        env=program_environment | {"PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert "num_hiddens:" in shown.stdout
    for knob in knobs.split():
        if not knob.startswith("sweeps"):
            assert knob.replace("=", ": ") in shown.stdout


@pytest.mark.full
def test_the_package_says_that_it_has_types(site: Path) -> None:
    assert (site / "ablate" / "py.typed").is_file()


@pytest.mark.full
def test_a_program_of_ones_own_is_checked_by_the_types_of_the_package(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "mine.py"
    program.write_text("import ablate\nablate.sweep(model='gru').frame().items(4)\nablate.swep(model='gru')\n")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--no-error-summary", program.name]
    shown = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True)
    wrong = [line for line in shown.stdout.splitlines() if ": error:" in line]
    assert [line.split(": error:")[0] for line in wrong] == ["mine.py:2", "mine.py:3"], shown.stdout + shown.stderr
    assert 'no attribute "swep"' in wrong[1]
