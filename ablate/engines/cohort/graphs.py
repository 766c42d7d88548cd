"""CUDA graphs: what takes a thousand launches, recorded once and then started as one.

Torch's rules for what is recorded (its notes on CUDA graphs): tensors that stay in their places, no question to the
device, a few runs before on the stream that records, no random numbers but of registered generators. What is recorded
here draws none.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import torch

from ablate.config.errors import is_out_of_memory, reason
from ablate.engines.cohort.memory import recording

WARM_UPS = 3
"""Runs before the recording: libraries allocate and choose in the first ones."""
AT_ONCE = 8
"""Runs that one graph holds, where there are as many to come."""


class Replay:
    """A function without arguments, run again and again.

    On a GPU, if `graphs`, it is recorded after `WARM_UPS` runs, which count: nothing is computed twice. Elsewhere, and
    where the recording fails, it is called. `failure` says why it did. To stay what it is from run to run, it may
    change tensors in place alone.
    """

    def __init__(self, function: Callable[[], None], device: torch.device, graphs: bool) -> None:
        self.function, self.device = function, device
        self.graphs = graphs and device.type == "cuda"
        self.failure = ""
        self.runs = 0
        self.one: torch.cuda.CUDAGraph | None = None
        self.several: torch.cuda.CUDAGraph | None = None

    def __call__(self, times: int, between: Callable[[], None] = lambda: None) -> None:
        """Run it so many times; `between` is called before each launch, and may raise."""
        while times > 0:
            between()
            if self.graphs and self.one is None and self.runs >= WARM_UPS:
                self._record()
            if self.one is None:
                done = 1
                self.function()
            else:
                done = AT_ONCE if self.several is not None and times >= AT_ONCE else 1
                graph = self.several if self.several is not None and done > 1 else self.one
                graph.replay()
            times -= done
            self.runs += done

    def _record(self) -> None:
        """Out of memory is not caught: who trains may do with less."""
        try:
            with recording, torch.cuda.device(self.device):
                one, several = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
                pool = torch.cuda.graph_pool_handle()
                # On the stream that the first runs took, unless it is the one on which nothing can be recorded.
                before = torch.cuda.current_stream(self.device)
                on_default = before == torch.cuda.default_stream(self.device)
                stream = aside(torch.cuda.current_device()) if on_default else before
                try:
                    _recorded(self.function, 1, one, pool, stream)
                    _recorded(self.function, AT_ONCE, several, pool, stream)
                except BaseException:
                    _leave(pool, one, several)
                    raise
                finally:
                    torch.cuda.set_stream(before)  # which torch leaves to us where a recording breaks off
        except Exception as error:  # whatever a rule or a loss of the user's does that cannot be recorded
            if is_out_of_memory(error):
                raise
            self.graphs, self.failure = False, reason(error)
            return
        self.one, self.several = one, several


@cache
def aside(gpu: int) -> torch.cuda.Stream:
    """A stream of this device to record on. Torch's own for that is of whichever device was the first to record."""
    return torch.cuda.Stream(torch.device("cuda", gpu))  # type: ignore[no-untyped-call]


def _recorded(
    function: Callable[[], None], times: int, graph: torch.cuda.CUDAGraph, pool: object, stream: torch.cuda.Stream
) -> None:
    """Raises what the function raised, where it did, and not that the recording could not be ended after it."""
    cause: Exception | None = None
    try:
        with torch.cuda.graph(graph, pool, stream, "thread_local"):  # type: ignore[arg-type]
            try:  # other threads are free to allocate meanwhile
                for _ in range(times):
                    function()
            except Exception as error:
                cause = error
                raise
    except Exception as error:
        raise cause or error from None


_left: list[torch.cuda.CUDAGraph] = []


def _leave(pool: Any, *graphs: torch.cuda.CUDAGraph) -> None:
    """Called where a recording has broken off, on its device. A graph whose recording was ended gives its part of the
    pool back. Where torch cannot end one, its allocators stay in it: they keep the memory of the pool, and may ask the
    graph at each recording to come, so that the graph has to stay, too."""
    for graph in graphs:
        try:
            graph.pool()  # raises of one that was not ended, or not begun
            graph.reset()
        except Exception:
            _left.append(graph)
    with suppress(Exception):  # there is nothing to end, or torch has other names for it
        gpu = torch.cuda.current_device()
        torch._C._cuda_endAllocateToPool(gpu, pool)
        torch._C._cuda_releasePool(gpu, pool)
