"""The fixtures of tests of clusters."""

from local_slurm import accounted_slurm, slurm

__all__ = ["accounted_slurm", "slurm"]
