"""A grid sweeper in which the command line replaces the values of a preset instead of multiplying them."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class AblateSweeperConf:
    _target_: str = "hydra_plugins.ablate_hydra.sweeper.AblateSweeper"
    max_batch_size: int | None = None
    params: Any = field(default_factory=dict)  # knob: values, as on the command line
    blocks: Any = field(default_factory=list)  # a list of such tables
    zipped: Any = field(default_factory=list)  # knobs that change together: num_hiddens:lr=32:1,64:0.5


ConfigStore.instance().store(group="hydra/sweeper", name="ablate", node=AblateSweeperConf, provider="ablate")


class AblateSweeper(Sweeper):
    """The product of all swept values, launched at once; writes nothing of its own.

    With `blocks` it is a union of products, each of `params` and one block:
    `blocks: [{}, {lr: "0.5"}, {num_hiddens: "64,128"}]` are four jobs, one knob changed at a time.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: Any = None,
        blocks: Any = None,
        zipped: Any = None,
    ) -> None:
        self.max_batch_size = max_batch_size
        self.params, self.blocks, self.zipped = params or {}, blocks or [{}], zipped or []
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from ablate.sweeping.hydra_jobs import sweep

        return sweep(self, arguments)
