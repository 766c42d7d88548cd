"""What a user brings is there for one test."""

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ablate.config.registry import OPTIMIZERS, SCHEDULES

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

Bring = Callable[[str], None]


@pytest.fixture(autouse=True)
def _as_shipped() -> Iterator[None]:
    """Afterwards there are the optimizers and schedules that come with the package."""
    assert all(registry.names for registry in (OPTIMIZERS, SCHEDULES))  # which loads what is shipped
    kept = [(registry, dict(registry.found), dict(registry.origin)) for registry in (OPTIMIZERS, SCHEDULES)]
    yield
    for registry, found, origin in kept:
        registry.found, registry.origin = found, origin


@pytest.fixture
def bring() -> Bring:
    """Load an example of the documents."""

    def load(name: str) -> None:
        before = {id(one) for registry in (OPTIMIZERS, SCHEDULES) for one in registry}
        runpy.run_path(str(EXAMPLES / name))
        for registry in (OPTIMIZERS, SCHEDULES):
            registry.origin |= {one.name: "0" * 64 for one in registry if id(one) not in before}

    return load
