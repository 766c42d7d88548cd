"""The reports kept in results/: no figure or table lies beside a page that does not show it. Needs git; CPU, 1 s."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.config.schema import CONFIG_ROOT

ON_ANOTHER_FORM = {"Claims and verdicts": 'id="claims"'}
"""Title of a table that the page shows as something else → what shows that it does."""


def kept() -> list[Path]:
    """What of results/ is under version control and lies in a folder with a page."""
    if shutil.which("git") is None or not (CONFIG_ROOT / ".git").exists():
        return []
    listed = subprocess.run(["git", "-C", CONFIG_ROOT, "ls-files", "-z", "results"], capture_output=True, text=True)
    paths = [CONFIG_ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and (path.parents[1] / "report.html").is_file()]


def unnamed() -> Iterator[Path]:
    """Figures and tables that their page does not show."""
    for path in kept():
        page = (path.parents[1] / "report.html").read_text(encoding="utf-8")
        if path.parent.name == "figures" and f"figures/{path.stem}.png" not in page:
            yield path
        if path.parent.name == "tables":
            title = path.with_suffix(".md").read_text(encoding="utf-8").splitlines()[0].removeprefix("### ")
            if ON_ANOTHER_FORM.get(title, f">{title}<") not in page:
                yield path


@pytest.mark.full
def test_every_committed_figure_and_table_is_on_its_page() -> None:
    if not kept():
        pytest.skip("needs a checkout with its results")
    stray = [str(path.relative_to(CONFIG_ROOT)) for path in unnamed()]
    assert not stray, f"report their sweeps again, ablate report results/NAME, and commit: {stray}"
