"""What training asks of a task. Axes: T steps, B sequences; R replicas are the business of the engines."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Generator, Tensor

from ablate.config.schema import Config
from ablate.data.corpora import Corpus
from ablate.networks.parameters import Sizes

Minibatch = tuple[Tensor, Tensor]


class Task(ABC):
    """A resolved config bound to its data; the constructor raises CombinationError where there is too little of it.

    sizes                   numbers of different tokens: the vocabulary's, or those of source and target
    train_tokens            tokens that there are to train on
    val_tokens              tokens that are held out
    held_out                inputs and targets, of any T and B, on which runs are measured, or None
    carries_state           whether a minibatch starts from the state in which the one before it ended
    same_count_every_epoch  whether each epoch has equally many minibatches: only then replicas stay in step
    scores_some             whether some targets are not scored, and their number differs between minibatches
    scored, scored_finally  names of what `scores` and `final_scores` measure
    """

    sizes: int | Sizes
    carries_state = False
    same_count_every_epoch = True
    scores_some = False
    scored: tuple[str, ...] = ()
    scored_finally: tuple[str, ...] = ()

    def __init__(self, config: Config, corpus: Corpus, device: torch.device) -> None:
        self.config, self.corpus, self.device = config, corpus, device

    @property
    @abstractmethod
    def train_tokens(self) -> int: ...

    @property
    @abstractmethod
    def val_tokens(self) -> int: ...

    @property
    @abstractmethod
    def held_out(self) -> Minibatch | None: ...

    @abstractmethod
    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        """An epoch: inputs (T, B) and targets (T, B), where −1 is not scored; `order` decides what is random."""

    @abstractmethod
    def updates_per_epoch(self) -> float:
        """Minibatches in an epoch; where their number depends on what is random, the mean."""

    @property
    def epoch_updates(self) -> int:
        """Minibatches in an epoch, where what is random is as favourable as it can be."""
        return round(self.updates_per_epoch())

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens that an epoch reads, the unscored ones included."""
        return self.epoch_updates * self.config.batch_size * self.config.num_steps

    def scores(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        """What is measured beside the held-out perplexity, whenever that is, of a network given by name."""
        return {}

    def final_scores(self, parameters: Mapping[str, Tensor], perplexity: float) -> dict[str, float]:
        """What is measured of the trained network alone, and what follows from its last epoch's perplexity."""
        return {}

    def sees_future(self, parameters: Mapping[str, Tensor]) -> bool | None:
        """Whether what should predict depends on later tokens; None where a task is no prediction."""
        return None

    def texts(self, parameters: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, str]:
        """What the trained network makes of each of `prefixes`, or examples of its own choice."""
        return {}

    def references(self, prefixes: Sequence[str]) -> dict[str, str]:
        """What a person wrote in its place, for those of these texts that have such."""
        return {}
