"""A plan of time: parts one after the other, each with its share of the seconds there are."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

SHARES = {"kernels": 0.14, "checks": 0.16, "table": 0.28, "commands": 0.39}
"""Of the whole time, in their order. What a part leaves over goes to those behind it; the rest is for the page."""


@dataclass
class Budget:
    """Seconds in all, from the moment it is made."""

    total_s: float
    now: Callable[[], float] = time.monotonic
    left_out: list[str] = field(default_factory=list)
    """What there was no time for, in words."""

    def __post_init__(self) -> None:
        self.began = self.now()

    def spent_s(self) -> float:
        return self.now() - self.began

    def left_s(self, part: str) -> float:
        """Seconds until a part has to end, for itself and all in front of it to have had their shares."""
        ends = 0.0
        for name, share in SHARES.items():
            ends += share
            if name == part:
                return max(0.0, ends * self.total_s - self.spent_s())
        raise KeyError(part)

    def leave_out(self, what: str) -> None:
        self.left_out.append(what)
