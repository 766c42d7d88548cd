"""Tasks whose sequences are generated: new ones in every epoch, measured on held-out ones, the same for all runs."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Generator, Tensor

from ablate.config.errors import CombinationError
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved
from ablate.data.corpora import Corpus
from ablate.tasks.task import Minibatch, Task, accuracy, readable

HELD_OUT_SEED = 10_000
HELD_OUT_SEQUENCES = 512
SHOWN = 2
"""Held-out sequences that stand in the record with their answers."""


class MadeByRule(Task):
    """`task.sequences` sequences in an epoch; `words` names the tokens, of inputs and answers alike."""

    words: list[str]
    scores_some = False

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        super().__init__(config, corpus, device)
        if config.task.sequences < config.batch_size:
            raise CombinationError(
                f"task.sequences is {config.task.sequences}, fewer than one minibatch of batch_size="
                f"{config.batch_size}; raise task.sequences or lower batch_size"
            )

    @abstractmethod
    def make_minibatch(self, B: int, generator: Generator) -> Minibatch:
        """B sequences as they are trained on: inputs and targets (T, B)."""

    @cached_property
    def held_out(self) -> Minibatch:
        X, Y = self.make_minibatch(HELD_OUT_SEQUENCES, Generator().manual_seed(HELD_OUT_SEED))
        return X.to(self.device), Y.to(self.device)

    @property
    def train_tokens(self) -> int:
        return self.tokens_per_epoch

    @property
    def val_tokens(self) -> int:
        return self.held_out[1].numel()

    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        for _ in range(self.epoch_updates):
            yield self.make_minibatch(self.config.batch_size, order)

    def updates_per_epoch(self) -> float:
        return int(self.config.task.sequences) // self.config.batch_size

    @property
    def tokens_per_epoch(self) -> int:
        return self.epoch_updates * self.config.batch_size * len(self.held_out[0])

    def scores(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        return accuracy(readable(self.config, len(self.words), parameters), self.held_out)

    @torch.inference_mode()
    def texts(self, parameters: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, str]:
        """A few held-out sequences, and what the network answers where it is asked; to a wrong answer the right one."""
        model = readable(self.config, len(self.words), parameters)
        X, Y = (part[:, :SHOWN].cpu() for part in self.held_out)
        answers = model(X, model.initial_state(SHOWN))[0].argmax(-1).view(Y.shape)
        out = {}
        for tokens, wanted, given in zip(X.T.tolist(), Y.T.tolist(), answers.T.tolist(), strict=True):
            asked = [(self.words[g], self.words[w]) for g, w in zip(given, wanted, strict=True) if w != UNSCORED]
            out[" ".join(self.words[token] for token in tokens)] = " → " + " ".join(
                told if told == right else f"{told} (not {right})" for told, right in asked
            )
        return out
