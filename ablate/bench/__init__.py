"""Measurements of the project itself: `python -m ablate.bench engines`."""
