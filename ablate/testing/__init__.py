"""Checks of what a person brings, to be called in a test of their own: they raise AssertionError with what differs."""

from ablate.testing.tasks import check_task

__all__ = ["check_task"]
