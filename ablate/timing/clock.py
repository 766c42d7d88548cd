"""Seconds that something takes on a device: what a GPU was told to do is waited for, and timed by its own events."""

import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds from the start of `work` until the device has done all of it, its pauses between included."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            torch.cuda.synchronize(device)
            began.record()
            work()
            ended.record()
            torch.cuda.synchronize(device)
            return float(began.elapsed_time(ended)) / 1000
    if device.type == "mps":
        torch.mps.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - start
