"""Hands all jobs of a sweep to the task at once, so that it can skip, fuse and isolate them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class AblateLauncherConf:
    _target_: str = "hydra_plugins.ablate_hydra.launcher.AblateLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="ablate", node=AblateLauncherConf, provider="ablate")


class AblateLauncher(Launcher):
    """Jobs in this process, one after the other; a task with `run_sweep` gets them all together, and what is said
    below `hydra.launcher` (`conf/hydra/launcher/`), by which it can have them trained elsewhere."""

    def __init__(self, **options: Any) -> None:
        pass

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from ablate.sweeping.hydra_jobs import launch

        jobs: Any = launch(self.hydra_context, self.task_function, self.config, job_overrides, initial_job_idx)
        return jobs  # type: ignore[no-any-return]
