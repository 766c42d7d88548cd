"""The optimizers that come with the package: the rules of torch.optim, as it computes them.

Axes: R replicas, P numbers per replica; lr and weight_decay are (R, 1).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ablate.config.registry import Knob
from ablate.optimizers.optimizer import on, optimizer

if TYPE_CHECKING:
    from torch import Tensor


def _decay(default: float = 0.0, how: str = "added to the gradient, times the parameter") -> Knob:
    return Knob("weight_decay", float, default, f"weight decay, {how}", minimum=0, per_replica=True)


def _momentum(default: float) -> Knob:
    return Knob("momentum", float, default, "share of the velocity that is kept", minimum=0, below=1)


BETAS = Knob("betas", list[float], [0.9, 0.999], "shares of both moments that are kept", minimum=0, below=1)
EPS = Knob("eps", float, 1e-8, "added to the root, so that nothing is divided by 0", above=0)
ALPHA = Knob("alpha", float, 0.99, "share of the mean square that is kept", minimum=0, below=1)


@optimizer(lr=1.0, knobs=[_decay()], is_descent=True)
def sgd(parameters: Tensor, gradients: Tensor, *, lr: Tensor, weight_decay: Any) -> None:
    """Plain stochastic gradient descent, as in the published tables."""
    if on(weight_decay):
        gradients.addcmul_(parameters, weight_decay)
    parameters.addcmul_(gradients, lr, value=-1)


@optimizer(lr=0.1, knobs=[_momentum(0.9), _decay()])
def momentum(
    parameters: Tensor, gradients: Tensor, velocity: Tensor, *, lr: Tensor, momentum: float, weight_decay: Any
) -> None:
    """Gradient descent with momentum."""
    if on(weight_decay):
        gradients.addcmul_(parameters, weight_decay)
    velocity.mul_(momentum).add_(gradients)
    parameters.addcmul_(velocity, lr, value=-1)


def _root(value: Any) -> Any:
    """Of a number, or of a tensor."""
    return math.sqrt(value) if isinstance(value, float) else value.sqrt()


def _adam(
    parameters: Tensor, gradients: Tensor, mean: Tensor, square: Tensor, lr: Tensor, step: Any, betas: Any, eps: float
) -> None:
    beta_1, beta_2 = betas
    mean.lerp_(gradients, 1 - beta_1)
    square.mul_(beta_2).addcmul_(gradients, gradients, value=1 - beta_2)
    root = square.sqrt().div_(_root(1 - beta_2**step)).add_(eps)
    parameters.sub_(mean.mul(lr / (1 - beta_1**step)).div_(root))


@optimizer(lr=0.005, source="Kingma and Ba 2015", knobs=[BETAS, EPS, _decay()])
def adam(
    parameters: Tensor,
    gradients: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    lr: Tensor,
    step: Any,
    betas: list[float],
    eps: float,
    weight_decay: Any,
) -> None:
    """Adam."""
    if on(weight_decay):
        gradients.addcmul_(parameters, weight_decay)
    _adam(parameters, gradients, mean, square, lr, step, betas, eps)


@optimizer(lr=0.005, source="Loshchilov and Hutter 2019", knobs=[BETAS, EPS, _decay(0.01, "apart from the gradient")])
def adamw(
    parameters: Tensor,
    gradients: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    lr: Tensor,
    step: Any,
    betas: list[float],
    eps: float,
    weight_decay: Any,
) -> None:
    """AdamW: weight decay apart from the gradient."""
    if on(weight_decay):
        parameters.mul_(1 - lr * weight_decay)
    _adam(parameters, gradients, mean, square, lr, step, betas, eps)


def _without_momentum(options: dict[str, Any]) -> tuple[str, ...]:
    return () if options["momentum"] > 0 else ("velocity",)


@optimizer(
    lr=0.002,
    source="Tieleman and Hinton 2012",
    knobs=[ALPHA, EPS, _momentum(0.0), _decay()],
    needless=_without_momentum,
)
def rmsprop(
    parameters: Tensor,
    gradients: Tensor,
    square: Tensor,
    velocity: Tensor | None,
    *,
    lr: Tensor,
    alpha: float,
    eps: float,
    momentum: float,
    weight_decay: Any,
) -> None:
    """RMSprop."""
    if on(weight_decay):
        gradients.addcmul_(parameters, weight_decay)
    square.mul_(alpha).addcmul_(gradients, gradients, value=1 - alpha)
    change = gradients / square.sqrt().add_(eps)
    if velocity is not None:
        change = velocity.mul_(momentum).add_(change)
    parameters.addcmul_(change, lr, value=-1)
