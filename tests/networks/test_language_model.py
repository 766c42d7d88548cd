"""The two engines against each other and against plain torch.nn modules, in float64: outputs, losses, gradients.

CPU, 10 s.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ablate.config.schema import Config
from ablate.networks.dropout import dropout_mask
from ablate.networks.language_model import EagerModel, LanguageModel, LibraryModel
from ablate.networks.parameters import initial, shapes

V, H, T, B = 6, 5, 7, 3
TOLERANCE = {"rtol": 0.0, "atol": 1e-12}

MODELS = [
    ["model=rnn"],
    ["model=rnn", "model.activation=relu"],
    ["model=gru", "reset=after"],
    ["model=lstm"],
]
MODEL_IDS = ["rnn tanh", "rnn relu", "gru", "lstm"]
STACKS: dict[str, dict[str, object]] = {
    "plain": {},
    "bidirectional": {"bidirectional": True},
    "residual": {"connection": "residual"},
    "dense": {"connection": "dense"},
    "dense, reduced, bidirectional": {"connection": "dense", "transition": 4, "bidirectional": True},
}
every_model = pytest.mark.parametrize("model", MODELS, ids=MODEL_IDS)


ConfigOf = Callable[..., Config]


@pytest.fixture
def config_of(compose: Callable[..., Config]) -> ConfigOf:
    """A small network: the model as overrides, its stack by name, sizes as fields, without composing again."""

    def make(*model: str, stack: str = "plain", **knobs: object) -> Config:
        config = compose(*model)
        whole = config.but(model=replace(config.model, **STACKS[stack]), num_hiddens=H, init="torch")
        return whole.but(**knobs)

    return make


def pair(config: Config, seed: int = 0, dropout_seed: int = 9) -> tuple[EagerModel, LibraryModel]:
    """The same network in both engines, each with a dropout generator of its own in the same state."""
    parameters = initial(config, V, Generator().manual_seed(seed), torch.float64)
    scratch = EagerModel(config, V, parameters, Generator().manual_seed(dropout_seed))
    library = LibraryModel(config, V, parameters, Generator().manual_seed(dropout_seed))
    return scratch, library


def some_tokens(seed: int = 1) -> Tensor:
    return torch.randint(0, V, (T, B), generator=Generator().manual_seed(seed))


def gradients(model: LanguageModel) -> dict[str, Tensor]:
    """The gradients under the shared names, by moving each into the place of its parameter."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None
                parameter.copy_(parameter.grad)
    return {name: value.clone() for name, value in model.named_tensors().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], msg=lambda text, name=name: f"{name}: {text}", **TOLERANCE)


@pytest.mark.full
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("bias_vectors", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("stack", STACKS)
@every_model
def test_engines_agree(
    config_of: ConfigOf, model: list[str], stack: str, layers: int, bias_vectors: int, dropout: float
) -> None:
    config = config_of(*model, stack=stack, layers=layers, bias_vectors=bias_vectors, dropout=dropout)
    scratch, library = pair(config)
    out = []
    for engine in (scratch, library):
        states = engine.initial_state(B)
        _, states = engine(some_tokens(1), states)  # so that the second pass starts from states that are not zero
        logits, states = engine(some_tokens(2), states)
        loss = F.cross_entropy(logits, some_tokens(3).flatten())
        loss.backward()
        out.append((logits, loss, states, gradients(engine)))
    (logits, loss, states, of_scratch), (others, other_loss, other_states, of_library) = out
    torch.testing.assert_close(logits, others, **TOLERANCE)
    torch.testing.assert_close(loss, other_loss, **TOLERANCE)
    for state, other in zip(states, other_states, strict=True):
        parts = (2 if "model=lstm" in model else 1) * (2 if config.model.bidirectional else 1)
        assert len(state) == len(other) == parts
        for part, other_part in zip(state, other, strict=True):
            torch.testing.assert_close(part, other_part, **TOLERANCE)
    assert_same(of_scratch, of_library)


NAMES = {"weight_ih": "W_x", "weight_hh": "W_h", "bias_ih": "b_x", "bias_hh": "b_h"}
ORDER = {
    "rnn": (nn.RNN, ["candidate"]),
    "gru": (nn.GRU, ["reset", "update", "candidate"]),
    "lstm": (nn.LSTM, ["input", "forget", "candidate", "output"]),
}
"""The gates in the order of torch.nn's documentation."""

WAYS = (("", ""), ("reverse.", "_reverse"))
"""What stands in a name for each direction: in ours, and at the end of torch.nn's."""


def plain_torch(config: Config, parameters: dict[str, Tensor]) -> tuple[nn.RNNBase, nn.Linear]:
    """One torch.nn module for all layers and a Linear, loaded through state_dict."""
    kind, order = ORDER[config.model.cell]
    options = {"nonlinearity": config.model.activation} if kind is nn.RNN else {}
    ways = WAYS[: 2 if config.model.bidirectional else 1]
    recurrent = kind(V, H, num_layers=config.layers, bidirectional=len(ways) == 2, **options).double()
    recurrent.load_state_dict(
        {
            f"{theirs}_l{k}{suffix}": torch.cat([parameters[f"{k}.{way}{gate}.{ours}"].t() for gate in order])
            for k in range(config.layers)
            for theirs, ours in NAMES.items()
            for way, suffix in ways
        }
    )
    output = nn.Linear(len(ways) * H, V).double()
    output.load_state_dict({"weight": parameters["output.W"].t(), "bias": parameters["output.b"]})
    return recurrent, output


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@every_model
def test_both_equal_a_plain_torch_module(
    config_of: ConfigOf, model: list[str], layers: int, bidirectional: bool
) -> None:
    """Logits, last states, loss and gradients of one torch.nn module with num_layers and bidirectional of its own."""
    config = config_of(*model, stack="bidirectional" if bidirectional else "plain", layers=layers, bias_vectors=2)
    parameters = initial(config, V, Generator().manual_seed(0), torch.float64)
    recurrent, output = plain_torch(config, parameters)
    hidden, last = recurrent(F.one_hot(some_tokens(), V).double())
    last = last if isinstance(last, tuple) else (last,)
    expected = output(hidden).reshape(-1, V)
    loss = F.cross_entropy(expected, some_tokens(2).flatten())
    loss.backward()
    assert output.weight.grad is not None
    assert output.bias.grad is not None
    expected_gradients = {"output.W": output.weight.grad.t(), "output.b": output.bias.grad}
    _, order = ORDER[config.model.cell]
    for k in range(layers):
        for (theirs, ours), (way, suffix) in product(NAMES.items(), WAYS[: 1 + bidirectional]):
            whole = recurrent.get_parameter(f"{theirs}_l{k}{suffix}").grad
            assert whole is not None
            for gate, block in zip(order, whole.chunk(len(order)), strict=True):
                expected_gradients[f"{k}.{way}{gate}.{ours}"] = block.t()

    for engine in pair(config):
        logits, states = engine(some_tokens(), engine.initial_state(B))
        parts = [part for state in states for part in state]
        for i, theirs in enumerate(last):  # (layers · directions, B, H), of H or of C
            torch.testing.assert_close(torch.stack(parts[i :: len(last)]), theirs, **TOLERANCE)
        own_loss = F.cross_entropy(logits, some_tokens(2).flatten())
        own_loss.backward()
        torch.testing.assert_close(logits, expected, **TOLERANCE)
        torch.testing.assert_close(own_loss, loss, **TOLERANCE)
        assert_same(gradients(engine), expected_gradients)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("bias_vectors", [1, 2])
@every_model
def test_weights_move_between_the_engines(config_of: ConfigOf, model: list[str], stack: str, bias_vectors: int) -> None:
    config = config_of(*model, stack=stack, layers=2, bias_vectors=bias_vectors)
    parameters = initial(config, V, Generator().manual_seed(0), torch.float64)
    there = LibraryModel(config, V, parameters).named_tensors()
    back = EagerModel(config, V, there).named_tensors()
    assert there.keys() == back.keys() == shapes(config, V).keys()
    for name, value in parameters.items():
        assert torch.equal(there[name], value)
        assert torch.equal(back[name], value)


def test_the_engines_copy_the_parameters(config_of: ConfigOf) -> None:
    config = config_of("model=gru")
    parameters = initial(config, V, Generator().manual_seed(0), torch.float64)
    kept = {name: value.clone() for name, value in parameters.items()}
    for kind in (EagerModel, LibraryModel):
        with torch.no_grad():
            for parameter in kind(config, V, parameters).parameters():
                parameter.add_(1)
    assert all(torch.equal(parameters[name], kept[name]) for name in kept)


@every_model
def test_one_bias_vector_stays_one_after_training(config_of: ConfigOf, model: list[str]) -> None:
    """torch.nn cannot do with one bias: its second one is zero, and stays so, as the readable cell has none."""
    scratch, library = pair(config_of(*model, bias_vectors=1, layers=2))
    for engine in (scratch, library):
        optimizer = torch.optim.SGD([p for p in engine.parameters() if p.requires_grad], lr=0.5)
        for seed in range(3):
            optimizer.zero_grad()
            logits, _ = engine(some_tokens(seed), engine.initial_state(B))
            F.cross_entropy(logits, some_tokens(seed + 1).flatten()).backward()
            optimizer.step()
    assert not any(name.endswith("b_h") for name in library.named_tensors())
    assert all(not layer.bias_hh_l0.any() for layer in library.layers)
    assert_same(scratch.named_tensors(), library.named_tensors())


@pytest.mark.parametrize("kind", [EagerModel, LibraryModel])
@every_model
def test_two_halves_with_the_state_carried_are_one_pass(
    config_of: ConfigOf, model: list[str], kind: type[LanguageModel]
) -> None:
    config = config_of(*model, layers=2)
    engine = kind(config, V, initial(config, V, Generator().manual_seed(0), torch.float64))
    tokens = some_tokens()
    whole, end = engine(tokens, engine.initial_state(B))
    first, middle = engine(tokens[:3], engine.initial_state(B))
    second, other_end = engine(tokens[3:], middle)
    torch.testing.assert_close(torch.cat([first, second]), whole, **TOLERANCE)
    for state, other in zip(end, other_end, strict=True):
        for part, other_part in zip(state, other, strict=True):
            torch.testing.assert_close(part, other_part, **TOLERANCE)
    assert not torch.allclose(engine(tokens[3:], engine.initial_state(B))[0], whole[3 * B :])


def test_logits_are_time_major(config_of: ConfigOf) -> None:
    scratch, library = pair(config_of("model=gru"))
    tokens = some_tokens()
    for engine in (scratch, library):
        together, _ = engine(tokens, engine.initial_state(B))
        alone, _ = engine(tokens[:, 1:2], engine.initial_state(1))
        torch.testing.assert_close(together.view(T, B, V)[:, 1], alone, **TOLERANCE)


# --- dropout --------------------------------------------------------------------------------------------


def test_dropout_mask_keeps_its_share_and_the_mean() -> None:
    mask = dropout_mask((100, 1_000), 0.3, Generator().manual_seed(0), torch.float64)
    assert set(mask.unique().tolist()) == {0.0, 1 / 0.7}
    assert (mask == 0).double().mean().item() == pytest.approx(0.3, abs=0.005)


@pytest.mark.parametrize("kind", [EagerModel, LibraryModel])
def test_dropout_acts_between_layers_and_in_training_only(config_of: ConfigOf, kind: type[LanguageModel]) -> None:
    def logits(layers: int, dropout: float, training: bool) -> Tensor:
        config = config_of("model=gru", layers=layers, dropout=dropout)
        parameters = initial(config, V, Generator().manual_seed(0), torch.float64)
        model = kind(config, V, parameters, Generator().manual_seed(4)).train(training)
        return model(some_tokens(), model.initial_state(B))[0]

    assert torch.equal(logits(1, 0.5, training=True), logits(1, 0.0, training=True))
    assert torch.equal(logits(2, 0.5, training=False), logits(2, 0.0, training=False))
    assert not torch.allclose(logits(2, 0.5, training=True), logits(2, 0.0, training=True))
    assert torch.equal(logits(2, 0.5, training=True), logits(2, 0.5, training=True))
