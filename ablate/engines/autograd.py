"""One run, trained by torch's autograd: the program behind engine=eager and engine=torch_nn.

Speaks the same language as a cohort of one: axes R = 1 replica, T steps, B sequences.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved
from ablate.engines.divergence import CAUSES, ENDED, FINITE, GRADIENT, LOSS, UPDATE, clip_factors, norm_of
from ablate.engines.updates import Update, clip_of
from ablate.networks.families import carries, trainable
from ablate.networks.layer import State
from ablate.networks.parameters import Sizes, Vocabulary
from ablate.networks.targets import Loss, counted, loss_of, losses

EVALUATED_STEPS = 250
"""Steps of a held-out text that are computed at once: bounds the memory, does not change the outcome."""


class AutogradProgram:
    """A language model, what moves its parameters, and its carried state."""

    def __init__(
        self,
        engine: str,
        config: Resolved,
        vocabulary_size: Vocabulary | Sizes,
        parameters: Mapping[str, Tensor],
        generator: Generator | None = None,
        device: str | torch.device = "cpu",
        updates: int | None = None,
    ) -> None:
        self.config, self.own_loss = config, loss_of(config)
        self.model = trainable(engine, config, vocabulary_size, parameters, generator).to(device)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.lengths = [p.numel() for p in self.trained]
        self.update = Update([config], _row(self.trained), updates)
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
            states = self.model.initial_state(Y.shape[1])
        logits, self.states = self.model(X, states)
        loss = summed_loss(logits, Y, self.own_loss) / scored(Y).clamp(min=1)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.last_loss = loss.detach().unsqueeze(0)
        self.cause = self._update()
        return self.last_loss.clone()

    def _update(self) -> int:
        """Clip and move the weights; what is not finite, if anything."""
        assert self.last_loss is not None
        if not bool(self.last_loss.isfinite()):
            return LOSS
        if not bool(clip_gradients(self.model, clip_of(self.config, "norm")).isfinite()):
            return GRADIENT
        with torch.no_grad():
            self.update(_row([torch.zeros_like(p) if p.grad is None else p.grad for p in self.trained]))
            self._set(self.update.parameters)
            return FINITE if bool(self.update.finite()) else UPDATE

    def tell(self, replica: int, held_out: Sequence[float]) -> None:
        """The held-out perplexities after each epoch so far."""
        self.update.tell(replica, held_out)

    def end(self, replicas: Sequence[int]) -> None:
        """Train no more."""
        if len(replicas) and self.cause == FINITE:
            self.cause = ENDED

    def _set(self, row: Tensor) -> None:
        """Give the network the parameters of (1, P)."""
        for parameter, piece in zip(self.trained, torch.split(row[0], self.lengths), strict=True):
            parameter.copy_(piece.view_as(parameter))

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
                total += summed_loss(logits, y, self.own_loss).cpu()
        else:
            size, sequences = self.config.batch_size, -2 if tokens.is_floating_point() else -1
            for x, y in zip(torch.split(tokens, size, sequences), torch.split(targets, size, -1), strict=True):
                logits, _ = self.model(x, self.model.initial_state(y.shape[1]))
                total += summed_loss(logits, y, self.own_loss).cpu()
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
                "moments": {name: moment.clone() for name, moment in self.update.moments.items()},
                "updates": self.update.done,
                "generator": None if generator is None else generator.get_state(),
            }
        ]

    def load_replica_states(self, saved: list[dict[str, Any]]) -> None:
        """Go on from what `replica_states` returned."""
        (state,) = saved
        self.model.load_state_dict(state["model"])
        with torch.no_grad():
            self.update.parameters.copy_(_row(self.trained))
            for name, moment in self.update.moments.items():
                moment.copy_(state["moments"][name])
        self.update.go_on_from(state["updates"])
        if self.model.generator is not None:
            self.model.generator.set_state(state["generator"])


def summed_loss(logits: Tensor, targets: Tensor, own: Loss | None) -> Tensor:
    """The task's own loss, or cross-entropy in nats (), summed over the scored ones of targets (T, B); logits
    (T·B, V)."""
    if own is not None:
        return losses(logits, targets, own).sum()
    return F.cross_entropy(logits, targets.flatten(), ignore_index=UNSCORED, reduction="sum")


def scored(targets: Tensor) -> Tensor:
    """How many of these targets count: ()."""
    return counted(targets).sum()


def clip_gradients(model: torch.nn.Module, clip: float | None) -> Tensor:
    """Scale all gradients by clip/norm if their global L2 norm () exceeds `clip`; no epsilon, as in the course.

    Returns the norm before; where it is not finite, the gradients are left as they are.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = norm_of(gradients)
    if clip is not None and clip < norm < math.inf:
        first, scale = clip_factors(norm, clip)
        for gradient in gradients:
            gradient.mul_(first).mul_(scale)
    return norm


def _row(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers of these tensors as those of one replica: (1, P)."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).unsqueeze(0)
