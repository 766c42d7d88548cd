"""Libraries that change their process when they are first imported, imported so that it stays as it was."""

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """For imports: rich draws from Python's random numbers, what torch loads with the first optimizer adds a filter of
    warnings and a variable of the environment; afterwards none of it has happened."""
    before, draws = set(os.environ), random.getstate()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        random.setstate(draws)
        for name in set(os.environ) - before:
            if name.startswith("TORCH"):
                del os.environ[name]


def load_training() -> None:
    """Everything that a sweep loads, the modules that torch imports with the first optimizer included."""
    with loading():
        import torch

        import ablate.sweeping.expansion
        import ablate.sweeping.launch  # noqa: F401

        torch.optim.SGD([torch.zeros(1)], lr=1.0)


def load_reports() -> None:
    """Everything that figures and reports load."""
    with loading():
        from ablate.report import load_all

        load_all()
