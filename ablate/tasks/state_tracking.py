"""State tracking: the running product of a group's elements, on sequences longer than any that was trained on."""

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Generator, Tensor

from ablate.config.errors import CombinationError
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved
from ablate.data.corpora import Corpus
from ablate.data.groups import GROUPS
from ablate.tasks.made_by_rule import HELD_OUT_SEED, MadeByRule
from ablate.tasks.task import Minibatch, accuracy, readable

LONG_SEQUENCES = 128


class StateTracking(MadeByRule):
    """A group of `ablate.data.groups`: trained on `num_steps` elements, tried on `task.long`."""

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        super().__init__(config, corpus, device)
        if config.task.long <= config.num_steps:
            raise CombinationError(
                f"task.long is {config.task.long}, no more than num_steps={config.num_steps}: no sequence would be "
                "longer than those that are trained on; raise task.long or lower num_steps"
            )
        self.group = GROUPS[config.data.name](config.data)
        self.words = self.group.words
        self.sizes = len(self.words)

    def make_minibatch(self, B: int, generator: Generator) -> Minibatch:
        return self.group.make(self.config.num_steps, B, generator)

    @cached_property
    def long(self) -> Minibatch:
        """Sequences of `task.long` elements, of which only the answers beyond `num_steps` count."""
        X, Y = self.group.make(self.config.task.long, LONG_SEQUENCES, Generator().manual_seed(HELD_OUT_SEED + 1))
        Y[: self.config.num_steps] = UNSCORED
        return X, Y

    def final_scores(self, parameters: Mapping[str, Tensor], perplexity: float) -> dict[str, float]:
        found = accuracy(readable(self.config, len(self.words), parameters), self.long)
        return {"accuracy_long": found["accuracy"]}
