"""The objective of any other Hydra program: what its task returns; one job per trial, through the launcher."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from ablate.searching.evaluation import Event, Failed, Finished, Overrides, Timed
from ablate.searching.settings import Objective


class Jobs:
    """An evaluator that launches what has been submitted as one batch, and takes the return values."""

    def __init__(self, launcher: Launcher, objectives: Sequence[Objective], fixed: Sequence[str]) -> None:
        self.launcher, self.objectives, self.fixed = launcher, objectives, fixed
        self.queue: list[tuple[int, Overrides, Sequence[int]]] = []
        self.returns: list[Sequence[JobReturn]] = []
        self.launched = 0

    def identify(self, overrides: Overrides) -> str:
        return " ".join(sorted(overrides))

    def submit(self, ticket: int, overrides: Overrides, seeds: Sequence[int]) -> None:
        self.queue.append((ticket, overrides, seeds))

    def poll(self, timeout_s: float) -> list[Event]:
        if not self.queue:
            return []
        batch, self.queue = self.queue, []
        jobs = self.launcher.launch(
            [[*self.fixed, *overrides] for _, overrides, _ in batch], initial_job_idx=self.launched
        )
        self.launched += len(batch)
        self.returns.append(jobs)
        return [self._event(ticket, seeds, job) for (ticket, _, seeds), job in zip(batch, jobs, strict=True)]

    def _event(self, ticket: int, seeds: Sequence[int], job: JobReturn) -> Event:
        try:
            returned: Any = job.return_value  # raises what the job raised
        except Exception as error:
            return Failed(ticket, f"{type(error).__name__}: {error}".splitlines()[0])
        values = [returned] if len(self.objectives) == 1 else returned
        try:
            numbers = [float(value) for value in values]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != len(self.objectives) or any(number != number for number in numbers):
            wanted = "a number" if len(self.objectives) == 1 else f"{len(self.objectives)} numbers"
            return Failed(ticket, f"the task returned {returned!r}, not {wanted}")
        names = [objective.name for objective in self.objectives]
        return Finished(ticket, {seed: dict(zip(names, numbers, strict=True)) for seed in seeds})

    def abandon(self, ticket: int) -> None:
        self.queue = [entry for entry in self.queue if entry[0] != ticket]

    def measure_speed(self, configurations: Mapping[int, Overrides]) -> dict[int, Timed]:
        raise NotImplementedError
