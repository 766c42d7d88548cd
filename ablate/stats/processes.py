"""Repeated measurements from several processes: samples of one process are alike, processes are what differs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ablate.stats.intervals import geometric_mean

LEAST_PROCESSES = 5
"""Fewer processes give no interval: what one launch differs from the next by is not known from them."""


def process_interval(groups: Sequence[ArrayLike], level: float = 0.95) -> tuple[float, float | None, float | None]:
    """The geometric mean of the medians of processes, and its t interval on logs; none from too few processes.

    `groups` has the samples of one process each, one at least. Samples of one process agree among themselves more than
    processes do, so each process counts once; a bootstrap of 5 whole processes covers 0.91 instead of 0.95.
    """
    middle, low, high = geometric_mean([np.median(np.asarray(values)) for values in groups], level)
    return (middle, None, None) if len(groups) < LEAST_PROCESSES else (middle, low, high)


def too_few_processes(processes: int) -> str:
    """Why so many processes give no interval; empty where they give one."""
    if processes >= LEAST_PROCESSES:
        return ""
    return f"no interval from {processes} process{'es' * (processes != 1)}, it takes {LEAST_PROCESSES}"
