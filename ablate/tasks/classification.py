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

HELD_OUT_SEED = 30_000
"""Which training sequences are kept back is the same for every run."""


class Classification(Task):
    """Labelled sequences of `ablate.data.labelled`.

    With task.val_sequences=0 they are trained on all sequences that the data have for training, and measured on the
    test set. Otherwise so many of the training sequences are kept back, drawn once and alike for all runs: these are
    the held-out ones, by which an epoch, a setting or a trial is chosen, and the test set reports.

    Axes: T steps, B sequences, F numbers of a step. Inputs are (T, B, F), targets (T, B) with the class at the last
    step, which alone is scored.
    """

    scores_some = False

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        super().__init__(config, corpus, device)
        count, length, width = corpus.arrays["x"].shape
        if config.num_steps != length:
            raise CombinationError(
                f"num_steps is {config.num_steps}, but the sequences of {corpus.name} have {length} steps; "
                f"give num_steps={length}"
            )
        x, y = corpus.arrays["x"], corpus.arrays["y"]
        kept = config.task.val_sequences
        if count - kept < config.batch_size:
            beside = f" beside task.val_sequences={kept}" if kept else ""
            some = count > kept
            knob = "batch_size" if some else "task.val_sequences"
            most = count - kept if some else max(count - config.batch_size, 0)
            raise CombinationError(
                f"batch_size is {config.batch_size}, but {corpus.name} has {max(count - kept, 0)} sequences to train on"
                f"{beside}; give a {knob} of {most} or less"
            )
        self.sizes: Features = Features(width, int(y.max()) + 1)
        order = torch.randperm(count, generator=Generator().manual_seed(HELD_OUT_SEED)).numpy()
        chosen, trained = np.sort(order[:kept]), np.sort(order[kept:])
        unseen = np.setdiff1d(y, y[trained])
        if len(unseen):
            raise CombinationError(
                f"task.val_sequences is {kept}, which leaves none of class {unseen[0]} of {corpus.name} to train on; "
                "give a lower number"
            )
        self.training = self.asked(x[trained], y[trained])
        self.chosen_by = self.asked(x[chosen], y[chosen]) if kept else None
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
        return self._on_device(self.chosen_by or self.tested)

    @property
    def test(self) -> Minibatch | None:
        return None if self.chosen_by is None else self._on_device(self.tested)

    def _on_device(self, minibatch: Minibatch) -> Minibatch:
        inputs, targets = minibatch
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
        network = readable(self.config, self.sizes, parameters)
        tested = accuracy(network, self.test)
        return accuracy(network, self.held_out) | ({"test_accuracy": tested["accuracy"]} if tested else {})
