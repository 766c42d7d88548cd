"""The fixtures of tests of clusters."""

from local_slurm import slurm

__all__ = ["slurm"]
