"""What a sweep would take as jobs of a cluster, by what its programs take on this machine."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ablate.config.errors import counted
from ablate.sweeping.launching.options import Options, Slurm
from ablate.sweeping.launching.orders import dealt
from ablate.sweeping.planning.estimate import Estimate, wall_s
from ablate.sweeping.progress import duration


@dataclass(frozen=True)
class PlannedJobs:
    """The jobs that would be submitted."""

    launcher: str
    jobs: int
    at_once: int
    """So many run at a time, where the cluster lets them."""
    cpus: int
    gpus: int
    programs: list[int]
    """Of each job …"""
    seconds: list[float]
    """… and how long it trains, with as many programs side by side as it has cores."""
    limit_s: float | None
    """The time limit of a job, after which it is queued again."""

    @property
    def wall_s(self) -> float:
        """How long all of them take, where none waits for the cluster."""
        return wall_s(self.seconds, self.at_once)

    @property
    def core_hours(self) -> float:
        return self.cpus * sum(self.seconds) / 3600

    @property
    def gpu_hours(self) -> float:
        return self.gpus * sum(self.seconds) / 3600

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "wall_s": self.wall_s,
            "core_hours": self.core_hours,
            "gpu_hours": self.gpu_hours,
        }

    def lines(self) -> list[str]:
        """For a person who wonders whether to submit them."""
        many = min(self.cpus, max(self.programs))
        each = f"{self.cpus} cores" + (f" and {counted(self.gpus, 'GPU')}" if self.gpus else "")
        cost = f"{self.core_hours:.2g} core hours"
        cost += f" and {self.gpu_hours:.2g} GPU hours" if self.gpus else ""
        out = [
            f"hydra/launcher={self.launcher}: {counted(self.jobs, 'job')} of {each}, {self.at_once} at a time; "
            f"{counted(sum(self.programs), 'program')}, up to {many} side by side in a job",
            f"training takes about {duration(self.wall_s)} where no job waits for the cluster, by the speed of this "
            f"machine, and costs {cost}; the longest job takes {duration(max(self.seconds))}",
        ]
        if self.limit_s is not None and max(self.seconds) > self.limit_s:
            out.append(
                f"that is longer than its {self.limit_s / 60:g} min: it is queued again until it is done; more time "
                f"for a job: hydra.launcher.time_min"
            )
        return out


def planned_jobs(estimates: Sequence[Estimate], options: Options) -> PlannedJobs | None:
    """The jobs of what can be trained; None where nothing is to be."""
    known = {id(guess.group): guess for guess in estimates if guess.seconds}
    of_run = {run.run_id: guess for guess in known.values() for run in guess.group.runs}
    hands = dealt([guess.group for guess in known.values()], options.runs_per_job, options.jobs)
    if not hands:
        return None
    programs, seconds = [], []
    for hand in hands:
        own = [second for share in hand for second in _seconds(of_run[share.runs[0][1].run_id], len(share.runs))]
        programs.append(len(own))
        seconds.append(wall_s(own, options.cpus))
    slurm = options if isinstance(options, Slurm) else None
    at_once = min(len(hands), (slurm.at_once if slurm else None) or len(hands))
    limit_s = 60.0 * slurm.time_min if slurm else None
    return PlannedJobs(options.name, len(hands), at_once, options.cpus, options.gpus, programs, seconds, limit_s)


def _seconds(guess: Estimate, runs: int) -> list[float]:
    """Of the programs of so many of a group's runs, each as long as its share of the group's runs is large."""
    size = max(len(program.runs) for program in guess.programs)
    each = sum(guess.seconds) / len(guess.group.runs)
    return [each * min(size, runs - first) for first in range(0, runs, size)]
