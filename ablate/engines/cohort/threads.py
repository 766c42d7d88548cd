"""Threads to train cohorts in, each prepared alike."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

CPU = torch.device("cpu")


def prepare_thread(device: torch.device = CPU) -> None:
    """Call first in each thread that trains cohorts: one thread for torch's own loops, denormals are zero, and on a GPU
    a stream of its own, beside which those of other threads run. Another call keeps that stream, whose memory torch
    has for it alone."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        if torch.cuda.current_stream(device) == torch.cuda.default_stream(device):
            torch.cuda.set_stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


class TrainingThreads(ThreadPoolExecutor):
    """Threads of which some may have to be left behind."""

    hanging = 0
    """How many do, of this process."""
    left_behind = False
    """Whether there are any among these: no end waits for them."""

    def leave(self, count: int) -> None:
        """So many of these threads hang for ever."""
        self.left_behind = True
        TrainingThreads.hanging += count

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait and not self.left_behind, cancel_futures=cancel_futures)


@contextmanager
def training_threads(count: int, device: torch.device = CPU) -> Iterator[TrainingThreads]:
    """Threads prepared to train in; afterwards torch has for threads to come the number of cores that it had before."""
    before = torch.get_num_threads()
    try:
        with TrainingThreads(count, initializer=prepare_thread, initargs=(device,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
