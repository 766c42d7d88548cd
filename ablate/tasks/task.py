"""What training asks of a task. Axes: T steps, B sequences; R replicas are the business of the engines."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Generator, Tensor

from ablate.config.resolved import Resolved
from ablate.config.validation import api_cannot
from ablate.data.corpora import Corpus
from ablate.networks.language_model import ENGINES, LanguageModel
from ablate.networks.parameters import Sizes, Vocabulary
from ablate.networks.targets import counted

if TYPE_CHECKING:
    from ablate.tasks.facts import TaskFacts

Minibatch = tuple[Tensor, Tensor]


class Task(ABC):
    """A resolved config together with its data; the constructor raises CombinationError if there are too few data.

    sizes                   the number of different tokens in the vocabulary, or in those of source and target; or
                            `Features(inputs, outputs)` for a task that reads real numbers
    train_tokens            the number of tokens to train on
    val_tokens              the number of tokens that are held out
    held_out                inputs and targets, of any T and B and on the device, on which runs are measured, or None
    test                    the same for test data, by which nothing is chosen and results are reported, or None
    carries_state           whether a minibatch starts from the state in which the previous one ended
    same_count_every_epoch  whether each epoch has equally many minibatches: only then do replicas stay in step
    scores_some             whether minibatches may have different numbers of scored targets, which are then counted: a
                            loss is a mean over these, not over minibatches. Without, all have equally many
    """

    facts: ClassVar["TaskFacts"]
    sizes: Vocabulary | Sizes
    carries_state = False
    same_count_every_epoch = True
    scores_some = True

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        self.config, self.corpus, self.device = config, corpus, device

    @property
    def train_tokens(self) -> int:
        return self.tokens_per_epoch

    @property
    def val_tokens(self) -> int:
        return 0 if self.held_out is None else int(counted(self.held_out[1]).sum())

    @property
    @abstractmethod
    def held_out(self) -> Minibatch | None: ...

    @property
    def test(self) -> Minibatch | None:
        return None

    @abstractmethod
    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        """An epoch: inputs (T, B), or (T, B, features) of real numbers, and targets (T, B); `order` decides what is
        random. A target of −1, or of NaN if targets are real numbers, is not scored. Tensors may be on any device; best
        is the CPU, from where training takes many at once. Whole numbers may be of any type."""

    def starts(self, order: Generator) -> Tensor | None:
        """The same minibatches, by the same draws, given as the places in `text` at which their sequences begin,
        (minibatches, B), on the CPU; None if they are not windows of a text."""
        return None

    @property
    def text(self) -> Tensor:
        """The tokens (n,), on the device, to which `starts` refers."""
        raise NotImplementedError

    @abstractmethod
    def updates_per_epoch(self) -> float:
        """The number of minibatches in an epoch; if it is random, its mean."""

    @property
    def epoch_updates(self) -> int:
        """The number of minibatches in an epoch; if it is random, the largest that is possible."""
        return round(self.updates_per_epoch())

    @property
    def tokens_per_epoch(self) -> int:
        """The number of tokens that an epoch reads, including those that are not scored."""
        return self.epoch_updates * self.config.batch_size * self.config.num_steps

    def network(self, parameters: Mapping[str, Tensor]) -> LanguageModel:
        """The trained network, on the CPU and not in training: inputs (T, B) or (T, B, features), and
        `initial_state(B)` → logits (T·B, outputs), states."""
        assert not isinstance(self.sizes, Sizes), "an encoder–decoder has two sequences"
        return readable(self.config, self.sizes, parameters)

    def held_out_counts(self) -> dict[str, int]:
        """What a record counts of the held-out data, beside `val_tokens`."""
        return {}

    @torch.inference_mode()
    def logits(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """What the trained network makes of inputs (T, B) or (T, B, features), on the CPU: (T, B, outputs)."""
        network = self.network(parameters)
        T, B = inputs.shape[:2]
        logits: Tensor = network(inputs.cpu(), network.initial_state(B))[0].view(T, B, -1)
        return logits

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


def as_int64(parts: Iterable[Tensor]) -> Minibatch:
    """Inputs and targets, whole numbers of any type as int64: as such networks, losses and kernels read them."""
    X, Y = (part if part.is_floating_point() else part.long() for part in parts)
    return X, Y


def readable(config: Resolved, vocabulary_size: Vocabulary, parameters: Mapping[str, Tensor]) -> LanguageModel:
    """A trained network, on the CPU, from its named parameters; of the engines that can, the quicker to step."""
    engine = "eager" if api_cannot(config) else "torch_nn"
    model = ENGINES[engine](config, vocabulary_size, {name: value.cpu() for name, value in parameters.items()})
    return model.eval()


LOGITS_AT_ONCE = 2**26
"""Numbers that a network may give at once where it is measured: of a text of words all together fill the memory."""


@torch.inference_mode()
def accuracy(model: LanguageModel, held_out: Minibatch | None) -> dict[str, float]:
    """The share of the scored targets (T, B) that the network ranks first."""
    if held_out is None:
        return {}
    X, Y = (part.cpu() for part in held_out)
    T, outputs = len(Y), len(model.output_b)
    right, sequences = 0, max(1, LOGITS_AT_ONCE // (T * outputs))
    for x, y in zip(torch.split(X, sequences, 1), torch.split(Y, sequences, 1), strict=True):
        logits, _ = model(x, model.initial_state(y.shape[1]))
        right += int((logits.argmax(-1).view(y.shape) == y)[counted(y)].sum())
    scored = int(counted(Y).sum())
    return {"accuracy": right / scored if scored else math.nan}
