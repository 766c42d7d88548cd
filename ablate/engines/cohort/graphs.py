"""CUDA graphs: the whole forward and backward pass of a minibatch as one launch instead of some thousands.

Written for torch's documented capture, and not yet run on a GPU: off unless asked for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ablate.engines.cohort.bptt import Program

WARM_UPS = 3


class Replay:
    """A program's losses and gradients, captured once for inputs of these shapes and states in this place."""

    def __init__(
        self, program: Program, tokens: Tensor, targets: Tensor, states: list[list[Tensor]], masks: Sequence[Tensor]
    ) -> None:
        self.inputs = [tensor.clone() for tensor in (tokens, targets, *masks)]
        own_tokens, own_targets, *own_masks = self.inputs
        before = [[part.clone() for part in state] for state in states]

        def compute() -> Tensor:
            losses = program.losses(own_tokens, own_targets, states, own_masks or None)
            program.backward()
            return losses

        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                compute()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.losses = compute()
        for state, kept in zip(states, before, strict=True):  # the warm-up moved them
            for part, value in zip(state, kept, strict=True):
                part.copy_(value)

    def __call__(self, tokens: Tensor, targets: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Losses (R,); the gradients are in the program's buffer, the states have moved on."""
        for own, given in zip(self.inputs, (tokens, targets, *masks), strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.losses.clone()
