"""Parameter counts of the course, and how parameters start, against torch.nn's own modules. CPU, 1 s."""

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Generator, nn

from ablate.config import Config
from ablate.models.language_model import ENGINES
from ablate.models.parameters import count, initial, shapes

V = 28

TABLE = [
    ("rnn", "scratch", 512, 291_356),
    ("rnn", "api", 256, 80_412),
    ("gru", "scratch", 256, 226_076),
    ("gru", "api", 256, 226_844),
    ("lstm", "scratch", 256, 299_036),
    ("lstm", "api", 256, 300_060),
]


@pytest.mark.parametrize(("model", "impl", "H", "expected"), TABLE)
def test_counts_of_the_parity_table(
    compose: Callable[..., Config], model: str, impl: str, H: int, expected: int
) -> None:
    config = compose(f"model={model}", f"impl={impl}", f"num_hiddens={H}")
    assert count(config, V) == expected
    parameters = initial(config, V, Generator().manual_seed(0))
    for name, engine in ENGINES.items():
        if (model, impl, name) != ("gru", "scratch", "api"):  # the textbook's reset place is not torch.nn's
            trained = sum(p.numel() for p in engine(config, V, parameters).parameters() if p.requires_grad)
            assert trained == expected, name


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("model", "module"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_api_has_as_many_as_torch_nn(
    compose: Callable[..., Config], model: str, module: type[nn.RNNBase], layers: int
) -> None:
    config = compose(f"model={model}", "impl=api", "num_hiddens=12", f"layers={layers}")
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
    parameters = initial(compose(f"model={model}", "impl=scratch"), V, Generator().manual_seed(1))
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
    parameters = initial(compose(f"model={model}", "impl=api", f"num_hiddens={H}"), V, Generator().manual_seed(1))
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
    uniform = initial(compose("impl=scratch", "init=torch"), V, Generator().manual_seed(0))
    normal = initial(compose("impl=api", "init=normal"), V, Generator().manual_seed(0))
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
