"""CUDA graphs: what takes a thousand launches, recorded once and then started as one.

Torch's rules for what is recorded (its notes on CUDA graphs): tensors that stay in their places, no question to the
device, a few runs before on the stream that records, no random numbers but of registered generators. What is recorded
here draws none.
"""

import threading
from collections.abc import Callable

import torch

from ablate.config.errors import reason

WARM_UPS = 3
"""Runs before the recording: libraries allocate and choose in the first ones."""
AT_ONCE = 8
"""Runs that one graph holds, where there are as many to come."""

_recording = threading.Lock()
"""One recording at a time: beginning one waits for the whole device, which another recording forbids."""


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
            with _recording, torch.cuda.device(self.device):
                one, several = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
                # On the stream that the first runs took, unless it is the one on which nothing can be recorded; and
                # with other threads free to allocate.
                own = torch.cuda.current_stream(self.device)
                stream = None if own == torch.cuda.default_stream(self.device) else own
                with torch.cuda.graph(one, None, stream, "thread_local"):
                    self.function()
                with torch.cuda.graph(several, one.pool(), stream, "thread_local"):
                    for _ in range(AT_ONCE):
                        self.function()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a rule or a loss of the user's does that cannot be recorded
            self.graphs, self.failure = False, reason(error)
            return
        self.one, self.several = one, several
