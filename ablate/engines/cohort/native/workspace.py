"""Memory for the kernels to work in."""

import mmap
from contextlib import suppress

import torch
from torch import Tensor

LARGE_PAGE = 2**21
"""Bytes."""


def workspace(size: int) -> Tensor:
    """Bytes, aligned to 64, in large pages where the system has them.

    A minibatch reads and writes in more places than there are small pages whose addresses a core keeps at hand. What
    is in the bytes does not matter.
    """
    if size < LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(size, dtype=torch.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system that was built without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)
