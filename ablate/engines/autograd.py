"""One run, trained by torch's autograd: the program behind engine=eager and engine=torch_nn.

Speaks the same language as a cohort of one: axes R = 1 replica, T steps, B sequences.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ablate.config.errors import ConfigError
from ablate.config.metrics import UNSCORED
from ablate.config.schema import Config
from ablate.engines.divergence import CAUSES, FINITE, GRADIENT, LOSS, UPDATE, all_finite, norm_of
from ablate.networks.families import carries, trainable
from ablate.networks.language_model import LanguageModel
from ablate.networks.layer import State
from ablate.networks.parameters import Sizes

EVALUATED_STEPS = 250
"""Steps of a held-out text that are computed at once: bounds the memory, does not change the outcome."""


class AutogradProgram:
    """A language model, its optimizer and its carried state."""

    def __init__(
        self,
        engine: str,
        config: Config,
        vocabulary_size: int | Sizes,
        parameters: Mapping[str, Tensor],
        generator: Generator | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config = config
        self.model = trainable(engine, config, vocabulary_size, parameters, generator).to(device)
        self.optimizer = build_optimizer(config, self.model)
        self.states: list[State] = []
        self.cause = FINITE
        self.last_loss: Tensor | None = None

    def step(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> Tensor:
        """One minibatch: tokens and targets (1, T, B) → its loss (1,) before the update, in nats per scored token.

        `carry` continues from the states, detached, in which the minibatch before ended; else from zeros. A run that
        has diverged (`ablate.engines.divergence`) is not updated any more and reports the same loss at every later
        step.
        """
        if self.cause != FINITE and self.last_loss is not None:
            return self.last_loss.clone()
        X, Y = tokens[0], targets[0]
        self.model.train()
        if carry:
            states = [tuple(part.detach() for part in state) for state in self.states]
        else:
            states = self.model.initial_state(X.shape[1])
        logits, self.states = self.model(X, states)
        loss = summed_loss(logits, Y) / scored(Y).clamp(min=1)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.last_loss = loss.detach().unsqueeze(0)
        self.cause = self._update()
        return self.last_loss.clone()

    def _update(self) -> int:
        """Clip and move the weights; what is not finite, if anything."""
        assert self.last_loss is not None
        if not bool(self.last_loss.isfinite()):
            return LOSS
        if not bool(clip_gradients(self.model, self.config.clip).isfinite()):
            return GRADIENT
        self.optimizer.step()
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        moments = [moment for moment in moments if isinstance(moment, Tensor) and moment.dim() > 0]  # Adam counts steps
        return FINITE if all_finite([*self.model.parameters(), *moments]) else UPDATE

    def divergences(self) -> list[str]:
        """What is not finite in the run, if it has diverged."""
        return [CAUSES[self.cause]]

    @torch.inference_mode()
    def evaluate(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy (1,) in nats per scored token of (T, B), from a zero state that is carried throughout.

        What cannot go on from a state reads each sequence whole, a minibatch of them at a time.
        """
        self.model.eval()
        total = torch.zeros(1, dtype=torch.float64)
        if carries(self.config):
            states = self.model.initial_state(targets.shape[1])
            for x, y in zip(*(torch.split(part, EVALUATED_STEPS) for part in (tokens, targets)), strict=True):
                logits, states = self.model(x, states)
                total += summed_loss(logits, y).cpu()
        else:
            size = self.config.batch_size
            for x, y in zip(*(torch.split(part, size, -1) for part in (tokens, targets)), strict=True):
                logits, _ = self.model(x, self.model.initial_state(y.shape[1]))
                total += summed_loss(logits, y).cpu()
        return total / scored(targets).clamp(min=1).cpu()

    def named_tensors(self, replica: int = 0) -> dict[str, Tensor]:
        """The parameters under the names of `ablate.networks.parameters`."""
        return self.model.named_tensors()

    def replica_states(self) -> list[dict[str, Any]]:
        """Everything that the rest of the trajectory depends on, between two epochs."""
        generator = self.model.generator
        return [
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generator": None if generator is None else generator.get_state(),
            }
        ]

    def load_replica_states(self, saved: list[dict[str, Any]]) -> None:
        """Go on from what `replica_states` returned."""
        (state,) = saved
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.model.generator is not None:
            self.model.generator.set_state(state["generator"])


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy () in nats, summed over the scored ones of targets (T, B); logits (T·B, V)."""
    return F.cross_entropy(logits, targets.flatten(), ignore_index=UNSCORED, reduction="sum")


def scored(targets: Tensor) -> Tensor:
    """How many of these targets count: ()."""
    return (targets != UNSCORED).sum()


def clip_gradients(model: torch.nn.Module, clip: float | None) -> Tensor:
    """Scale all gradients by clip/norm if their global L2 norm () exceeds `clip`; no epsilon, as in the course.

    Returns the norm before; where it is not finite, the gradients are left as they are.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = norm_of(gradients)
    if clip is not None and clip < norm < math.inf:
        for gradient in gradients:
            gradient.mul_(clip / norm)
    return norm


def build_optimizer(config: Config, model: LanguageModel) -> torch.optim.Optimizer:
    """The update rule of torch.optim that `config.optimizer` names, at the learning rate `config.lr`."""
    chosen, lr = config.optimizer, config.lr
    trained = [p for p in model.parameters() if p.requires_grad]
    decay = chosen.weight_decay
    match chosen.name:
        case "sgd":
            return torch.optim.SGD(trained, lr, weight_decay=decay)
        case "momentum":
            return torch.optim.SGD(trained, lr, momentum=chosen.momentum, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(
                trained, lr, alpha=chosen.alpha, eps=chosen.eps, momentum=chosen.momentum, weight_decay=decay
            )
        case "adam" | "adamw":
            rule = torch.optim.Adam if chosen.name == "adam" else torch.optim.AdamW
            return rule(trained, lr, betas=(chosen.betas[0], chosen.betas[1]), eps=chosen.eps, weight_decay=decay)
    raise ConfigError(f"optimizer.name is {chosen.name!r}")
