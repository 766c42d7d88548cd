"""What the tests of configuration have in common."""

from collections.abc import Callable

import pytest

from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import Config


@pytest.fixture(scope="module")
def resolved(compose: Callable[..., Config]) -> Callable[..., Resolved]:
    """A config in which what follows from its knobs is filled in."""
    return lambda *overrides: resolve(compose(*overrides))
