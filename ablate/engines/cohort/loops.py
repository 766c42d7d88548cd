"""Minibatch after minibatch without a question to the device: the same few tensors, filled anew for each portion.

Axes: J minibatches, R replicas.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ablate.engines.cohort.graphs import Replay
from ablate.engines.divergence import silence

Minibatch = Callable[[Sequence[Tensor]], Tensor]
"""The rows of all tables for one minibatch → losses (R,)."""


class Loop:
    """`minibatch`, which changes tensors in place alone, for one row of some tables after the other.

    Tables (J, …) stay in their place on the device, as do the number of the next row and the losses (J, R).
    """

    def __init__(
        self, minibatch: Minibatch, tables: Sequence[Tensor], losses: Tensor, device: torch.device, graphs: bool
    ) -> None:
        self.capacity = 1 << (len(losses) - 1).bit_length()
        self.minibatch = minibatch
        self.tables = [table.new_empty(self.capacity, *table.shape[1:], device=device) for table in tables]
        self.losses = losses.new_empty(self.capacity, losses.shape[1])
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        self.replay = Replay(self._once, device, graphs)

    def _once(self) -> None:
        losses = self.minibatch([table.index_select(0, self.at).squeeze(0) for table in self.tables])
        self.losses.index_copy_(0, self.at, losses.unsqueeze(0))
        self.at.add_(1)

    def run(self, tables: Sequence[Tensor], between: Callable[[], None]) -> Tensor:
        """Losses (J, R) of as many minibatches as the tables have rows, at most `capacity`."""
        count = len(tables[0])
        for own, given in zip(self.tables, tables, strict=True):
            # From pinned memory, or the copy would wait for all that was begun before.
            pinned = given.pin_memory() if own.device.type == "cuda" and given.device.type == "cpu" else given
            own[:count].copy_(pinned, non_blocking=True)
        self.at.zero_()
        with silence():
            self.replay(count, between)
        return self.losses[:count].clone()
