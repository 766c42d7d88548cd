"""Clipping and the update rules of torch.optim for all parameters of a few replicas at once.

Axes: R replicas, P numbers per replica. Learning rate, clip and weight decay are (R, 1): each replica has its own.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ablate.config.schema import Config
from ablate.engines.divergence import finite_rows


class Update:
    """The rule of a shipped optimizer, with its moments as buffers (R, P)."""

    def __init__(self, configs: Sequence[Config], parameters: Tensor) -> None:
        def each(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=parameters.dtype, device=parameters.device).unsqueeze(1)

        self.options = configs[0].optimizer
        self.parameters = parameters
        clips = [math.inf if config.clip is None else config.clip for config in configs]
        decays = [config.optimizer.weight_decay for config in configs]
        self.lr = each([config.lr for config in configs])
        self.clip = each(clips) if min(clips) < math.inf else None
        self.decay = each(decays) if any(decays) else None
        self.one = torch.ones_like(self.lr)
        self.done = 0
        rule, moments = {
            "sgd": (self._sgd, ()),
            "momentum": (self._momentum, ("velocity",)),
            "adam": (self._adam, ("mean", "square")),
            "adamw": (self._adam, ("mean", "square")),
            "rmsprop": (self._rmsprop, ("square", "velocity") if self.options.momentum > 0 else ("square",)),
        }[self.options.name]
        self.rule: Callable[[Tensor], None] = rule
        self.moments = {name: torch.zeros_like(parameters) for name in moments}

    def __call__(self, grads: Tensor, norms: Tensor) -> None:
        """Clip the gradients (R, P) of these norms (R, 1), in place, and move the parameters."""
        self.done += 1
        clip, one = self.clip, self.one
        scale = one if clip is None else torch.where(norms > clip, clip / norms, one)
        if self.options.name == "sgd" and self.decay is None:
            self.parameters.addcmul_(grads, self.lr * scale, value=-1)  # both factors in one pass
            return
        if clip is not None:
            grads.mul_(scale)
        if self.decay is not None:
            if self.options.name == "adamw":
                self.parameters.mul_(1 - self.lr * self.decay)
            else:
                grads.addcmul_(self.parameters, self.decay)
        self.rule(grads)

    def finite(self) -> Tensor:
        """Whether each replica's parameters and moments are: (R,)."""
        return torch.stack([finite_rows(rows) for rows in (self.parameters, *self.moments.values())]).all(0)

    def _sgd(self, grads: Tensor) -> None:
        self.parameters.addcmul_(grads, self.lr, value=-1)

    def _momentum(self, grads: Tensor) -> None:
        velocity = self.moments["velocity"].mul_(self.options.momentum).add_(grads)
        self.parameters.addcmul_(velocity, self.lr, value=-1)

    def _adam(self, grads: Tensor) -> None:
        beta_1, beta_2 = self.options.betas
        mean = self.moments["mean"].lerp_(grads, 1 - beta_1)
        square = self.moments["square"].mul_(beta_2).addcmul_(grads, grads, value=1 - beta_2)
        root = square.sqrt().div_(math.sqrt(1 - beta_2**self.done)).add_(self.options.eps)
        self.parameters.sub_(mean.mul(self.lr / (1 - beta_1**self.done)).div_(root))

    def _rmsprop(self, grads: Tensor) -> None:
        alpha, momentum = self.options.alpha, self.options.momentum
        square = self.moments["square"].mul_(alpha).addcmul_(grads, grads, value=1 - alpha)
        change = grads / square.sqrt().add_(self.options.eps)
        if momentum > 0:
            change = self.moments["velocity"].mul_(momentum).add_(change)
        self.parameters.addcmul_(change, self.lr, value=-1)
