"""Processes that are forks of this one: where there can be any, and that none outlives it."""

import multiprocessing
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1
"""Of prctl(2): which signal the kernel sends when the parent has ended, however it did."""


def can_fork() -> bool:
    """Whether a fork of this process is safe: another thread could hold a lock at that moment, for ever in the fork."""
    alone = threading.active_count() == 1 and not multiprocessing.current_process().daemon
    return sys.platform == "linux" and alone


def end_with_parent(parent: int) -> None:
    """Called in a fork that the main thread of process `parent` made: from here on it ends when that ends.

    A fork holds both ends of the pipes to its parent, and so may never see that nobody is left there. Raises OSError
    where the kernel does not offer it.
    """
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before that
        os._exit(1)
