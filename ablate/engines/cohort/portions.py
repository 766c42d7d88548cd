"""Minibatches of replicas that are trained on one after the other, as few tensors on the device.

Axes: J minibatches, R replicas, T steps, B sequences, n tokens of a text.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

AT_ONCE_BYTES = 2**28
"""Of what minibatches read, dropout masks included, that is on the device at once."""

Read = Callable[[Sequence[Tensor]], tuple[Tensor, Tensor]]
"""The rows of a portion's parts for one minibatch → its inputs and targets (R, T, B), on the rows' device and without a
question to it. Of whole parts all its minibatches (J, R, T, B)."""


class Portion(Protocol):
    """Minibatches of one size. `parts` are tensors (J, …) that say what is read; those of one `kind` are read alike."""

    @property
    def parts(self) -> Sequence[Tensor]: ...

    @property
    def size(self) -> tuple[int, int]:
        """T and B."""

    @property
    def kind(self) -> Hashable: ...

    def read(self) -> Read: ...

    def some(self, start: int, end: int) -> "Portion":
        """Minibatches `start` to `end` − 1 of these."""


@dataclass(frozen=True)
class Stacked:
    """Inputs (J, R, T, B), or with other axes between R and B, and targets (J, R, T, B), of any device."""

    inputs: Tensor
    targets: Tensor

    @property
    def parts(self) -> Sequence[Tensor]:
        return self.inputs, self.targets

    @property
    def size(self) -> tuple[int, int]:
        return self.targets.shape[-2], self.targets.shape[-1]

    @property
    def kind(self) -> Hashable:
        return tuple((part.shape[1:], part.dtype) for part in self.parts)

    def read(self) -> Read:
        return lambda rows: (rows[0], rows[1])

    def some(self, start: int, end: int) -> "Stacked":
        return Stacked(self.inputs[start:end], self.targets[start:end])


@dataclass(frozen=True)
class Windows:
    """Sequences of T tokens of a text (n,) on the device, which begin at `starts` (J, R, B); targets are one later."""

    text: Tensor
    starts: Tensor
    T: int

    @property
    def parts(self) -> Sequence[Tensor]:
        return (self.starts,)

    @property
    def size(self) -> tuple[int, int]:
        return self.T, self.starts.shape[-1]

    @property
    def kind(self) -> Hashable:
        return self.text.data_ptr(), self.T, self.starts.shape[1:]

    def read(self) -> Read:
        text, T = self.text, self.T

        def windows(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            places = rows[0].unsqueeze(-2) + torch.arange(T, device=text.device).unsqueeze(1)
            return text.take(places).long(), text.take(places + 1).long()

        return windows

    def some(self, start: int, end: int) -> "Windows":
        return Windows(self.text, self.starts[start:end], self.T)
