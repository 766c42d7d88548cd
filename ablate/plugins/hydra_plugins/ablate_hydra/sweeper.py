"""A grid sweeper in which the command line replaces the values of a preset instead of multiplying them."""

from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore


@dataclass
class AblateSweeperConf:
    _target_: str = "hydra_plugins.ablate_hydra.sweeper.AblateSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="ablate", node=AblateSweeperConf, provider="ablate")


class AblateSweeper(BasicSweeper):
    """The product of all swept values, launched at once; writes nothing of its own."""

    def sweep(self, arguments: list[str]) -> Any:
        from ablate.sweeping.hydra_jobs import sweep

        return sweep(self, arguments)
