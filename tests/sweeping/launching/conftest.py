"""The fixtures of tests of clusters."""

from local_slurm import accounted_slurm, plain_slurm, slurm, slurm_with_accounts

__all__ = ["accounted_slurm", "plain_slurm", "slurm", "slurm_with_accounts"]
