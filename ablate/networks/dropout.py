"""What a network drops in training: where, how much of it, and by which masks.

A place is the number of the layer that reads what is dropped there:

    0              what the first layer reads (dropout_in)
    1 … L − 1      what the layers above it read (dropout)
    L              what the output layer reads (dropout_out)

and of an encoder–decoder 0 … L − 1 are the encoder's layers, L … 2L − 1 the decoder's, of which both have a first one,
and 2L is the output layer. Products with a state are not dropped from.

dropout_mask=step draws a mask for each step; variational draws one for all steps of a minibatch (Gal and Ghahramani
2016, without the masks of their recurrent products). Where the first layer reads tokens without an embedding, step
drops tokens, and variational words of the vocabulary, all of whose tokens in a sequence are dropped then.

Axes: R replicas (optional, first), T steps, B sequences, V vocabulary.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from ablate.config.resolved import Resolved
from ablate.networks.layer import Scaled

Masks = Mapping[int, Tensor]
"""Place → what is multiplied there (…, T, B, width), or (…, 1, B, width) the same at every step."""

NOTHING_DROPPED: Masks = MappingProxyType({})

VARIATIONAL = "variational"


def shares(config: Resolved, stacks: int = 1) -> dict[int, float]:
    """Place → the share that is dropped, of each where that is above 0; `stacks` of layers: 2 of an encoder–decoder."""
    L, last = config.layers, stacks * config.layers
    first_read = dict.fromkeys(range(0, last, L), config.dropout_in)
    every = {**dict.fromkeys(range(last), config.dropout), **first_read, last: config.dropout_out}
    return {place: share for place, share in every.items() if share > 0}


def steps_of(config: Resolved, T: int) -> int:
    """The steps of a mask for T steps."""
    return 1 if config.dropout_mask == VARIATIONAL else T


def dropout_mask(
    shape: torch.Size | tuple[int, ...], share: float, generator: Generator | None, dtype: torch.dtype
) -> Tensor:
    """Zeros for the dropped share, 1/(1 − share) elsewhere; drawn on the CPU, the same for every engine."""
    return not_dropped(shape, share, generator).to(dtype) / (1 - share)


def not_dropped(shape: torch.Size | tuple[int, ...], share: float, generator: Generator | None) -> Tensor:
    """Where a mask drops nothing."""
    return torch.rand(shape, generator=generator) >= share


def masked(X: Tensor, mask: Tensor | None) -> Tensor:
    """Numbers (…, T, B, width) times their mask."""
    return X if mask is None else X * mask


def masked_input(X: Tensor, mask: Tensor | None) -> Tensor | Scaled:
    """What a layer reads, numbers or tokens (…, T, B) that stand for their one-hot vectors, times its mask."""
    if mask is None or X.is_floating_point():
        return masked(X, mask)
    if mask.shape[-1] == 1:  # of each token
        return Scaled(X, mask)
    words = mask.expand(*X.shape, mask.shape[-1])
    return Scaled(X, words.gather(-1, X.unsqueeze(-1)))


def at_step(mask: Tensor, t: int) -> Tensor:
    """What of a mask belongs to step t, (…, 1, B, width)."""
    return mask if mask.shape[-3] == 1 else mask.narrow(-3, t, 1)
