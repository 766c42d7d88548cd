"""The output layer and the loss: logits, softmax and cross-entropy over the targets that count.

Axes: R replicas, T steps, B sequences, N = T·B tokens, H hidden units, V vocabulary.
"""

import math

import torch
from torch import Tensor

from ablate.config.metrics import UNSCORED
from ablate.engines.cohort.weights import Layout
from ablate.engines.divergence import asks
from ablate.networks.steps import Shape


class Output:
    """Logits, softmax and cross-entropy, with the vocabulary before the tokens: (R, V, N).

    In base 2, L = log₂e · (W Y + b) and P = 2^(L − max) / Σ, because torch's exp2 is three times as fast as its
    exp on the CPU; loss = ln 2 · (log₂ Σ − L[target]). That order of axes makes the softmax vectorise over tokens.

    A token whose target is `UNSCORED` does not count: a replica's loss is the mean over its other ones, 0 if there
    are none. As factors on the N terms of a plain mean: N over their number where a token counts, else 0.
    """

    def __init__(self, layout: Layout, parameters: Tensor, grads: Tensor | None, shape: Shape, V: int) -> None:
        self.W, self.b = layout.output_views(parameters)
        self.shape, self.products, self.V = shape, shape.products, V
        self.P = shape.zeros(shape.R, V, shape.T * shape.B)
        self.minus_ones = shape.zeros(shape.R, 1, shape.T * shape.B).fill_(-1)
        if grads is not None:
            self.dW, self.db = layout.output_views(grads)
            self.d_Y = shape.zeros(shape.R if shape.R > 1 else 0, shape.T * shape.B, shape.H)

    def losses(self, Y: Tensor, targets: Tensor) -> Tensor:
        """Top outputs (R, N, H), targets (R, T, B) → mean cross-entropy (R,) in nats per scored token.

        On the CPU, raises IndexError for a target that is neither in the vocabulary nor `UNSCORED`.
        """
        self.Y, self.targets = Y, targets.flatten(1).unsqueeze(1)
        self.factors = self._factors(self.targets)
        if self.factors is not None:
            self.targets = torch.where(self.targets == UNSCORED, 0, self.targets)
        log2_e = 1 / math.log(2)
        P = self.products.add(self.P, self.W, Y.transpose(1, 2), to=self.b, beta=log2_e, alpha=log2_e)
        P.sub_(P.amax(1, keepdim=True))
        of_targets = P.gather(1, self.targets)
        self.total = P.exp2_().sum(1, keepdim=True)
        terms = self.total.log2() - of_targets
        if self.factors is not None:  # chosen, not only multiplied: what overflows where nothing counts is no loss
            terms = torch.where(self.factors > 0, terms * self.factors, 0)
        return terms.mean((1, 2)).mul_(math.log(2))

    def _factors(self, targets: Tensor) -> Tensor | None:
        """What each token's term (R, 1, N) is multiplied by; None if every token counts.

        On a GPU, where to ask costs a synchronisation, always factors: of 1 they change no bit.
        """
        if lowest_of(targets, range(UNSCORED, self.V)) not in (UNSCORED, None):
            return None
        scored = targets != UNSCORED
        count = scored.sum(2, keepdim=True).clamp(min=1).to(self.P.dtype)
        return scored * (targets.shape[-1] / count)

    def backward(self, d_output: Tensor) -> None:
        """The gradients of W and b, and that of the top outputs (R, T, B, H)."""
        share = 1 / self.targets.shape[-1]
        scale, of_targets = self.total.reciprocal(), self.minus_ones
        if self.factors is not None:
            scale, of_targets = scale * self.factors, -self.factors
        d_L = self.P.mul_(scale).scatter_add_(1, self.targets, of_targets)
        self.products.add(self.dW, d_L, self.Y, beta=0, alpha=share)
        torch.mul(d_L.sum(2, keepdim=True), share, out=self.db)
        alone = self.shape.R == 1  # then the two layouts of steps are one
        d_Y = d_output.flatten(1, 2) if alone else self.d_Y
        self.products.add(d_Y, d_L.transpose(1, 2), self.W, beta=0, alpha=share)
        if not alone:
            d_output.copy_(d_Y.view(d_output.shape))


def lowest_of(words: Tensor, allowed: range) -> int | None:
    """The lowest of these numbers of words; None where nothing is asked: a GPU checks its indices itself.

    Raises IndexError if any is not allowed: torch's own check would not see that a replica reads another's rows.
    """
    if not asks(words):
        return None
    lowest, highest = (int(end) for end in words.aminmax())
    if lowest < allowed.start or highest >= allowed.stop:
        raise IndexError(f"a token outside the vocabulary of {allowed.stop}")
    return lowest
