"""Tasks on a text: its next token, or masked tokens of it. Axes: T steps, B sequences, V vocabulary.

Held-out text is read by rules of its own, not by those of the training: its numbers do not depend on num_steps,
batch_size, sampling, task.masked or the seed. A network that only reads forwards and predicts the next token reads it
as VAL_STREAMS parallel streams and carries its state to the end. What starts anew with each sequence, a bidirectional
network or one that fills in, reads windows of HELD_OUT_WINDOW tokens, side by side from the first held-out token on;
of all of them task=fill_in masks HELD_OUT_MASKED, at positions that are drawn from HELD_OUT_SEED.
A record says by which rule it was measured: `ablate.config.metrics.evaluation`.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property

import torch
from omegaconf import OmegaConf
from torch import Generator, Tensor

from ablate.config.errors import CombinationError
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved
from ablate.config.schema import CONFIG_ROOT
from ablate.data import batches
from ablate.data.corpora import Corpus, split, split_for_test
from ablate.data.vocabulary import Numbers
from ablate.networks.causality import is_causal, random_weights
from ablate.networks.language_model import LanguageModel
from ablate.tasks.shipped import HELD_OUT_MASKED, HELD_OUT_WINDOW
from ablate.tasks.task import Minibatch, Task, accuracy, readable

VAL_STREAMS = 8
"""Held-out text is read as 8 parallel streams from a zero state, whatever the training's batch_size."""
PREDICTED_TOKENS = 50
"""Tokens generated after each prefix."""
PROBED_STEPS = 8
"""Tokens of the sequences in which the causality probe changes one after the other."""
HELD_OUT_SEED = 20_000
"""What is masked in the held-out text is the same for every run."""
FEW_CHARACTERS = 60
"""Characters of a text that a message can list."""
FILLED = ("[", "]")
"""What stands around a token that the network filled in, in the texts of a record."""


class TextTask(Task):
    """Training tokens from the start of a text, held-out tokens right after them."""

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        super().__init__(config, corpus, device)
        self.training_ids, self.held_out_ids = split(config, corpus)
        self.test_ids = split_for_test(config, corpus)
        self.carries_state = batches.carries_state(config)
        self.same_count_every_epoch = batches.same_count_every_epoch(config, self.train_tokens)
        if tuple(config.prefixes) != usual_prefixes():
            for prefix in config.prefixes:
                check_prefix(prefix, self.read(prefix), corpus)

    def read(self, prefix: str) -> str:
        """A prefix as the network reads it: in lower case where cleaning left the text no other."""
        return prefix.lower() if self.config.data.cleaning == "letters" else prefix

    @property
    def train_tokens(self) -> int:
        return len(self.training_ids)

    @property
    def val_tokens(self) -> int:
        return len(self.held_out_ids)

    @cached_property
    def tokens(self) -> Tensor:
        return torch.tensor(self.training_ids, device=self.device)  # of the type in which the corpus keeps it

    def updates_per_epoch(self) -> float:
        offsets = range(batches.largest_offset(self.config) + 1)
        return sum(batches.updates_per_epoch(self.config, self.train_tokens, k) for k in offsets) / len(offsets)

    @property
    def epoch_updates(self) -> int:
        return batches.updates_per_epoch(self.config, self.train_tokens)

    @cached_property
    def held_out(self) -> Minibatch | None:
        return self.scored(self.held_out_ids)

    @cached_property
    def test(self) -> Minibatch | None:
        return self.scored(self.test_ids)

    @abstractmethod
    def scored(self, ids: Numbers) -> Minibatch | None:
        """Tokens that are not trained on, as they are read, and what is scored of them; None of too few."""


class LanguageModelling(TextTask):
    """The next token, of every token."""

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        super().__init__(config, corpus, device)
        self.sizes = len(corpus.vocabulary)

    def scored(self, ids: Numbers) -> Minibatch | None:
        if not self.config.model.bidirectional:
            return streams(ids, self.device)
        # A network that reads backwards, too, begins each sequence anew: it carries nothing along a stream.
        windows = in_windows(ids)
        return None if windows is None else (windows[:-1].to(self.device), windows[1:].to(self.device))

    def held_out_counts(self) -> dict[str, int]:
        """The tokens whose loss is the held-out one, and the characters that they cover, where these are known.

        A network that reads backwards, too, is told what it scores: there is no code of so many bits.
        """
        out: dict[str, int] = {}
        start = self.train_tokens
        for name, ids, read in (("val", self.held_out_ids, self.held_out), ("test", self.test_ids, self.test)):
            if read is not None and not self.config.model.bidirectional:
                scored = read[1].numel()
                characters = self.corpus.covered(start + 1, start + 1 + scored)  # nothing predicts the first token
                out |= {} if characters is None else {f"{name}_scored": scored, f"{name}_characters": characters}
            start += len(ids)
        return out

    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        return batches.epoch(self.config, self.tokens, order)

    def sees_future(self, parameters: Mapping[str, Tensor]) -> bool | None:
        V = len(self.corpus.vocabulary)  # held-out text has sequences of more than one step, whatever num_steps is
        weights = (random_weights(parameters), parameters)
        return not all(self._is_causal(own, V, PROBED_STEPS) for own in weights)

    def _is_causal(self, weights: Mapping[str, Tensor], V: int, T: int) -> bool:
        model = readable(self.config, V, weights)
        return is_causal(lambda tokens: model(tokens, model.initial_state(tokens.shape[1]))[0].view(T, -1, V), V, T)

    def texts(self, parameters: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, str]:
        model = readable(self.config, len(self.corpus.vocabulary), parameters)
        read = {prefix: self.read(prefix) for prefix in prefixes}
        return {prefix: prefix + generate(model, self.corpus, own)[len(own) :] for prefix, own in read.items()}


class FillIn(TextTask):
    """Masked tokens, from what stands around them; only they are scored.

    The mask is a token of its own, the last of the vocabulary, and so one that is never right.
    """

    scores_some = True

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        super().__init__(config, corpus, device)
        self.mask = len(corpus.vocabulary)
        self.sizes = self.mask + 1

    def scored(self, ids: Numbers) -> Minibatch | None:
        windows = in_windows(ids)
        if windows is None:
            return None
        X, Y = self.masked(windows, HELD_OUT_MASKED, Generator().manual_seed(HELD_OUT_SEED))
        return X.to(self.device), Y.to(self.device)

    def masked(self, tokens: Tensor, share: float, generator: Generator) -> Minibatch:
        """Tokens (T, B) → the same with a share of them masked, and the masked ones as targets; at least one."""
        hidden = (torch.rand(tokens.shape, generator=generator) < share).to(tokens.device)
        hidden[0, 0] |= ~hidden.any()
        return tokens.masked_fill(hidden, self.mask), tokens.masked_fill(~hidden, UNSCORED)

    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        for X, _ in batches.epoch(self.config, self.tokens, order):
            yield self.masked(X, self.config.task.masked, order)

    def scores(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        network = readable(self.config, self.mask + 1, parameters)
        tested = accuracy(network, self.test)
        return accuracy(network, self.held_out) | ({"test_accuracy": tested["accuracy"]} if tested else {})

    def texts(self, parameters: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, str]:
        """Each prefix with every fourth of its tokens masked, and in brackets what the network puts there."""
        model = readable(self.config, self.mask + 1, parameters)
        return {prefix: fill_in(model, self.corpus, self.read(prefix), self.mask) for prefix in prefixes}


@cache
def usual_prefixes() -> tuple[str, ...]:
    """Those of conf/config.yaml, which a text of one's own need not be able to spell."""
    return tuple(OmegaConf.load(CONFIG_ROOT / "conf" / "config.yaml").prefixes)


def check_prefix(typed: str, read: str, corpus: Corpus) -> None:
    """Raise CombinationError for a prefix with a character, or a word, that the text does not have."""
    tokens = list(read) if corpus.unit == "char" else read.split()
    unknown = next((token for token in tokens if token not in corpus.vocabulary.stoi), None)
    if unknown is None:
        return
    known = corpus.vocabulary.itos[1:]
    few = corpus.unit == "char" and len(known) <= FEW_CHARACTERS
    has = f"of {''.join(sorted(known))!r}" if few else f"of its {len(known):,} different {corpus.unit}s"
    raise CombinationError(
        f"prefixes has {typed!r}, but {corpus.name} has no {unknown!r}; give prefixes {has}, or prefixes=[]"
    )


def in_windows(ids: Numbers) -> Tensor | None:
    """Held-out tokens cut into sequences of HELD_OUT_WINDOW (T, B), or into one where there are fewer."""
    T = min(HELD_OUT_WINDOW, len(ids))
    return None if T < 2 else torch.tensor(ids[: len(ids) // T * T]).long().reshape(-1, T).T


def streams(ids: Numbers | Sequence[int], device: torch.device) -> Minibatch | None:
    """Held-out tokens as parallel streams: inputs (steps, streams) and targets; None for fewer than 2 tokens."""
    if len(ids) < 2:
        return None
    S = min(VAL_STREAMS, len(ids) - 1)
    tokens = torch.tensor(ids, device=device).long()
    count = (len(ids) - 1) // S * S
    return tokens[:count].reshape(S, -1).T, tokens[1 : count + 1].reshape(S, -1).T


def generate(model: LanguageModel, corpus: Corpus, prefix: str, predicted: int = PREDICTED_TOKENS) -> str:
    """The prefix and its greedy continuation, see `continued`."""
    return continued(model, corpus, prefix, predicted)


@torch.inference_mode()
def continued(
    model: LanguageModel,
    corpus: Corpus,
    prefix: str,
    predicted: int,
    temperature: float = 0.0,
    generator: Generator | None = None,
) -> str:
    """The prefix and its continuation by `predicted` tokens: batch of one, zero state, warmed up on the prefix.

    Each is the likeliest or, at a temperature above 0, drawn with probabilities softmax(logits / temperature). A
    bidirectional network cannot go on from a state: it reads the whole text so far again for each token.
    """
    model.eval()
    ids = corpus.encode(prefix) or [0]
    carries = not model.config.model.bidirectional
    logits, states = model(torch.tensor(ids).unsqueeze(1), model.initial_state(1))
    for _ in range(predicted):
        if temperature > 0:
            shares = torch.softmax(logits[-1].double() / temperature, -1)
            ids.append(int(torch.multinomial(shares, 1, generator=generator)))
        else:
            ids.append(int(logits[-1].argmax()))
        if carries:
            logits, states = model(torch.tensor([[ids[-1]]]), states)
        else:
            logits, _ = model(torch.tensor(ids).unsqueeze(1), model.initial_state(1))
    continuation = corpus.decode(ids[len(ids) - predicted :])
    return corpus.separator.join([prefix, continuation]) if prefix else continuation


@torch.inference_mode()
def fill_in(model: LanguageModel, corpus: Corpus, text: str, mask: int) -> str:
    """`ti[m]e t[r]aveller`: every fourth token masked, and what the network puts there."""
    ids = torch.tensor(corpus.encode(text))
    if len(ids) == 0:
        return ""
    hidden = torch.arange(len(ids)) % 4 == 2
    logits, _ = model(ids.masked_fill(hidden, mask).unsqueeze(1), model.initial_state(1))
    words = corpus.vocabulary.decode(torch.where(hidden, logits.argmax(-1).clamp_max(mask - 1), ids).tolist())
    opening, closing = FILLED
    filled = [f"{opening}{word}{closing}" if hid else word for word, hid in zip(words, hidden, strict=True)]
    return corpus.separator.join(filled)
