"""What the tests of cells have in common."""

from collections.abc import Iterator

import pytest

from ablate.config.registry import scoped


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """What a test registers is gone after it."""
    with scoped():
        yield
