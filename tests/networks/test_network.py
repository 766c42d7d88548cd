"""The readable network as a function: stacked replicas against separate ones, products before the loop, stacks by hand.

All in float64. CPU, 8 s.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ablate.config.choice_files import summaries
from ablate.config.schema import Config
from ablate.networks.dropout import Masks, dropout_mask
from ablate.networks.language_model import EagerModel
from ablate.networks.layer import Layer, State
from ablate.networks.network import Network
from ablate.networks.parameters import initial, widths

V, H, R, T, B = 6, 4, 3, 5, 2
TOLERANCE = {"rtol": 0.0, "atol": 1e-12}

NETWORKS = {
    **{name: (f"model={name}",) for name in summaries("model")},
    "gru, reset before": ("model=gru", "reset=before"),
    "lstm, all variants": ("model=lstm-coupled", "model.peepholes=true", "model.gate_recurrence=true"),
    "lstm, no gate at all": (
        *("model=lstm", "model.gate_recurrence=true"),
        *("+model.gates.input=1", "+model.gates.forget=0.5", "+model.gates.output=1"),
    ),
    "bidirectional": ("model=lstm", "model.bidirectional=true", "sampling=random"),
    "residual": ("model=gru", "model.connection=residual"),
    "dense": ("model=rnn", "model.connection=dense"),
    "dense, reduced": ("model=mgu", "model.connection=dense", "model.transition=3"),
    "dense, bidirectional": (
        *("model=lstm-peepholes", "model.connection=dense", "model.transition=7"),
        *("model.bidirectional=true", "sampling=random"),
    ),
}
every_network = pytest.mark.parametrize("network", NETWORKS)


@pytest.fixture
def config_of(compose: Callable[..., Config]) -> Callable[..., Config]:
    """A small network of two layers: the model as overrides, sizes as fields, without composing again."""

    def make(*model: str, **sizes: object) -> Config:
        return compose(*model).but(**({"num_hiddens": H, "init": "torch", "layers": 2} | sizes))

    return make


def drawn(config: Config, seed: int = 0) -> dict[str, Tensor]:
    return initial(config, V, Generator().manual_seed(seed), torch.float64)


def stacked(networks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Weights (R, in, out), vectors (R, 1, n); leaves of autograd."""
    whole = {name: torch.stack([one[name] for one in networks]) for name in networks[0]}
    return {name: (W if W.dim() == 3 else W.unsqueeze(1)).requires_grad_() for name, W in whole.items()}


def some_tokens(*axes: int, seed: int = 1) -> Tensor:
    return torch.randint(0, V, axes, generator=Generator().manual_seed(seed))


def twice(network: Network, tokens: Tensor, masks: Masks) -> tuple[Tensor, list[State]]:
    """Two minibatches, the second from the state that the first left, with one dropout mask for both."""
    states = network.initial_state(*tokens.shape[:-2], B)
    _, states = network(tokens.flip(-2), states, masks)
    return network(tokens, states, masks)


def assert_states(one: list[State], other: list[State]) -> None:
    for state, other_state in zip(one, other, strict=True):
        for part, other_part in zip(state, other_state, strict=True):
            torch.testing.assert_close(part, other_part, **TOLERANCE)


@pytest.mark.full
@pytest.mark.parametrize("bias_vectors", [1, 2])
@pytest.mark.parametrize("project", [False, True])
@every_network
def test_stacked_replicas_equal_separate_networks(
    config_of: Callable[..., Config], network: str, project: bool, bias_vectors: int
) -> None:
    """Logits, states and gradients of R networks in one, with or without `project`, against R step by step."""
    config = config_of(*NETWORKS[network], bias_vectors=bias_vectors)
    apart = [drawn(config, seed) for seed in range(R)]
    tokens, source = some_tokens(R, T, B), Generator().manual_seed(2)
    together = stacked(apart)
    fused = Network(config, V, together, project=project)
    shapes = fused.mask_shapes(T, B)
    masks = {place: dropout_mask((R, *shape), 0.4, source, torch.float64) for place, shape in shapes.items()}
    logits, states = twice(fused, tokens, masks)
    logits.square().sum().backward()

    assert logits.shape == (R, T, B, V)
    for k, parameters in enumerate(apart):
        own = {name: value.requires_grad_() for name, value in parameters.items()}
        own_logits, own_states = twice(
            Network(config, V, own), tokens[k], {place: mask[k] for place, mask in masks.items()}
        )
        own_logits.square().sum().backward()
        torch.testing.assert_close(logits[k], own_logits, **TOLERANCE)
        assert_states([tuple(part[k] for part in state) for state in states], own_states)
        for name, value in own.items():
            whole = together[name].grad
            assert (whole is None) == (value.grad is None)
            if value.grad is not None:
                torch.testing.assert_close(whole[k].view_as(value), value.grad, rtol=0, atol=1e-10)


@pytest.mark.full
@every_network
def test_one_network_with_its_products_before_the_loop(config_of: Callable[..., Config], network: str) -> None:
    """`project` without a replica axis."""
    config = config_of(*NETWORKS[network])
    plain, fast = (Network(config, V, drawn(config), project=project) for project in (False, True))
    (logits, states), (others, other_states) = (twice(net, some_tokens(T, B), {}) for net in (plain, fast))
    torch.testing.assert_close(logits, others, **TOLERANCE)
    assert_states(states, other_states)


@pytest.mark.full
@every_network
def test_gradcheck(config_of: Callable[..., Config], network: str) -> None:
    """torch's own check of the gradients of the fast path, two replicas, against differences."""
    config = config_of(*NETWORKS[network], num_hiddens=2)
    parameters = stacked([drawn(config, seed) for seed in range(2)])
    tokens = some_tokens(2, 3, B)

    def logits(*values: Tensor) -> Tensor:
        net = Network(config, V, dict(zip(parameters, values, strict=True)), project=True)
        return net(tokens, net.initial_state(2, B))[0]

    assert torch.autograd.gradcheck(logits, tuple(parameters.values()), fast_mode=True)


@every_network
def test_the_parameters_are_used_as_they_are(config_of: Callable[..., Config], network: str) -> None:
    """Without a copy, made once or not: a network that an optimizer moves in place computes with the moved ones."""
    config = config_of(*NETWORKS[network])
    parameters, moved = drawn(config), drawn(config, seed=1)
    net = Network(config, V, parameters, project=True)
    twice(net, some_tokens(T, B), {})
    for name, value in parameters.items():
        value.copy_(moved[name])
    torch.testing.assert_close(
        twice(net, some_tokens(T, B), {})[0], twice(Network(config, V, moved), some_tokens(T, B), {})[0], **TOLERANCE
    )


# --- stacks ---------------------------------------------------------------------------------------------


def layer(config: Config, parameters: dict[str, Tensor], prefix: str, X: Tensor) -> Tensor:
    """Outputs (T, B, H) of one layer, from zeros, by the cell alone."""
    own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    cell = Layer(config, own)
    state = (torch.zeros(X.shape[1], H, dtype=X.dtype),) * cell.states
    out = []
    for X_t in X:
        output, state = cell(X_t, state)
        out.append(output)
    return torch.stack(out)


def both_ways(config: Config, parameters: dict[str, Tensor], k: int, X: Tensor) -> Tensor:
    ahead = layer(config, parameters, f"{k}.", X)
    if not config.model.bidirectional:
        return ahead
    back = layer(config, parameters, f"{k}.reverse.", X.flip(0)).flip(0)
    return torch.cat([ahead, back], -1)


@pytest.mark.full
@pytest.mark.parametrize("reading", [(), ("model.bidirectional=true", "sampling=random")], ids=["ahead", "both ways"])
@pytest.mark.parametrize("model", ["rnn", "gru", "lstm", "lstm-peepholes", "mgu", "minlstm"])
def test_connections_by_hand(config_of: Callable[..., Config], model: str, reading: tuple[str, ...]) -> None:
    def logits(*overrides: str) -> tuple[Tensor, Tensor, dict[str, Tensor], Callable[[int, Tensor], Tensor]]:
        config = config_of(f"model={model}", *reading, *overrides, layers=3)
        parameters, tokens = drawn(config), some_tokens(T, B)
        net = Network(config, V, parameters)
        outcome, _ = net(tokens, net.initial_state(B))
        X = F.one_hot(tokens, V).double()
        return outcome, X, parameters, lambda k, read: both_ways(config, parameters, k, read)

    outcome, X, p, f = logits("model.connection=residual")
    A = f(0, X)
    A = A + f(1, A)
    A = A + f(2, A)
    torch.testing.assert_close(outcome, A @ p["output.W"] + p["output.b"], **TOLERANCE)

    outcome, X, p, f = logits("model.connection=dense")
    for k in range(3):
        X = torch.cat([X, f(k, X)], -1)
    torch.testing.assert_close(outcome, X @ p["output.W"] + p["output.b"], **TOLERANCE)

    outcome, X, p, f = logits("model.connection=dense", "model.transition=5")
    for k in range(2):
        X = torch.cat([X, f(k, X)], -1) @ p[f"{k}.transition.W"] + p[f"{k}.transition.b"]
    X = torch.cat([X, f(2, X)], -1)
    torch.testing.assert_close(outcome, X @ p["output.W"] + p["output.b"], **TOLERANCE)


def test_residual_connections_skip_the_first_layer_whatever_its_width(config_of: Callable[..., Config]) -> None:
    one, other = (config_of(f"model.connection={kind}", layers=1, num_hiddens=V) for kind in ("plain", "residual"))
    nets = [Network(config, V, drawn(config)) for config in (one, other)]
    assert torch.equal(*(net(some_tokens(T, B), net.initial_state(B))[0] for net in nets))


WIDTHS = [
    ((), [V, H, H, H]),
    (("model.bidirectional=true", "sampling=random"), [V, 2 * H, 2 * H, 2 * H]),
    (("model.connection=residual",), [V, H, H, H]),
    (("model.connection=dense",), [V, V + H, V + 2 * H, V + 3 * H]),
    (("model.connection=dense", "model.transition=5"), [V, 5, 5, 5 + H]),
    (
        ("model.connection=dense", "model.transition=5", "model.bidirectional=true", "sampling=random"),
        [V, 5, 5, 5 + 2 * H],
    ),
]


@pytest.mark.parametrize(("overrides", "expected"), WIDTHS, ids=[" ".join(o) or "plain" for o, _ in WIDTHS])
def test_widths_and_the_masks_on_them(
    config_of: Callable[..., Config], overrides: tuple[str, ...], expected: list[int]
) -> None:
    config = config_of(*overrides, layers=3)
    assert widths(config, V) == expected
    net = Network(config, V, drawn(config))
    read = [1, *expected[1:]]  # of a token all or nothing is dropped
    assert net.mask_shapes(T, B) == {place: (T, B, width) for place, width in enumerate(read)}


@pytest.mark.parametrize("connection", ["residual", "dense"])
def test_dropout_leaves_the_connection_alone(config_of: Callable[..., Config], connection: str) -> None:
    """With everything dropped, the second layer reads zeros, and the first one's outputs still go past it."""
    config = config_of("model=gru", f"model.connection={connection}")
    parameters, tokens = drawn(config), some_tokens(T, B)
    net = Network(config, V, parameters)
    shape = net.mask_shapes(T, B)[1]
    outcome, _ = net(tokens, net.initial_state(B), {1: torch.zeros(shape, dtype=torch.float64)})
    X = F.one_hot(tokens, V).double()
    first = layer(config, parameters, "0.", X)
    past = torch.cat([X, first], -1) if connection == "dense" else first
    second = layer(config, parameters, "1.", torch.zeros_like(past))
    passed = torch.cat([past, second], -1) if connection == "dense" else past + second
    torch.testing.assert_close(outcome, passed @ parameters["output.W"] + parameters["output.b"], **TOLERANCE)


def test_a_bidirectional_network_read_backwards_swaps_its_halves(config_of: Callable[..., Config]) -> None:
    """With the two directions' parameters exchanged, the reversed text gives the reversed outputs."""
    config = config_of("model=lstm", "model.bidirectional=true", "sampling=random", layers=1)
    parameters, tokens = drawn(config), some_tokens(T, B)
    swapped = {"output.W": parameters["output.W"].roll(H, 0), "output.b": parameters["output.b"]}
    for name in parameters:
        if name.startswith("0.") and ".reverse." not in name:
            other = name.replace("0.", "0.reverse.", 1)
            swapped |= {name: parameters[other], other: parameters[name]}
    one, other = Network(config, V, parameters), Network(config, V, swapped)
    logits, _ = one(tokens, one.initial_state(B))
    reversed_logits, _ = other(tokens.flip(0), other.initial_state(B))
    torch.testing.assert_close(logits, reversed_logits.flip(0), **TOLERANCE)


def test_the_scratch_model_draws_the_masks_that_its_network_asks_for(config_of: Callable[..., Config]) -> None:
    config = config_of("model=gru", "model.connection=dense", "model.transition=3", layers=3, dropout=0.4)
    parameters, tokens = drawn(config), some_tokens(T, B)
    model = EagerModel(config, V, parameters, Generator().manual_seed(5))
    net, source = Network(config, V, parameters), Generator().manual_seed(5)
    shapes = net.mask_shapes(T, B)
    masks = {place: dropout_mask(shapes[place], 0.4, source, torch.float64) for place in (1, 2)}
    expected, _ = net(tokens, net.initial_state(B), masks)
    logits, _ = model(tokens, model.initial_state(B))
    torch.testing.assert_close(logits.view(T, B, V), expected, **TOLERANCE)
