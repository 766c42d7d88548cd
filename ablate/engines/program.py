"""What training asks of whatever computes a network, be it one run under autograd or a cohort."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor


class Program(Protocol):
    """Replicas in training: what every engine offers. Axes: R replicas, T steps, B sequences."""

    def step(self, tokens: Tensor, targets: Tensor, *, carry: bool) -> Tensor:
        """Train on one minibatch (R, T, B); the losses (R,) before the update."""

    def divergences(self) -> list[str]:
        """For each replica what is not finite (`ablate.engines.divergence`), an empty string while it trains."""

    def evaluate(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy (R,) of a text (T, B) from a zero state, without any update."""

    def tell(self, replica: int, held_out: Sequence[float]) -> None:
        """The held-out perplexities of a replica after each epoch so far, for a schedule that follows them."""

    def end(self, replicas: Sequence[int]) -> None:
        """These replicas are trained to their end: from now on they stay as they are, as one that has diverged."""

    def named_tensors(self, replica: int) -> dict[str, Tensor]:
        """One replica's parameters, by name."""

    def replica_states(self) -> list[dict[str, Any]]:
        """For each replica what the rest of its trajectory depends on, between two epochs."""

    def load_replica_states(self, saved: list[dict[str, Any]]) -> None:
        """Go on from there."""
