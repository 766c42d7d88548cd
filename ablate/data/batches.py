"""Minibatches of a token sequence. Axes: T steps, B sequences; time first, as the networks read them.

A text may be kept in one byte a token; minibatches are of int64, with which torch computes.
"""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from ablate.config.resolved import Resolved


def sequential(tokens: Tensor, B: int, T: int, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """B parallel streams cut into pieces of T steps: minibatch k+1 continues the sequences of minibatch k.

    One random offset per epoch, uniform on 0 … T inclusive; what does not fill a minibatch is dropped.
    Yields inputs (T, B) and targets (T, B), the inputs one token later.
    """
    offset = int(torch.randint(0, T + 1, (), generator=generator))
    count = (len(tokens) - offset - 1) // B * B
    inputs = tokens[offset : offset + count].reshape(B, -1).T
    targets = tokens[offset + 1 : offset + 1 + count].reshape(B, -1).T
    for start in range(0, len(inputs) // T * T, T):
        yield inputs[start : start + T].long(), targets[start : start + T].long()


def random(tokens: Tensor, B: int, T: int, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Subsequences of T steps in shuffled order; an incomplete minibatch is dropped.

    One random offset per epoch, uniform on 0 … T−1. Yields inputs (T, B) and targets (T, B).
    """
    offset = int(torch.randint(0, T, (), generator=generator))
    count = (len(tokens) - offset - 1) // T
    starts = offset + T * torch.randperm(count, generator=generator)
    steps = torch.arange(T).unsqueeze(1)
    for first in range(0, count // B * B, B):
        where = starts[first : first + B] + steps
        yield tokens[where].long(), tokens[where + 1].long()


def epoch(config: Resolved, tokens: Tensor, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """The minibatches of one epoch under `config.sampling`; tokens (n,) of any device."""
    sample = random if config.sampling == "random" else sequential
    return sample(tokens, config.batch_size, config.num_steps, generator)


def starts(config: Resolved, tokens: int, generator: Generator) -> Tensor:
    """Where the sequences of the minibatches of `epoch` begin, (minibatches, B), by the same draws.

    Inputs are the T tokens from there on, targets those one later.
    """
    B, T = config.batch_size, config.num_steps
    offset = int(torch.randint(0, largest_offset(config) + 1, (), generator=generator))
    count = updates_per_epoch(config, tokens, offset)
    if config.sampling == "random":
        order = torch.randperm((tokens - offset - 1) // T, generator=generator)
        return offset + T * order[: count * B].view(count, B)
    length = (tokens - offset - 1) // B  # of a stream
    return offset + T * torch.arange(count).unsqueeze(1) + length * torch.arange(B)


def carries_state(config: Resolved) -> bool:
    """Whether a minibatch starts from the state in which the one before it ended."""
    return config.sampling == "sequential"


def updates_per_epoch(config: Resolved, tokens: int, offset: int = 0) -> int:
    """Minibatches in an epoch that starts at `offset`."""
    B, T = config.batch_size, config.num_steps
    if config.sampling == "random":
        return (tokens - offset - 1) // T // B
    return (tokens - offset - 1) // B // T


def same_count_every_epoch(config: Resolved, tokens: int) -> bool:
    """Whether every offset gives the same number of minibatches: only then do replicas stay in step."""
    return updates_per_epoch(config, tokens) == updates_per_epoch(config, tokens, largest_offset(config))


def largest_offset(config: Resolved) -> int:
    return config.num_steps - 1 if config.sampling == "random" else config.num_steps
