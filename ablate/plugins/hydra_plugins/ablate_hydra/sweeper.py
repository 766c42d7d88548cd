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
    blocks: list[dict[str, str]] | None = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="ablate", node=AblateSweeperConf, provider="ablate")


class AblateSweeper(BasicSweeper):
    """The product of all swept values, launched at once; writes nothing of its own.

    With `blocks` it is a union of products, each of `params` and one block:
    `blocks: [{}, {lr: "0.5"}, {num_hiddens: "64,128"}]` are four jobs, one knob changed at a time.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None = None,
        blocks: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.blocks = blocks or [{}]

    def sweep(self, arguments: list[str]) -> Any:
        from ablate.sweeping.hydra_jobs import sweep

        return sweep(self, arguments)
