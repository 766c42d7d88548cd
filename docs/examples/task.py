"""A task of your own: does a noisy signal hold the slow or the fast sinusoid? Inputs are generated real numbers.

python -m ablate plugins=[docs/examples/task.py] -m task=pitch model=rnn,gru task.noise=0.5,2
"""

import math
from collections.abc import Iterator, Mapping
from functools import cached_property

import torch
from torch import Generator, Tensor

import ablate


@ablate.task(
    knobs=(
        ablate.Knob("noise", float, 0.5, "standard deviation of the noise on the signal", minimum=0),
        ablate.Knob("examples", int, 320, "training sequences per epoch", minimum=1),
    ),
    metrics=["accuracy", ablate.Metric("certainty", "certainty", "higher", top=1.0)],
    main="accuracy",
    real_inputs=True,
    made_anew=True,
    disjoint=True,
    has_prefixes=False,
    explained={
        "accuracy": "Accuracy: the share of 512 held-out signals that are told right at their last step.",
        "certainty": "Certainty: the mean probability that the network gives to the right answer.",
    },
    words=ablate.Words(scored="of the answers", data="signals", plural=True),
)
class Pitch(ablate.Task):
    """Which of two sinusoids a noisy signal holds."""

    sizes = ablate.Features(inputs=1, outputs=2)

    def made(self, B: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Signals (T, B, 1) and answers (T, B), which are asked for at the last step alone."""
        T = self.config.num_steps
        fast = torch.randint(2, (B,), generator=generator)
        phase = 2 * math.pi * torch.rand(B, generator=generator)
        signals = torch.sin(torch.arange(T).view(-1, 1) * torch.where(fast == 1, 0.9, 0.6) + phase)
        signals += self.config.task.noise * torch.randn(T, B, generator=generator)
        answers = torch.full((T, B), -1)
        answers[-1] = fast
        return signals.unsqueeze(-1).to(self.device), answers.to(self.device)

    @cached_property
    def held_out(self) -> tuple[Tensor, Tensor]:
        return self.made(512, Generator().manual_seed(1))

    def minibatches(self, order: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.epoch_updates):
            yield self.made(self.config.batch_size, order)

    def updates_per_epoch(self) -> int:
        return max(1, self.config.task.examples // self.config.batch_size)

    def scores(self, parameters: Mapping[str, Tensor]) -> dict[str, float]:
        signals, answers = self.held_out
        right = answers[-1].cpu()
        probabilities = self.logits(parameters, signals)[-1].softmax(-1)
        return {
            "accuracy": (probabilities.argmax(-1) == right).double().mean().item(),
            "certainty": probabilities.gather(-1, right.unsqueeze(-1)).double().mean().item(),
        }
