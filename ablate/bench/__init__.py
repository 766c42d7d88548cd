"""Measurements as commands: `engines` (cohort against torch.nn) and `cells` (tokens per second in the speed lane)."""
