"""What the tests of the cohort compare with: the readable model under autograd, and small random batches."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ablate.config.composing import compose
from ablate.config.metrics import UNSCORED
from ablate.config.resolved import Resolved, resolve
from ablate.engines.autograd import clip_gradients
from ablate.engines.cohort import Cohort
from ablate.networks.language_model import ENGINES, LanguageModel
from ablate.networks.parameters import Vocabulary, initial
from tests.optimizers.torch_rules import torch_optimizer

Batch = tuple[Tensor, Tensor]

CELLS = {
    "rnn": ["model=rnn"],
    "rnn-relu": ["model=rnn", "model.activation=relu"],
    "gru-after": ["model=gru", "reset=after"],
    "gru-before": ["model=gru", "reset=before"],
    "lstm": ["model=lstm"],
}
"""The usual cells, as overrides."""


@cache
def composed(*overrides: str) -> Resolved:
    return resolve(compose(overrides))


def network(*overrides: str, **knobs: object) -> Resolved:
    """A small network: the model and its options as overrides, sizes as fields."""
    small = {"num_hiddens": 5, "num_steps": 4, "batch_size": 3, "init": "torch"}
    return composed(*overrides).but(**(small | knobs))


def weights(config: Resolved, V: Vocabulary, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Initial weights, three times as large as usual, so that gates leave the linear range."""
    drawn = initial(config, V, Generator().manual_seed(seed), dtype)
    return {name: 3 * value for name, value in drawn.items()}


def batches(config: Resolved, V: Vocabulary, R: int, count: int, seed: int = 0) -> list[Batch]:
    """Random tokens and targets (R, T, B); or numbers (R, T, B, features) of which the last step's are scored."""
    generator = Generator().manual_seed(seed)
    shape = (count, 2, R, config.num_steps, config.batch_size)
    if isinstance(V, int):
        return [(x, y) for x, y in torch.randint(V, shape, generator=generator)]
    numbers = torch.randn(count, *shape[2:], V.inputs, generator=generator)
    targets = torch.randint(V.outputs, (count, *shape[2:]), generator=generator)
    targets[..., :-1, :] = UNSCORED
    return list(zip(numbers, targets, strict=True))


def backpropagate(model: LanguageModel, of_replica: Sequence[Batch], carry: bool) -> Tensor:
    """Loss and gradients of the last minibatch, after the others have moved the state."""
    states = model.initial_state(of_replica[0][0].shape[1])
    for x, y in of_replica:
        if not carry:
            states = model.initial_state(x.shape[1])
        logits, states = model(x, [tuple(part.detach() for part in state) for state in states])
        model.zero_grad()
        loss = F.cross_entropy(logits, y.flatten(), ignore_index=-1)
        loss.backward()
    return loss.detach()


def losses_of(cohort: Cohort, tokens: Tensor, targets: Tensor, *, carry: bool) -> Tensor:
    """Each replica's loss (R,) of a minibatch that changes no weight; the gradients are in `cohort.grads`."""
    with torch.inference_mode():
        cohort._start(targets.shape[-1], carry)
        return cohort._backpropagate(tokens, targets, {}).clone()


def named_gradients(model: LanguageModel) -> dict[str, Tensor]:
    """Gradients of a scratch model by name; zeros where autograd found no path."""
    out = {name.replace("/", "."): p for name, p in model.recurrent.items()}
    out |= {"output.W": model.output_W, "output.b": model.output_b}
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in out.items()}


def train(
    engine: str,
    config: Resolved,
    V: Vocabulary,
    parameters: dict[str, Tensor],
    of_replica: Sequence[Batch],
    carry: bool,
) -> tuple[list[float], dict[str, Tensor]]:
    """Losses of each update, and the final weights, of one replica with a plain engine."""
    model = ENGINES[engine](config, V, parameters, Generator().manual_seed(config.seed))
    optimizer = torch_optimizer(config, model.parameters())
    states = model.initial_state(config.batch_size)
    losses = []
    for x, y in of_replica:
        if not carry:
            states = model.initial_state(config.batch_size)
        logits, states = model(x, [tuple(part.detach() for part in state) for state in states])
        loss = F.cross_entropy(logits, y.flatten(), ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model, config.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, model.named_tensors()
