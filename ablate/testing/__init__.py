"""What a cell, a task or an optimizer of one's own has to satisfy, for a test of one's own."""

from ablate.testing.optimizers import check_optimizer, check_schedule

__all__ = ["check_optimizer", "check_schedule"]
