"""Checks and numbers in a process of their own: what ends it, hangs, or spoils its device costs itself alone."""

from collections.abc import Mapping
from typing import Any, Self

from ablate.timing.gpu.budget import Budget
from ablate.timing.process import Process, WorkerFailed

LEAST_S = 2.0
"""With less than this left nothing more is asked."""
BROKEN = ("CUDA error", "Triton Error", "CUBLAS_STATUS", "cuDNN error")
"""What is said by errors after which a process may find its device unusable."""


class Apart:
    """A process of `ablate.timing.gpu.part`, started when it is first asked, and anew where it is gone."""

    def __init__(self, device: str, rehearsal: bool) -> None:
        self.where = {"device": device, "rehearsal": rehearsal}
        self.process: Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.renew()

    def ask(self, request: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        """Raises WorkerFailed where it does not answer within so many seconds, to start included, or ends."""
        try:
            if self.process is None:
                self.process = Process("ablate.timing.gpu.part")
            return self.process.ask(self.where | dict(request), limit_s, expected=0.0)
        except WorkerFailed:
            self.renew()
            raise

    def renew_after(self, told: str) -> None:
        """Have a fresh process for what comes next, where this was said."""
        if any(words in told for words in BROKEN):
            self.renew()

    def kill(self) -> None:
        """From another thread: whoever waits for its answer hears that it has ended."""
        process = self.process  # which another thread may renew
        if process is not None:
            process.process.kill()

    def renew(self) -> None:
        if self.process is not None:
            self.process.end()
        self.process = None


def limit_of(budget: Budget, part: str) -> float:
    """Seconds that one thing of a part may take: two thirds of those that are left, so that one that hangs leaves the
    rest some."""
    return budget.left_s(part) * 2 / 3
