"""Searches as programs of their own, quick ones."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
from contextlib import nullcontext

from ablate.report import drawn

assert callable(drawn.drawing)
drawn.drawing = lambda material, to: nullcontext(dict)
from ablate.cli.run import main

raise SystemExit(main())
"""


@pytest.fixture
def start_search(start: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Start `python -m ablate …` as `start` does, but draw no figure, which would take longer than the search."""
    (tmp_path / "ablate_without_figures.py").write_text(PROGRAM)
    return functools.partial(start, module="ablate_without_figures")
