"""Classification: which of some classes a sequence of numbers belongs to, asked once it has been read."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Generator, Tensor

from ablate.config.errors import CombinationError
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved
from ablate.data.corpora import Corpus
from ablate.networks.parameters import Features
from ablate.tasks.task import Minibatch, Task, accuracy, readable


class Classification(Task):
    """Labelled sequences of `ablate.data.labelled`: trained on all that are for it, measured on the test set.

    Axes: T steps, B sequences, F numbers of a step. Inputs are (T, B, F), targets (T, B) with the class at the last
    step, which alone is scored.
    """

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        super().__init__(config, corpus, device)
        count, length, width = corpus.arrays["x"].shape
        if config.num_steps != length:
            raise CombinationError(
                f"num_steps is {config.num_steps}, but the sequences of {corpus.name} have {length} steps; "
                f"give num_steps={length}"
            )
        if count < config.batch_size:
            raise CombinationError(
                f"batch_size is {config.batch_size}, but {corpus.name} has {count} sequences to train on; "
                f"give a batch_size of {count} or less"
            )
        self.sizes: Features = Features(width, int(corpus.arrays["y"].max()) + 1)
        self.training = self.asked(corpus.arrays["x"], corpus.arrays["y"])
        self.tested = self.asked(corpus.arrays["x_test"], corpus.arrays["y_test"])

    def asked(self, x: np.ndarray, y: np.ndarray) -> Minibatch:
        """Inputs (T, B, F) and targets (T, B) of sequences (B, T, F) and their classes (B,)."""
        inputs = torch.tensor(x).transpose(0, 1).contiguous()
        targets = torch.full(inputs.shape[:2], UNSCORED)
        targets[-1] = torch.tensor(y)
        return inputs, targets

    @property
    def train_tokens(self) -> int:
        return self.training[1].numel()

    @property
    def held_out(self) -> Minibatch:
        inputs, targets = self.tested
        return inputs.to(self.device), targets.to(self.device)

    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        """All sequences in an order of the epoch's own; those that fill no minibatch are left out of it."""
        inputs, targets = self.training
        mixed = torch.randperm(inputs.shape[1], generator=order)
        B = self.config.batch_size
        for start in range(0, self.epoch_updates * B, B):
            some = mixed[start : start + B]
            yield inputs[:, some], targets[:, some]

    def updates_per_epoch(self) -> float:
        return self.training[0].shape[1] // self.config.batch_size

    def scores(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        return accuracy(readable(self.config, self.sizes, parameters), self.held_out)
