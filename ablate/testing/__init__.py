"""Checks of what a person brings, to be called in a test of their own: they raise AssertionError with what differs."""

from ablate.testing.cells import check_cell
from ablate.testing.optimizers import check_optimizer, check_schedule
from ablate.testing.tasks import check_task

__all__ = ["check_cell", "check_optimizer", "check_schedule", "check_task"]
