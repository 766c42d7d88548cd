"""What a cell, a task or an optimizer of one's own has to satisfy, for a test of one's own."""

from ablate.testing.cells import check_cell

__all__ = ["check_cell"]
