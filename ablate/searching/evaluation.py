"""What a search asks of whatever computes its objective.

A *ticket* is the number by which the search knows a configuration in flight; a configuration is its overrides.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Overrides = tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """What one run has measured so far."""

    ticket: int
    seed: int
    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Finished:
    """All runs of a ticket that were asked for are there."""

    ticket: int
    runs: Mapping[int, Mapping[str, float]]  # seed → metric → value, infinite for a run that diverged
    trained: bool = True  # False where every run was there before, in another sweep

    def lacks(self, metrics: Iterable[str]) -> str | None:
        """Why it cannot be judged, where one of its runs has none of a metric."""
        missing = (name for name in metrics if any(name not in run for run in self.runs.values()))
        return next((f"a run of it has no {name}" for name in missing), None)


@dataclass(frozen=True)
class Failed:
    """A configuration that cannot be computed, or whose program broke."""

    ticket: int
    reason: str


Event = Reading | Finished | Failed


@dataclass
class Timed:
    """Tokens per second of one configuration, or why there is no clean number."""

    tokens_per_s: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


class Evaluator(Protocol):
    """Computes configurations for a search, several at a time."""

    former_keys: dict[str, tuple[str, ...]]
    """What `identify` returned → what it would have returned for the same in older versions."""

    def identify(self, overrides: Overrides) -> str:
        """The same text for what would come out the same. Raises ConfigError for what cannot be computed."""

    def submit(self, ticket: int, overrides: Overrides, seeds: Sequence[int]) -> None:
        """Begin to compute these seeds; `poll` tells when they are there."""

    def poll(self, timeout_s: float) -> list[Event]:
        """What has happened; waits for the first event for so long. Returns at once where nothing is under way."""

    def abandon(self, ticket: int) -> None:
        """Stop what is still computed for this ticket."""

    def measure_speed(self, configurations: Mapping[int, Overrides]) -> dict[int, Timed]:
        """Ticket → tokens per second; called while nothing else is under way."""


@dataclass
class Candidate:
    """A trial in flight."""

    number: int
    values: dict[str, object]
    overrides: Overrides
    key: str
    target: int  # how many seeds it has been given
    runs: dict[int, Mapping[str, float]] = field(default_factory=dict)
    curve: dict[int, dict[int, float]] = field(default_factory=dict)  # epoch → seed → primary metric
    reported: set[int] = field(default_factory=set)
    trained: bool = False
    timings: int = 0  # how often its speed has been measured
    began: float = 0.0  # on the monotonic clock

    @property
    def seconds(self) -> float:
        """How long it has been in flight in this process."""
        return round(time.monotonic() - self.began, 3)

    def results(self, metric: str) -> dict[int, float]:
        """Seed → one metric."""
        return {seed: run[metric] for seed, run in sorted(self.runs.items())}
