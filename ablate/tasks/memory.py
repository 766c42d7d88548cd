"""Memory tasks: what a network must remember, skip or forget."""

import torch
from torch import Generator

from ablate.config.resolved import Resolved
from ablate.data.corpora import Corpus
from ablate.data.memory import RULES
from ablate.tasks.made_by_rule import MadeByRule
from ablate.tasks.task import Minibatch


class Memory(MadeByRule):
    """A rule of `ablate.data.memory` at the length `num_steps`."""

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        self.rule = RULES[config.data.name]
        self.rule.check(config.data.name, config.num_steps)
        super().__init__(config, corpus, device)
        self.words = self.rule.words(config.task.symbols)
        self.sizes = len(self.words)

    def make_minibatch(self, B: int, generator: Generator) -> Minibatch:
        return self.rule.make(self.config.num_steps, B, self.config.task.symbols, generator)
