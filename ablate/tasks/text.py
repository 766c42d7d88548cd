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
from ablate.networks.layer import State
from ablate.networks.parameters import shapes
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
    """Training tokens from the start of a text, held-out tokens right after them, or in files of their own."""

    scores_some = False

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
        return torch.tensor(self.training_ids)  # of the type in which the corpus keeps it

    @cached_property
    def text(self) -> Tensor:
        return self.tokens.to(self.device)

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

    sizes: int

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
        after = self.train_tokens, self.train_tokens + self.val_tokens
        for name, part, read, start in zip(
            ("val", "test"), ("valid", "test"), (self.held_out, self.test), after, strict=True
        ):
            if read is None or self.config.model.bidirectional:
                continue
            own = self.corpus.parts.get(part)
            of, start = (self.corpus, start) if own is None else (own, 0)
            scored = read[1].numel()
            characters = of.covered(start + 1, start + 1 + scored)  # nothing predicts the first token
            out |= {} if characters is None else {f"{name}_scored": scored, f"{name}_characters": characters}
            out |= {f"{name}_unknown": of.unknown} if of.unknown else {}
        return out

    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        return batches.epoch(self.config, self.tokens, order)

    def starts(self, order: Generator) -> Tensor | None:
        if type(self).minibatches is not LanguageModelling.minibatches:  # a user's, of which this knows nothing
            return None
        return batches.starts(self.config, self.train_tokens, order)

    def sees_future(self, parameters: Mapping[str, Tensor]) -> bool | None:
        return self._could_see_future or not self._is_causal(parameters)

    @cached_property
    def _could_see_future(self) -> bool:
        """Whether it does with random weights, which hide nothing that a network may have unlearnt."""
        sizes = shapes(self.config, self.sizes)
        return not self._is_causal(random_weights({name: torch.empty(size) for name, size in sizes.items()}))

    def _is_causal(self, weights: Mapping[str, Tensor]) -> bool:
        V, T = self.sizes, PROBED_STEPS  # held-out text has sequences of several steps, whatever num_steps is
        model = readable(self.config, V, weights)
        return is_causal(lambda tokens: model(tokens, model.initial_state(tokens.shape[1]))[0].view(T, -1, V), V, T)

    def texts(self, parameters: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, str]:
        model = readable(self.config, len(self.corpus.vocabulary), parameters)
        read = [self.read(prefix) for prefix in prefixes]
        texts = zip(prefixes, read, continued(model, self.corpus, read), strict=True)
        return {prefix: prefix + text[len(own) :] for prefix, own, text in texts}


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


@torch.inference_mode()
def continued(
    model: LanguageModel,
    corpus: Corpus,
    prefixes: Sequence[str],
    predicted: int = PREDICTED_TOKENS,
    temperature: float = 0.0,
    generator: Generator | None = None,
) -> list[str]:
    """Each prefix and its continuation by `predicted` tokens, from a zero state that is warmed up on the prefix.

    Each token is the likeliest or, at a temperature above 0, drawn with probabilities softmax(logits / temperature).
    All texts grow together, a token in a call. A bidirectional network cannot go on from a state: it reads each text
    so far again for each token.
    """
    model.eval()
    ids = [corpus.encode(prefix) or [0] for prefix in prefixes]
    starts = [len(own) for own in ids]

    def read_anew() -> tuple[Tensor, list[State]]:
        """The logits (texts, V) after each text so far, and the states."""
        ends = [model(torch.tensor(own).unsqueeze(1), model.initial_state(1)) for own in ids]
        layers = zip(*(states for _, states in ends), strict=True)
        together = [tuple(torch.cat(parts) for parts in zip(*layer, strict=True)) for layer in layers]
        return torch.stack([logits[-1] for logits, _ in ends]), together

    def following(logits: Tensor) -> list[int]:
        if temperature == 0:
            chosen = logits.argmax(-1)
        else:
            shares = torch.softmax(logits.double() / temperature, -1)
            chosen = torch.multinomial(shares, 1, generator=generator).squeeze(1)
        return list(map(int, chosen.tolist()))

    for made in range(predicted if ids else 0):
        if made == 0 or model.config.model.bidirectional:
            logits, states = read_anew()
        else:
            logits, states = model(torch.tensor([[own[-1] for own in ids]]), states)
        for own, token in zip(ids, following(logits), strict=True):
            own.append(token)
    made_of_each = [corpus.decode(own[start:]) for own, start in zip(ids, starts, strict=True)]
    texts = zip(prefixes, made_of_each, strict=True)
    return [corpus.separator.join([prefix, made]) if prefix else made for prefix, made in texts]


@torch.inference_mode()
def fill_in(model: LanguageModel, corpus: Corpus, text: str, mask: int) -> str:
    """`ti[m]e t[r]aveller`: every fourth token masked, and what the network puts there."""
    ids = torch.tensor(corpus.encode(text))
    if len(ids) == 0:
        return ""
    hidden = torch.arange(len(ids)) % 4 == 2
    logits, _ = model(ids.masked_fill(hidden, mask).unsqueeze(1), model.initial_state(1))
    likeliest = logits[:, :mask].argmax(-1)  # of what stands in texts
    words = corpus.vocabulary.decode(torch.where(hidden, likeliest, ids).tolist())
    opening, closing = FILLED
    filled = [f"{opening}{word}{closing}" if hid else word for word, hid in zip(words, hidden, strict=True)]
    return corpus.separator.join(filled)
