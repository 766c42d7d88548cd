"""Networks that read from left to right are causal; bidirectional ones and planted leaks are found out.

CPU, 7 s.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from ablate.config.choice_files import summaries
from ablate.config.schema import Config
from ablate.networks.causality import is_causal
from ablate.networks.language_model import ENGINES, LanguageModel
from ablate.networks.network import Network
from ablate.networks.parameters import initial

V, T = 7, 6
MODELS = tuple(summaries("model"))
STACKS: dict[str, dict[str, object]] = {
    "plain": {},
    "residual": {"connection": "residual"},
    "dense": {"connection": "dense"},
    "dense, reduced": {"connection": "dense", "transition": 4},
}

every_start = pytest.mark.parametrize("init", ["torch", "normal"])


@pytest.fixture
def config_of(compose: Callable[..., Config]) -> Callable[..., Config]:
    """A small network of three layers by the name of its model, with knobs of the model as fields."""

    def make(model: str, init: str = "torch", **knobs: object) -> Config:
        config = compose(f"model={model}")
        return config.but(model=replace(config.model, **knobs), num_hiddens=6, layers=3, init=init)

    return make


def network(config: Config, *, project: bool = False) -> Callable[[Tensor], Tensor]:
    """The readable network of these knobs from a zero state: tokens (T, B) → logits (T, B, V), in float32."""
    built = Network(config, V, initial(config, V, Generator().manual_seed(0)), project=project)
    return lambda tokens: built(tokens, built.initial_state(tokens.shape[1]))[0]


@pytest.mark.full
@every_start
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_causal(config_of: Callable[..., Config], model: str, stack: str, init: str) -> None:
    config = config_of(model, init, **STACKS[stack])
    assert is_causal(network(config), V, T)
    assert is_causal(network(config, project=True), V, T)


@pytest.mark.parametrize("init", ["torch", pytest.param("normal", marks=pytest.mark.full)])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("model", MODELS)
def test_no_bidirectional_model_that_remembers_is(
    config_of: Callable[..., Config], model: str, stack: str, init: str
) -> None:
    config = config_of(model, init, bidirectional=True, **STACKS[stack])
    assert is_causal(network(config), V, T) == (model == "gru-no-update-as-published")


@pytest.mark.parametrize("engine", ENGINES)
def test_both_engines_by_the_same_probe(config_of: Callable[..., Config], engine: str) -> None:
    def seen(bidirectional: bool) -> bool:
        config = config_of("lstm", bidirectional=bidirectional)
        model: LanguageModel = ENGINES[engine](config, V, initial(config, V, Generator().manual_seed(0))).eval()
        return not is_causal(lambda X: model(X, model.initial_state(X.shape[1]))[0].view(*X.shape, V), V, T)

    assert not seen(bidirectional=False)
    assert seen(bidirectional=True)


@pytest.mark.parametrize("place", range(1, T))
def test_a_leak_of_one_step_at_one_place_is_caught(config_of: Callable[..., Config], place: int) -> None:
    """The output before `place` is that of a network which has read one token too many, and weakly at that."""
    honest = network(config_of("gru"))

    def leaks(tokens: Tensor) -> Tensor:
        logits = honest(tokens)
        logits[place - 1] += 0.01 * honest(tokens)[place]
        return logits

    assert is_causal(honest, V, T)
    assert not is_causal(leaks, V, T)


def test_rounding_is_no_leak(config_of: Callable[..., Config]) -> None:
    """Large outputs, small movements: what float32 rounds off is not the future."""
    honest, noise = network(config_of("gru")), Generator().manual_seed(1)

    def rounded(tokens: Tensor) -> Tensor:
        logits = 100 + honest(tokens)
        return logits * (1 + 1e-7 * torch.rand(logits.shape, generator=noise))

    assert is_causal(rounded, V, T)


def test_the_probe_touches_no_random_stream(config_of: Callable[..., Config]) -> None:
    before = torch.get_rng_state()
    is_causal(network(config_of("rnn")), V, T)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("vocabulary", "steps"), [(1, 5), (5, 1)])
def test_nothing_to_change_is_an_error(vocabulary: int, steps: int) -> None:
    with pytest.raises(ValueError, match="give 2 or more of each"):
        is_causal(lambda tokens: tokens, vocabulary, steps)
