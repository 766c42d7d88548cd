"""Fixtures of the tests of tasks."""

from pathlib import Path

import pytest

from ablate.records import results
from tests.tasks.own_pitch import example, pitch, trained


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two widths by three seeds of the example task, as records on disk; with the metrics and the figure."""
    for name in ("task", "metric", "figure"):
        example(name)
    for hidden in (4, 16):
        for record in trained(pitch().but(num_hiddens=hidden, epochs=3), "cohort", seeds=3):
            results.save(tmp_path, record)
    return tmp_path
