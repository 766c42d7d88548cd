"""The objective of any other Hydra program: what its task returns; one job per trial, through the launcher."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from ablate.config.errors import ConfigError
from ablate.records.files import write_text
from ablate.searching.evaluation import Event, Failed, Finished, Overrides, Timed
from ablate.searching.progress import SearchProgress
from ablate.searching.samplers import make_pruner, make_sampler
from ablate.searching.search import Search
from ablate.searching.settings import Objective, plain, settings_of
from ablate.searching.space import build
from ablate.searching.standings import ranked
from ablate.searching.study import joined

if TYPE_CHECKING:
    from hydra_plugins.ablate_hydra.optuna_sweeper import OptunaSweeper


class Jobs:
    """An evaluator that launches what has been submitted as one batch, and takes the return values."""

    def __init__(self, launcher: Launcher, objectives: Sequence[Objective], fixed: Sequence[str]) -> None:
        self.launcher, self.objectives, self.fixed = launcher, objectives, fixed
        self.queue: list[tuple[int, Overrides, Sequence[int]]] = []
        self.returns: list[Sequence[JobReturn]] = []
        self.launched = 0
        self.former_keys: dict[str, tuple[str, ...]] = {}

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


def search_jobs(sweeper: "OptunaSweeper", overrides: Sequence[Override]) -> Any:
    """A search of any other Hydra program: the objective is what its task returns, one job per trial."""
    config, launcher = sweeper.config, sweeper.launcher
    assert config is not None
    assert launcher is not None
    folder = Path(str(config.hydra.sweep.dir))
    space, fixed = build(overrides, plain(sweeper.conditions))
    found = directed(plain(sweeper.direction) or "minimize")
    settings = replace(settings_of(sweeper, found, seeds=(0,), parallel=1), race=None, confirm=False)
    several = len(found) > 1
    pruner = make_pruner(settings.pruner, settings.pruner_options, 1, several)
    make_sampler(settings.sampler, settings.sampler_options, 0, space, several)
    save(config, folder / "multirun.yaml")
    design = {
        "objectives": [objective.direction for objective in found],
        "seeds": [0],
        "fixed": dict(override.partition("=")[::2] for override in fixed),
        "space": space.to_json(),
    }
    jobs = Jobs(launcher, found, fixed)
    with (
        joined(settings, space, folder, "search", design, pruner) as (study, worker),
        SearchProgress(settings.n_trials) as progress,
    ):
        Search(space, settings, jobs, study, worker, progress).run()
        best: dict[str, Any] = {"name": "optuna"}
        if several:
            best["solutions"] = [{"best_params": t.params, "best_values": t.values} for t in study.best_trials]
        else:
            first = next(iter(ranked(study.get_trials(deepcopy=False), settings)), None)
            best |= {"best_params": first.params, "best_value": first.value} if first else {}
    save(OmegaConf.create(best), folder / "optimization_results.yaml")
    return jobs.returns


def save(config: Any, path: Path) -> None:
    write_text(path, OmegaConf.to_yaml(config))


def directed(directions: Any) -> tuple[Objective, ...]:
    """`value`, or `value_0`, `value_1`, …, each with its direction."""
    wanted = directions if isinstance(directions, list) else [directions]
    for direction in wanted:
        if direction not in ("minimize", "maximize"):
            raise ConfigError(f"direction is {direction!r}; choose minimize or maximize")
    names = ["value"] if len(wanted) == 1 else [f"value_{k}" for k in range(len(wanted))]
    better = {"minimize": "lower", "maximize": "higher"}
    return tuple(Objective(name, better[direction]) for name, direction in zip(names, wanted, strict=True))
