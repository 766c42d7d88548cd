"""Sentences of one language to another. Axes: T steps, B or N sentences."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Generator, Tensor

from ablate.config.errors import CombinationError, counted
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved
from ablate.data.corpora import Corpus
from ablate.data.pairs import Pair, Pairs, clean
from ablate.data.vocabulary import Vocabulary
from ablate.networks.parameters import Sizes
from ablate.networks.translator import BOS, EOS, PAD, RESERVED, Translator
from ablate.tasks.bleu import corpus_bleu, require_sacrebleu, sentence_bleu
from ablate.tasks.task import Minibatch, Task

PIECE = 256
"""So many sentences are read at once: bounds the memory, does not change the outcome."""
SCORED = 2_000
"""The accuracy is that of so many pairs at most."""
MIN_COUNT = 2
"""Words that the training pairs have less often are `<unk>`."""


class Translation(Task):
    """The first `task.pairs` pairs are trained on; of the pairs after them, `task.val_pairs` with other sources are
    held out.

    Inputs are (2, T, B): the source, and the target one step later, from `<bos>` on (teacher forcing). Sentences end
    with `<eos>` and are then cut or padded to T = num_steps. Padding is not scored. Each epoch has all training pairs
    in a new order; its last minibatch is what is left, as in the course.
    """

    scores_some = True

    def __init__(self, config: Resolved, corpus: Corpus, device: torch.device) -> None:
        super().__init__(config, corpus, device)
        self.pairs = cast(Pairs, corpus)
        check(config)
        training, self.held_out_pairs = split(config, self.pairs)
        if self.held_out_pairs:
            require_sacrebleu()
        self.source = Vocabulary((word for pair in training for word in pair[0].split(" ")), RESERVED, MIN_COUNT)
        self.target = Vocabulary((word for pair in training for word in pair[1].split(" ")), RESERVED, MIN_COUNT)
        self.sizes = self._sizes = Sizes(len(self.source), len(self.target))
        self.training = self.make_minibatch(training)
        self._held_out = None
        if self.held_out_pairs:
            X, Y = self.make_minibatch(self.held_out_pairs)
            self._held_out = X.to(device), Y.to(device)
        self.shown(config.prefixes)  # a sentence that cannot be translated is refused before anything is trained

    @property
    def train_tokens(self) -> int:
        return _scored(self.training)

    @property
    def val_tokens(self) -> int:
        return _scored(self._held_out) if self._held_out else 0

    @property
    def tokens_per_epoch(self) -> int:
        return self.training[1].numel()

    @property
    def held_out(self) -> Minibatch | None:
        return self._held_out

    def make_minibatch(self, pairs: Sequence[Pair]) -> Minibatch:
        """Pairs → inputs (2, T, B) and targets (T, B)."""
        source = self.padded(pair[0] for pair in pairs)
        target = _padded((self.target.encode(pair[1].split(" ")) for pair in pairs), self.config.num_steps)
        shifted = torch.cat((torch.full_like(target[:1], BOS), target[:-1]))
        return torch.stack((source, shifted)), target.masked_fill(target == PAD, UNSCORED)

    def padded(self, sentences: Iterable[str]) -> Tensor:
        """Sentences in the source's language → (T, B)."""
        return _padded((self.source.encode(sentence.split(" ")) for sentence in sentences), self.config.num_steps)

    def minibatches(self, order: Generator) -> Iterator[Minibatch]:
        X, Y = self.training
        for chosen in torch.split(torch.randperm(Y.shape[1], generator=order), self.config.batch_size):
            yield X[:, :, chosen], Y[:, chosen]

    def updates_per_epoch(self) -> int:
        return -(-self.training[1].shape[1] // self.config.batch_size)

    @torch.inference_mode()
    def scores(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        """The share of target words that are ranked first when the ones before them are given.

        Of the held-out pairs, or where there are none, of the first training pairs.
        """
        X, Y = (part[..., :SCORED].cpu() for part in self.held_out or self.training)
        translator, right = self.translator(parameters), 0
        for tokens, targets in zip(torch.split(X, PIECE, -1), torch.split(Y, PIECE, -1), strict=True):
            right += int((translator(tokens)[0].argmax(-1) == targets).sum())  # no word is UNSCORED
        return {"accuracy": right / int((Y != UNSCORED).sum())}

    def final_scores(self, parameters: Mapping[str, Tensor], perplexity: float) -> dict[str, float]:
        """BLEU of the held-out pairs as a corpus, and the figures of the course.

        course_bleu is the mean of the course's BLEU(2) over the data's own samples. course_loss is the training
        cross-entropy per token once more divided by num_steps: the course took the mean over all steps, padding
        included, and then divided by the number of words.
        """
        out = {"course_loss": math.log(perplexity) / self.config.num_steps}
        if self.held_out_pairs:
            references: dict[str, list[str]] = {}
            for source, target in self.held_out_pairs:
                references.setdefault(source, []).append(target)
            predictions = self.translated(parameters, list(references))
            out["bleu"] = corpus_bleu(dict(zip(references, predictions, strict=True)), references)
        sources, wanted = zip(*self.pairs.samples, strict=True)
        predictions = self.translated(parameters, sources)
        out["course_bleu"] = statistics.fmean(map(sentence_bleu, predictions, wanted))
        return out

    def texts(self, parameters: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, str]:
        """The translation of each of `prefixes`, or, where there are none, of the data's own samples."""
        shown = self.shown(prefixes)
        return dict(zip(shown, self.translated(parameters, [source for source, _ in shown.values()]), strict=True))

    def references(self, prefixes: Sequence[str]) -> dict[str, str]:
        """The first translation that the data has of each of these sentences."""
        return {prefix: reference for prefix, (_, reference) in self.shown(prefixes).items() if reference}

    def translated(self, parameters: Mapping[str, Tensor], sources: Sequence[str]) -> list[str]:
        """Greedy translations, of at most num_steps words, without `<eos>`."""
        translator = self.translator(parameters)
        pieces = torch.split(self.padded(sources), PIECE, -1)
        ids = torch.cat([translator.greedy(piece, self.config.num_steps) for piece in pieces], -1).T.tolist()
        return [" ".join(self.target.decode([word for word in sentence if word != EOS])) for sentence in ids]

    def translator(self, parameters: Mapping[str, Tensor]) -> Translator:
        """The network of one replica, on the CPU."""
        own = {name: value.cpu() for name, value in parameters.items()}
        return Translator(self.config, self._sizes, own, project=True)

    def shown(self, prefixes: Sequence[str]) -> dict[str, Pair]:
        """Sentences to show, each cleaned and with its reference, or an empty string where the pairs do not have it.

        Raises CombinationError for a sentence with a word that no pair has.
        """
        if not prefixes:
            return {source: (source, reference) for source, reference in self.pairs.samples}
        known = dict(reversed(self.pairs.pairs)) | dict(self.pairs.samples)
        words = {word for source in known for word in source.split(" ")}
        out = {}
        for prefix in prefixes:
            source = " ".join(clean(prefix).split())
            unknown = [word for word in source.split() if word not in words]
            if unknown or not source:
                what = f"{unknown[0]!r} stands in no source sentence of {self.pairs.name}" if unknown else "it is empty"
                raise CombinationError(
                    f"prefixes has {prefix!r}, but {what}; give sentences of words from there, or prefixes=[]"
                )
            out[prefix] = source, known.get(source, "")
        return out


def split(config: Resolved, pairs: Pairs) -> tuple[Sequence[Pair], Sequence[Pair]]:
    """Training pairs from the start, held-out pairs after them whose source is none of the training's.

    Raises CombinationError where there are too few.
    """
    total, held = len(pairs.pairs), config.task.val_pairs
    count = total - held if config.task.pairs is None else config.task.pairs
    _enough(config, max(count, 0), total)
    if count + held > total:
        raise CombinationError(
            f"{pairs.name} has {counted(total, 'pair')}, but task.pairs={count} and task.val_pairs={held} ask for "
            f"{count + held:,}; lower one of them, or give task.pairs=null for all that are not held out"
        )
    if config.task.pairs is not None:
        return _after(pairs, count, held)
    training, held_out = _apart(pairs.pairs, count)
    _enough(config, len(training), total, shared=count - len(training))
    return training, held_out


def _enough(config: Resolved, count: int, total: int, shared: int = 0) -> None:
    """Raise CombinationError unless there is a minibatch to train on; `shared`: pairs left out for their source."""
    if count >= config.batch_size:
        return
    remedies = [f"lower batch_size={config.batch_size}"]
    if config.task.pairs is not None:
        remedies.append(f"raise task.pairs={config.task.pairs}")
    elif config.task.val_pairs:
        remedies.append(f"lower task.val_pairs={config.task.val_pairs}")
    without = f" ({shared:,} have a source that is held out)" if shared else ""
    raise CombinationError(
        f"{count:,} of {counted(total, 'pair')} left to train on{without}, fewer than one minibatch; "
        f"{' or '.join(remedies)}"
    )


def _apart(pairs: Sequence[Pair], count: int) -> tuple[Sequence[Pair], Sequence[Pair]]:
    """All pairs from `count` on are held out; before it those are trained on that have another source."""
    held_out = pairs[count:]
    sources = {source for source, _ in held_out}
    return [pair for pair in pairs[:count] if pair[0] not in sources], held_out


def _after(pairs: Pairs, count: int, held: int) -> tuple[Sequence[Pair], Sequence[Pair]]:
    """The first `count` pairs are trained on; the first `held` after them with another source are held out."""
    training, rest = pairs.pairs[:count], pairs.pairs[count:]
    sources = {source for source, _ in training}
    others = [pair for pair in rest if pair[0] not in sources] if held else []
    if len(others) < held:
        raise CombinationError(
            f"task.val_pairs is {held}, but of the {len(rest):,} pairs of {pairs.name} after the first {count:,}, "
            f"{len(others):,} have a source that is not trained on; lower task.val_pairs or task.pairs"
        )
    return training, others[:held]


def check(config: Resolved) -> None:
    """Raise CombinationError for what an encoder–decoder cannot be."""
    if config.task.attention and config.task.context != "constant":
        raise CombinationError(
            f"task.context is {config.task.context}, but with task.attention=true each step has a context of its own; "
            "leave one of them out"
        )
    model = config.model
    if model.stacks_plainly:
        return
    changed = "bidirectional=true" if model.bidirectional else f"connection={model.connection}"
    raise CombinationError(
        f"model.{changed} is for language_model, fill_in and memory; the encoder and decoder of task=translation "
        "stack their layers plainly"
    )


def _padded(sentences: Iterable[list[int]], T: int) -> Tensor:
    """Sentences of numbers, `<eos>` appended, cut or filled up to T: (T, B)."""
    return torch.tensor([(sentence + [EOS] + [PAD] * T)[:T] for sentence in sentences]).T


def _scored(minibatch: Minibatch) -> int:
    return int((minibatch[1] != UNSCORED).sum())
