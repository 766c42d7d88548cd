"""Parameter counts of the course, and how parameters start, against torch.nn's own modules. CPU, 4 s."""

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Generator, nn

from ablate.config.schema import Config
from ablate.networks.language_model import ENGINES
from ablate.networks.parameters import count, initial, shapes

V = 28

TABLE = [
    ("rnn", "textbook", 512, 291_356),
    ("rnn", "torch", 256, 80_412),
    ("gru", "textbook", 256, 226_076),
    ("gru", "torch", 256, 226_844),
    ("lstm", "textbook", 256, 299_036),
    ("lstm", "torch", 256, 300_060),
]


@pytest.mark.parametrize(("model", "formulation", "H", "expected"), TABLE)
def test_counts_of_the_parity_table(
    compose: Callable[..., Config], model: str, formulation: str, H: int, expected: int
) -> None:
    config = compose(f"model={model}", f"formulation={formulation}", f"num_hiddens={H}")
    assert count(config, V) == expected
    parameters = initial(config, V, Generator().manual_seed(0))
    for name, engine in ENGINES.items():
        if (model, formulation, name) != ("gru", "textbook", "torch"):  # the textbook's reset place is not torch.nn's
            trained = sum(p.numel() for p in engine(config, V, parameters).parameters() if p.requires_grad)
            assert trained == expected, name


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("model", "module"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_api_has_as_many_as_torch_nn(
    compose: Callable[..., Config], model: str, module: type[nn.RNNBase], layers: int
) -> None:
    config = compose(f"model={model}", "formulation=torch", "num_hiddens=12", f"layers={layers}")
    theirs = [*module(V, 12, num_layers=layers).parameters(), *nn.Linear(12, V).parameters()]
    assert count(config, V) == sum(p.numel() for p in theirs)


@pytest.mark.parametrize(("model", "gone"), [("gru-no-reset", "reset"), ("gru-no-update", "update")])
def test_a_fixed_gate_has_no_parameters(compose: Callable[..., Config], model: str, gone: str) -> None:
    whole = shapes(compose("model=gru", "layers=2"), V)
    ablated = shapes(compose(f"model={model}", "layers=2"), V)
    assert ablated == {name: shape for name, shape in whole.items() if f".{gone}." not in name}
    assert len(ablated) < len(whole)


@pytest.mark.parametrize("model", ["rnn", "gru", "lstm"])
def test_scratch_starts_normal_with_zero_biases(compose: Callable[..., Config], model: str) -> None:
    parameters = initial(compose(f"model={model}", "formulation=textbook"), V, Generator().manual_seed(1))
    for name, values in parameters.items():
        if values.dim() == 1:
            assert not values.any(), name
        else:
            assert values.std().item() == pytest.approx(0.01, rel=0.05), name
            assert stats.kstest(values.flatten().numpy(), "norm", (0, 0.01)).pvalue > 1e-3, name


@pytest.mark.parametrize(("model", "module"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_api_starts_as_torch_nn_does(compose: Callable[..., Config], model: str, module: type[nn.RNNBase]) -> None:
    """Uniform on ±1/√H, weights and biases and the output layer: the same distribution as a fresh module's."""
    H = 64
    parameters = initial(
        compose(f"model={model}", "formulation=torch", f"num_hiddens={H}"), V, Generator().manual_seed(1)
    )
    torch.manual_seed(2)
    fresh = [p.detach().flatten() for p in (*module(V, H).parameters(), *nn.Linear(H, V).parameters())]
    ours = torch.cat([values.flatten() for values in parameters.values()])
    theirs = torch.cat(fresh)
    assert stats.ks_2samp(ours.numpy(), theirs.numpy()).pvalue > 1e-3
    for name, values in parameters.items():
        assert values.abs().max() <= 1 / 8, name
        assert values.abs().max() > 0.9 / 8, name
        assert stats.kstest(values.flatten().numpy(), "uniform", (-1 / 8, 1 / 4)).pvalue > 1e-3, name


def test_init_can_be_set_apart_from_impl(compose: Callable[..., Config]) -> None:
    uniform = initial(compose("formulation=textbook", "init=torch"), V, Generator().manual_seed(0))
    normal = initial(compose("formulation=torch", "init=normal"), V, Generator().manual_seed(0))
    assert "0.candidate.b_h" not in uniform
    assert uniform["0.candidate.b_x"].any()
    assert "0.candidate.b_h" in normal
    assert not normal["0.candidate.b_x"].any()


def test_a_generator_decides_all_and_nothing_else_does(compose: Callable[..., Config]) -> None:
    config = compose("model=lstm", "num_hiddens=8")
    one = initial(config, V, Generator().manual_seed(3))
    torch.manual_seed(99)
    again = initial(config, V, Generator().manual_seed(3))
    other = initial(config, V, Generator().manual_seed(4))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


# --- further cells and stacks, counted by hand ------------------------------------------------------------

H = 5
GATE = V * H + H * H + H
"""Numbers of one gate with one bias, in the first layer."""
OUTPUT = H * V + V

COUNTS = [
    ("mgu", (), 2 * GATE + OUTPUT),
    ("mingru", (), 2 * (V * H + H) + OUTPUT),
    ("mingru", ("bias_vectors=2",), 2 * (V * H + H) + OUTPUT),  # no recurrent product, no bias on it
    ("minlstm", (), 3 * (V * H + H) + OUTPUT),
    ("minlstm", ("+model.gates.forget=0.5",), 2 * (V * H + H) + OUTPUT),
    ("lstm-no-input-gate", (), 3 * GATE + OUTPUT),
    ("lstm-no-forget-gate", (), 3 * GATE + OUTPUT),
    ("lstm-no-output-gate", (), 3 * GATE + OUTPUT),
    ("lstm-no-input-activation", (), 4 * GATE + OUTPUT),
    ("lstm-no-output-activation", (), 4 * GATE + OUTPUT),
    ("lstm-coupled", (), 3 * GATE + OUTPUT),
    ("lstm-peepholes", (), 4 * GATE + 3 * H + OUTPUT),
    ("lstm-peepholes", ("model.coupled=true",), 3 * GATE + 2 * H + OUTPUT),
    ("lstm-peepholes", ("+model.gates.output=1",), 3 * GATE + 2 * H + OUTPUT),
    ("lstm-full-gate-recurrence", (), 4 * GATE + 9 * H * H + OUTPUT),
    ("lstm-full-gate-recurrence", ("+model.gates.input=1",), 3 * GATE + 4 * H * H + OUTPUT),
    ("lstm", ("bias_vectors=2",), 4 * (GATE + H) + OUTPUT),
    ("rnn", ("model.bidirectional=true",), 2 * GATE + 2 * H * V + V),
    ("rnn", ("model.bidirectional=true", "layers=2"), 2 * GATE + 2 * (3 * H * H + H) + 2 * H * V + V),
    ("rnn", ("model.connection=residual", "layers=2"), GATE + 2 * H * H + H + OUTPUT),
    ("rnn", ("model.connection=dense",), GATE + (V + H) * V + V),
    ("rnn", ("model.connection=dense", "layers=2"), GATE + (V + H) * H + H * H + H + (V + 2 * H) * V + V),
    (
        "rnn",
        ("model.connection=dense", "model.transition=3", "layers=2"),
        GATE + (V + H) * 3 + 3 + 3 * H + H * H + H + (3 + H) * V + V,
    ),
]


@pytest.mark.full
@pytest.mark.parametrize(("model", "overrides", "expected"), COUNTS, ids=lambda value: str(value))
def test_counts_by_hand(compose: Callable[..., Config], model: str, overrides: tuple[str, ...], expected: int) -> None:
    config = compose(f"model={model}", f"num_hiddens={H}", "bias_vectors=1", "sampling=random", *overrides)
    assert count(config, V) == expected


def test_the_plain_part_of_a_bidirectional_layer_is_drawn_first(compose: Callable[..., Config]) -> None:
    config = compose("model=gru", "model.bidirectional=true", "sampling=random", "num_hiddens=4")
    ahead, back = (
        [name.removeprefix(prefix) for name in shapes(config, V) if name.startswith(prefix)]
        for prefix in ("0.", "0.reverse.")
    )
    assert ahead == [*back, *(f"reverse.{name}" for name in back)]


# --- how they start -------------------------------------------------------------------------------------

WIDE = ("num_hiddens=64", "layers=2", "bias_vectors=2", "sampling=random")


def assert_uniform(values: torch.Tensor, bound: float) -> None:
    assert stats.kstest(values.flatten().numpy(), "uniform", (-bound, 2 * bound)).pvalue > 1e-3


def test_xavier_is_uniform_by_each_matrix_of_its_own(compose: Callable[..., Config]) -> None:
    model = ("model=lstm-peepholes", "model.gate_recurrence=true", "model.connection=dense", "model.transition=10")
    parameters = initial(compose(*model, *WIDE, "init=xavier"), V, Generator().manual_seed(1))
    for name, values in parameters.items():
        kind = name.rsplit(".", 1)[1]
        if kind.startswith("b"):
            assert not values.any(), name
        elif kind == "P":
            assert_uniform(values, (6 / (64 + 64)) ** 0.5)
        else:
            assert_uniform(values, (6 / sum(values.shape)) ** 0.5)


def test_orthogonal_turns_the_recurrent_products_and_nothing_else(compose: Callable[..., Config]) -> None:
    config = compose("model=gru", *WIDE, "init=orthogonal")
    parameters = initial(config, V, Generator().manual_seed(1), torch.float64)
    for name, values in parameters.items():
        kind = name.rsplit(".", 1)[1]
        if kind == "W_h":
            torch.testing.assert_close(values @ values.T, torch.eye(64, dtype=torch.float64), rtol=0, atol=1e-12)
        elif kind.startswith("b"):
            assert not values.any(), name
        else:
            assert_uniform(values, (6 / sum(values.shape)) ** 0.5)
    again = initial(config, V, Generator().manual_seed(1), torch.float64)
    assert all(torch.equal(parameters[name], again[name]) for name in parameters)


def test_normal_draws_peepholes_and_gate_recurrence_as_weights(compose: Callable[..., Config]) -> None:
    config = compose("model=lstm-peepholes", "model.gate_recurrence=true", *WIDE, "init=normal")
    parameters = initial(config, V, Generator().manual_seed(1))
    for ending in (".P", ".W_gates"):
        values = torch.cat([value.flatten() for name, value in parameters.items() if name.endswith(ending)])
        assert stats.kstest(values.numpy(), "norm", (0, 0.01)).pvalue > 1e-3


def test_linear_layers_start_as_torch_nn_linear_does(compose: Callable[..., Config]) -> None:
    """By the width that they read, which is not num_hiddens where the layers below are wider."""
    model = ("model=rnn", "model.bidirectional=true", "model.connection=dense", "model.transition=100")
    parameters = initial(compose(*model, *WIDE, "init=torch"), V, Generator().manual_seed(1))
    inputs = {"0.transition": V + 2 * 64, "output": 100 + 2 * 64}
    for name, values in parameters.items():
        assert_uniform(values, inputs.get(name.rsplit(".", 1)[0], 64) ** -0.5)


@pytest.mark.full
@pytest.mark.parametrize("init", ["torch", "normal", "xavier", "orthogonal"])
@pytest.mark.parametrize("model", ["lstm", "lstm-full-gate-recurrence", "minlstm"])
def test_forget_bias_replaces_that_bias_and_nothing_else(compose: Callable[..., Config], model: str, init: str) -> None:
    options = (f"model={model}", "num_hiddens=6", "layers=2", "bias_vectors=2", f"init={init}")
    options = (*options, "model.bidirectional=true", "sampling=random")
    plain = initial(compose(*options), V, Generator().manual_seed(1))
    biased = initial(compose(*options, "forget_bias=1.5"), V, Generator().manual_seed(1))
    replaced = {name for name in plain if name.endswith(("forget.b_x", "forget.b_h"))}
    assert len(replaced) == (4 if model == "minlstm" else 8)
    for name, values in biased.items():
        if name in replaced:
            assert (values == (1.5 if name.endswith("b_x") else 0)).all(), name
        else:
            assert torch.equal(values, plain[name]), name


@pytest.mark.parametrize("model", ["lstm-no-forget-gate", "lstm-coupled", "gru", "mgu"])
def test_forget_bias_means_nothing_without_such_a_gate(compose: Callable[..., Config], model: str) -> None:
    plain = initial(compose(f"model={model}", "num_hiddens=6"), V, Generator().manual_seed(1))
    biased = initial(compose(f"model={model}", "num_hiddens=6", "forget_bias=1"), V, Generator().manual_seed(1))
    assert all(torch.equal(biased[name], plain[name]) for name in plain)


# --- what literature starts with -------------------------------------------------------------------------------


def test_the_identity_beside_small_weights(compose: Callable[..., Config]) -> None:
    config = compose("model=rnn", "model.activation=relu", "num_hiddens=40", "init=identity", "layers=2")
    drawn = initial(config, V, Generator().manual_seed(1))
    for name, value in drawn.items():
        if name.endswith("W_h"):
            assert torch.equal(value, torch.eye(40)), name
        elif value.dim() == 1:
            assert not value.any(), name
        else:
            assert stats.kstest(value.flatten().numpy(), "norm", (0, 0.001)).pvalue > 1e-3, name


@pytest.mark.parametrize("init", ["identity", "orthogonal"])
def test_a_scale_multiplies_the_recurrent_matrices_alone(compose: Callable[..., Config], init: str) -> None:
    options = ("model=gru", "num_hiddens=6", f"init={init}")
    plain = initial(compose(*options), V, Generator().manual_seed(1))
    scaled = initial(compose(*options, "init_scale=0.25"), V, Generator().manual_seed(1))
    for name, value in plain.items():
        torch.testing.assert_close(scaled[name], value * (0.25 if name.endswith("W_h") else 1))


SIGNS = {
    "lstm": {"forget": 1, "input": -1},
    "lstm-coupled": {"input": -1},
    "lstm-no-forget-gate": {"input": -1},
    "gru": {"update": 1},
    "mgu": {"forget": -1},
    "mingru": {"update": 1},
    "minlstm": {"forget": 1, "input": -1},
}


@pytest.mark.parametrize("model", SIGNS)
def test_chrono_biases_are_those_of_the_times_to_remember(compose: Callable[..., Config], model: str) -> None:
    """u = exp |b| is uniform on [1, t_max − 1], the same for the gates of a unit, and no other number changes."""
    options = (f"model={model}", "num_hiddens=400", "layers=2")
    plain = initial(compose(*options), V, Generator().manual_seed(1))
    drawn = initial(compose(*options, "forget_bias=chrono", "t_max=50"), V, Generator().manual_seed(1))
    assert drawn.keys() == plain.keys()
    for layer in ("0", "1"):
        logs = [sign * drawn[f"{layer}.{gate}.b_x"] for gate, sign in SIGNS[model].items()]
        assert all(torch.equal(logs[0], one) for one in logs)
        times = logs[0].double().exp()
        assert 1 <= times.min() < 2 < 48 < times.max() <= 49
        assert stats.kstest(times.numpy(), "uniform", (1, 48)).pvalue > 1e-3
    first, *_ = SIGNS[model]
    assert not torch.equal(drawn[f"0.{first}.b_x"], drawn[f"1.{first}.b_x"])
    for name, value in drawn.items():
        _, gate, kind = name.rsplit(".", 2) if name.count(".") > 1 else ("", "", "")
        if gate not in SIGNS[model] or not kind.startswith("b"):
            assert torch.equal(value, plain[name]), name
        elif kind == "b_h":
            assert not value.any(), name


def test_the_longest_time_is_that_of_a_sequence_unless_given(compose: Callable[..., Config]) -> None:
    assert compose("model=gru", "forget_bias=chrono", "num_steps=70").t_max == 70
    assert compose("model=gru", "forget_bias=chrono", "num_steps=1").t_max == 2
    assert compose("model=gru").t_max is None
    assert compose("model=rnn", "forget_bias=chrono").forget_bias is None


def test_embeddings_and_tied_output_layers_are_counted(compose: Callable[..., Config]) -> None:
    options = ("model=rnn", "num_hiddens=16", "bias_vectors=1")
    cell = 16 * 16 + 16
    counts = {
        (): V * 16 + cell + 16 * V + V,
        ("model.embedding=8",): V * 8 + 8 * 16 + cell + 16 * V + V,
        ("model.tied=true",): V * 16 + 16 * 16 + cell + V,
        ("model.tied=true", "model.embedding=8"): V * 8 + 8 * 16 + cell + 16 * 8 + V,
    }
    for own, expected in counts.items():
        config = compose(*options, *own)
        assert count(config, V) == expected, own
        for name, engine in ENGINES.items():
            model = engine(config, V, initial(config, V, Generator().manual_seed(0)))
            assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected, (own, name)


def test_embeddings_start_as_torch_draws_them_and_tied_ones_as_an_output_layer(compose: Callable[..., Config]) -> None:
    free, tied = (
        initial(compose("model=rnn", "model.embedding=64", *own), V, Generator().manual_seed(0))["input.embedding"]
        for own in ([], ["model.tied=true"])
    )
    assert stats.kstest(free.flatten().numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(tied.flatten().numpy(), "uniform", (-1 / 8, 1 / 4)).pvalue > 1e-3
