"""Cohort gradients against the readable cells under autograd, in float64 to 1e-10. CPU, 10 s."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from ablate.config.schema import Config
from ablate.engines.cohort import Cohort
from ablate.networks.language_model import EagerModel
from ablate.networks.parameters import Features, Vocabulary
from tests.engines.sample_networks import CELLS, backpropagate, batches, named_gradients, network, weights

R = 3
PRESETS = ["gru-no-reset", "gru-no-reset-as-published", "gru-no-update", "gru-no-update-as-published"]
FIXED = [
    ("gru", "before", {"update": 0.3}),
    ("gru", "after", {"update": 1.0}),
    ("gru", None, {"reset": 0.6}),
    ("gru", None, {"reset": 0.6, "update": 0.0}),
    *(("lstm", None, {gate: value}) for gate in ("input", "forget", "output") for value in (0.0, 0.5, 1.0)),
    ("lstm", None, {"input": 1.0, "forget": 0.5, "output": 1.0}),
]


def compare(config: Config, V: Vocabulary, carry: bool, count: int = 2) -> None:
    parameters = [weights(config, V, seed) for seed in range(R)]
    cohort = Cohort([config] * R, V, parameters, generators=[Generator().manual_seed(k) for k in range(R)])
    minibatches = batches(config, V, R, count)
    for x, y in minibatches:
        ours = cohort.gradients(x, y, carry=carry)
    losses = cohort.step(*minibatches[-1], carry=carry) if count == 1 and config.dropout == 0 else None
    for k in range(R):
        model = EagerModel(config, V, parameters[k], Generator().manual_seed(k))
        loss = backpropagate(model, [(x[k], y[k]) for x, y in minibatches], carry)
        expected = named_gradients(model)
        assert ours[k].keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(ours[k][name], gradient, rtol=1e-10, atol=1e-10, msg=f"{k} {name}")
        if losses is not None and not carry:
            torch.testing.assert_close(losses[k], loss, rtol=1e-12, atol=0)


@pytest.mark.parametrize("carry", [False, True], ids=["zero", "carried"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bias_vectors", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell(cell: str, bias_vectors: int, layers: int, carry: bool) -> None:
    compare(network(*CELLS[cell], bias_vectors=bias_vectors, layers=layers), 7, carry)


@pytest.mark.parametrize("bias_vectors", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_dropout_between_layers(cell: str, bias_vectors: int) -> None:
    compare(network(*CELLS[cell], bias_vectors=bias_vectors, layers=3, dropout=0.4), 7, carry=True)


@pytest.mark.full
@pytest.mark.parametrize(("layers", "dropout"), [(1, 0.0), (2, 0.0), (3, 0.4)])
@pytest.mark.parametrize("preset", PRESETS)
def test_published_variants(preset: str, layers: int, dropout: float) -> None:
    for reset, bias_vectors in itertools.product(("before", "after"), (1, 2)):
        config = network(f"model={preset}", f"reset={reset}", layers=layers, dropout=dropout, bias_vectors=bias_vectors)
        compare(config, 7, carry=True)


@pytest.mark.full
@pytest.mark.parametrize(("cell", "reset", "gates"), FIXED)
def test_gates_held_at_a_constant(cell: str, reset: str | None, gates: dict[str, float]) -> None:
    fixed = [f"+model.gates.{gate}={value}" for gate, value in gates.items()]
    for layers, bias_vectors in itertools.product((1, 2), (1, 2)):
        config = network(f"model={cell}", *fixed, reset=reset, layers=layers, bias_vectors=bias_vectors)
        compare(config, 7, carry=True)


@pytest.mark.full
@pytest.mark.parametrize(("readout", "write_back"), [("candidate", True), ("candidate", False), ("state", False)])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_read_out_and_kept(cell: str, readout: str, write_back: bool) -> None:
    options = [f"model.readout={readout}", f"model.write_back={str(write_back).lower()}"]
    for layers, bias_vectors in itertools.product((1, 2), (1, 2)):
        compare(network(*CELLS[cell], *options, layers=layers, bias_vectors=bias_vectors), 7, carry=True)


@pytest.mark.parametrize("cell", CELLS)
def test_more_words_than_tokens(cell: str) -> None:
    compare(network(*CELLS[cell], bias_vectors=2), 50, carry=True)


@pytest.mark.parametrize("cell", CELLS)
def test_real_numbers(cell: str) -> None:
    compare(network(*CELLS[cell], bias_vectors=2), Features(1, 4), carry=False)
    compare(network(*CELLS[cell], layers=3, dropout=0.4), Features(6, 3), carry=True)


@pytest.mark.full
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(list(CELLS)),
    H=st.integers(1, 9),
    T=st.integers(1, 7),
    B=st.integers(1, 5),
    V=st.one_of(st.integers(1, 40), st.builds(Features, st.integers(1, 9), st.integers(1, 5))),
    layers=st.integers(1, 2),
    bias_vectors=st.integers(1, 2),
    carry=st.booleans(),
)
def test_any_shape(
    cell: str, H: int, T: int, B: int, V: Vocabulary, layers: int, bias_vectors: int, carry: bool
) -> None:
    sizes = {"num_hiddens": H, "num_steps": T, "batch_size": B, "layers": layers}
    compare(network(*CELLS[cell], bias_vectors=bias_vectors, **sizes), V, carry)


@pytest.mark.parametrize("cell", CELLS)
def test_losses(cell: str) -> None:
    compare(network(*CELLS[cell], layers=2), 7, carry=False, count=1)


@pytest.mark.parametrize("cell", CELLS)
def test_float32_is_float64_rounded(cell: str) -> None:
    """tanh as 2σ(2a) − 1 costs no more accuracy than float32 arithmetic does anyway."""
    config = network(*CELLS[cell], num_hiddens=32, num_steps=35, batch_size=8)
    exact = weights(config, 28, 0)
    rounded = {name: value.float() for name, value in exact.items()}
    exact = {name: value.double() for name, value in rounded.items()}
    x, y = batches(config, 28, 1, 1)[0]
    ours, reference = (Cohort([config], 28, [p]).gradients(x, y, carry=False)[0] for p in (rounded, exact))
    for name, gradient in reference.items():
        error = torch.linalg.vector_norm(ours[name].double() - gradient) / torch.linalg.vector_norm(gradient)
        assert error < 2e-5, f"{name}: {error:.1e}"
