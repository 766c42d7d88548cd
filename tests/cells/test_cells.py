"""The readable cells against the equations once more, in plain NumPy, and their gradients against differences.

Also what the as-published ablations do and do not remember. Everything in float64. CPU, 8 s.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ablate.config.choice_files import summaries
from ablate.config.schema import Config
from ablate.networks.language_model import EagerModel
from ablate.networks.parameters import initial

V, H, T, B = 5, 4, 6, 3


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


SQUASH = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "identity": lambda x: x}


class Equations:
    """One layer in NumPy: p(gate) gives the gate's weights; every method is one step X, (H, C) → (read out, (H, C))."""

    def __init__(self, tensors: dict[str, Tensor], phi: str = "tanh", psi: str = "tanh") -> None:
        self.p = {name.removeprefix("0."): value.numpy() for name, value in tensors.items()}
        self.phi, self.psi = SQUASH[phi], SQUASH[psi]
        self.opened: list[np.ndarray] = []  # the gates of the step before

    def x(self, gate: str, X: np.ndarray) -> np.ndarray:
        return X @ self.p[f"{gate}.W_x"] + self.p[f"{gate}.b_x"]

    def h(self, gate: str, H: np.ndarray) -> np.ndarray:
        return H @ self.p[f"{gate}.W_h"] + self.p.get(f"{gate}.b_h", 0)

    def sum(self, gate: str, X: np.ndarray, H: np.ndarray) -> np.ndarray:
        return self.x(gate, X) + self.h(gate, H)

    def rnn_tanh(self, X, H, C):
        H = np.tanh(self.sum("candidate", X, H))
        return H, H, C

    def rnn_relu(self, X, H, C):
        H = np.maximum(self.sum("candidate", X, H), 0)
        return H, H, C

    def gru_before(self, X, H, C):
        R, Z = sigmoid(self.sum("reset", X, H)), sigmoid(self.sum("update", X, H))
        H_tilde = self.phi(self.x("candidate", X) + self.h("candidate", R * H))
        H = Z * H + (1 - Z) * H_tilde
        return H, H, C

    def gru_after(self, X, H, C):
        R, Z = sigmoid(self.sum("reset", X, H)), sigmoid(self.sum("update", X, H))
        H_tilde = self.phi(self.x("candidate", X) + R * self.h("candidate", H))
        H = Z * H + (1 - Z) * H_tilde
        return H, H, C

    def gru_no_reset(self, X, H, C):
        Z = sigmoid(self.sum("update", X, H))
        H = Z * H + (1 - Z) * np.tanh(self.sum("candidate", X, H))
        return H, H, C

    def gru_no_reset_as_published(self, X, H, C):
        Z, H_tilde = sigmoid(self.sum("update", X, H)), np.tanh(self.sum("candidate", X, H))
        return H_tilde, Z * H + (1 - Z) * H_tilde, C

    def gru_no_update_before(self, X, H, C):
        R = sigmoid(self.sum("reset", X, H))
        H = np.tanh(self.x("candidate", X) + self.h("candidate", R * H))
        return H, H, C

    def gru_no_update_after(self, X, H, C):
        R = sigmoid(self.sum("reset", X, H))
        H = np.tanh(self.x("candidate", X) + R * self.h("candidate", H))
        return H, H, C

    def gru_no_update_as_published_before(self, X, H, C):
        H_tilde, _, _ = self.gru_no_update_before(X, H, C)
        return H_tilde, np.zeros_like(H), C

    def lstm(self, X, H, C):
        I, F_, O = (sigmoid(self.sum(gate, X, H)) for gate in ("input", "forget", "output"))
        C = F_ * C + I * self.phi(self.sum("candidate", X, H))
        H = O * self.psi(C)
        return H, H, C

    def lstm_no_forget(self, X, H, C):
        I, O = (sigmoid(self.sum(gate, X, H)) for gate in ("input", "output"))
        C = C + I * np.tanh(self.sum("candidate", X, H))
        H = O * np.tanh(C)
        return H, H, C

    def lstm_no_input(self, X, H, C):
        F_, O = (sigmoid(self.sum(gate, X, H)) for gate in ("forget", "output"))
        C = F_ * C + np.tanh(self.sum("candidate", X, H))
        H = O * np.tanh(C)
        return H, H, C

    def lstm_no_output(self, X, H, C):
        I, F_ = (sigmoid(self.sum(gate, X, H)) for gate in ("input", "forget"))
        C = F_ * C + I * np.tanh(self.sum("candidate", X, H))
        return np.tanh(C), np.tanh(C), C

    def lstm_coupled(self, X, H, C):
        I, O = (sigmoid(self.sum(gate, X, H)) for gate in ("input", "output"))
        C = (1 - I) * C + I * np.tanh(self.sum("candidate", X, H))
        H = O * np.tanh(C)
        return H, H, C

    def lstm_peepholes(self, X, H, C):
        I = sigmoid(self.sum("input", X, H) + self.p["input.P"] * C)
        F_ = sigmoid(self.sum("forget", X, H) + self.p["forget.P"] * C)
        C = F_ * C + I * np.tanh(self.sum("candidate", X, H))
        O = sigmoid(self.sum("output", X, H) + self.p["output.P"] * C)
        H = O * np.tanh(C)
        return H, H, C

    def lstm_full_gate_recurrence(self, X, H, C):
        names = ("input", "forget", "output")
        old = self.opened or [np.zeros_like(H)] * 3
        of = {name: np.split(self.p[f"{name}.W_gates"], 3) for name in names}
        I, F_, O = self.opened = [
            sigmoid(self.sum(name, X, H) + sum(G @ W for G, W in zip(old, of[name], strict=True))) for name in names
        ]
        C = F_ * C + I * np.tanh(self.sum("candidate", X, H))
        H = O * np.tanh(C)
        return H, H, C

    def lstm_coupled_with_peepholes_and_gate_recurrence(self, X, H, C):
        old_I, old_O = self.opened or [np.zeros_like(H)] * 2
        (I_I, O_I), (I_O, O_O) = (np.split(self.p[f"{name}.W_gates"], 2) for name in ("input", "output"))
        I = sigmoid(self.sum("input", X, H) + old_I @ I_I + old_O @ O_I + self.p["input.P"] * C)
        C = (1 - I) * C + I * np.tanh(self.sum("candidate", X, H))
        O = sigmoid(self.sum("output", X, H) + old_I @ I_O + old_O @ O_O + self.p["output.P"] * C)
        self.opened = [I, O]
        H = O * np.tanh(C)
        return H, H, C

    def mgu(self, X, H, C):
        F_ = sigmoid(self.sum("forget", X, H))
        H = (1 - F_) * H + F_ * np.tanh(self.x("candidate", X) + self.h("candidate", F_ * H))
        return H, H, C

    def mgu_half_open(self, X, H, C):
        H = 0.5 * H + 0.5 * np.tanh(self.x("candidate", X) + self.h("candidate", 0.5 * H))
        return H, H, C

    def mingru(self, X, H, C):
        let_in = sigmoid(-self.x("update", X))  # the paper's Z
        H = (1 - let_in) * H + let_in * self.phi(self.x("candidate", X))
        return H, H, C

    def minlstm(self, X, H, C):
        I, F_ = sigmoid(self.x("input", X)), sigmoid(self.x("forget", X))
        H = F_ / (F_ + I) * H + I / (F_ + I) * self.x("candidate", X)
        return H, H, C

    def minlstm_no_input(self, X, H, C):
        F_ = sigmoid(self.x("forget", X))
        H = F_ / (F_ + 1) * H + self.x("candidate", X) / (F_ + 1)
        return H, H, C


ALL_THREE = ["model.coupled=true", "model.peepholes=true", "model.gate_recurrence=true"]

CELLS = [
    ("rnn_tanh", ["model=rnn"]),
    ("rnn_relu", ["model=rnn", "model.activation=relu"]),
    ("gru_before", ["model=gru", "reset=before"]),
    ("gru_after", ["model=gru", "reset=after"]),
    ("gru_no_reset", ["model=gru-no-reset"]),
    ("gru_no_reset", ["model=gru", "+model.gates.reset=1"]),
    ("gru_no_reset_as_published", ["model=gru-no-reset-as-published"]),
    ("gru_no_update_before", ["model=gru-no-update", "reset=before"]),
    ("gru_no_update_after", ["model=gru-no-update", "reset=after"]),
    ("gru_no_update_as_published_before", ["model=gru-no-update-as-published", "reset=before"]),
    ("lstm", ["model=lstm"]),
    ("gru_before", ["model=gru", "reset=before", "model.activation=relu"]),
    ("gru_after", ["model=gru", "reset=after", "model.activation=identity"]),
    ("lstm", ["model=lstm", "model.activation=relu"]),
    ("lstm", ["model=lstm-no-input-activation"]),
    ("lstm", ["model=lstm-no-output-activation"]),
    ("lstm_no_input", ["model=lstm-no-input-gate"]),
    ("lstm_no_forget", ["model=lstm-no-forget-gate"]),
    ("lstm_no_output", ["model=lstm-no-output-gate"]),
    ("lstm_coupled", ["model=lstm-coupled"]),
    ("lstm_peepholes", ["model=lstm-peepholes"]),
    ("lstm_full_gate_recurrence", ["model=lstm-full-gate-recurrence"]),
    ("lstm_coupled_with_peepholes_and_gate_recurrence", ["model=lstm", *ALL_THREE]),
    ("mgu", ["model=mgu"]),
    ("mgu_half_open", ["model=mgu", "+model.gates.forget=0.5"]),
    ("mingru", ["model=mingru"]),
    ("mingru", ["model=mingru", "model.activation=tanh"]),
    ("minlstm", ["model=minlstm"]),
    ("minlstm_no_input", ["model=minlstm", "+model.gates.input=1"]),
]
IDS = [" ".join(overrides) for _, overrides in CELLS]


def built(config: Config, seed: int = 0) -> EagerModel:
    """A readable model with all weights and biases away from zero."""
    parameters = initial(config, V, Generator().manual_seed(seed), torch.float64)
    return EagerModel(config, V, parameters)


def some_tokens(seed: int = 1) -> Tensor:
    return torch.randint(0, V, (T, B), generator=Generator().manual_seed(seed))


@pytest.fixture
def config_of(compose: Callable[..., Config]) -> Callable[..., Config]:
    """A small network: the model as overrides, sizes as fields, without composing again."""
    return lambda *model, **sizes: compose(*model).but(**({"num_hiddens": H, "init": "torch"} | sizes))


@pytest.mark.parametrize("bias_vectors", [1, 2])
@pytest.mark.parametrize(("equation", "overrides"), CELLS, ids=IDS)
def test_cell_equals_its_equations(
    config_of: Callable[..., Config], equation: str, overrides: list[str], bias_vectors: int
) -> None:
    config = config_of(*overrides, bias_vectors=bias_vectors)
    model = built(config)
    tensors, tokens = model.named_tensors(), some_tokens()
    logits, [state] = model(tokens, model.initial_state(B))

    equations = Equations(tensors, config.model.activation, config.model.output_activation)
    step = getattr(equations, equation)
    hidden, memory, expected = np.zeros((B, H)), np.zeros((B, H)), []
    for t in range(T):
        read_out, hidden, memory = step(np.eye(V)[tokens[t]], hidden, memory)
        expected.append(read_out @ tensors["output.W"].numpy() + tensors["output.b"].numpy())
    np.testing.assert_allclose(logits.detach().numpy(), np.concatenate(expected), rtol=0, atol=1e-13)
    np.testing.assert_allclose(state[0].detach().numpy(), hidden, rtol=0, atol=1e-13)
    if config.model.cell == "lstm":
        np.testing.assert_allclose(state[1].detach().numpy(), memory, rtol=0, atol=1e-13)
    for part, gate in zip(state[2:], equations.opened, strict=True):
        np.testing.assert_allclose(part.detach().numpy(), gate, rtol=0, atol=1e-13)


@pytest.mark.full
@pytest.mark.parametrize(("equation", "overrides"), CELLS, ids=IDS)
def test_gradients_equal_central_differences(
    config_of: Callable[..., Config], equation: str, overrides: list[str]
) -> None:
    model = built(config_of(*overrides, layers=2, num_hiddens=3))
    tokens, targets = some_tokens(), some_tokens(2).flatten()

    def loss() -> Tensor:
        return F.cross_entropy(model(tokens, model.initial_state(B))[0], targets)

    loss().backward()
    step, source = 1e-6, Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            entries, gradients = parameter.view(-1), parameter.grad.view(-1)
            for index in torch.randperm(len(entries), generator=source)[:3].tolist():
                kept = entries[index].item()
                entries[index] = kept + step
                above = loss().item()
                entries[index] = kept - step
                below = loss().item()
                entries[index] = kept
                assert gradients[index].item() == pytest.approx((above - below) / (2 * step), abs=3e-9), name


def outputs_at_the_end(model: EagerModel) -> tuple[Tensor, Tensor]:
    """Logits of the last step after two different histories of the same last token."""
    tokens = some_tokens()
    other = (tokens + 1) % V
    other[-1] = tokens[-1]
    one, two = (model(X, model.initial_state(B))[0].view(T, B, V)[-1] for X in (tokens, other))
    return one, two


@pytest.mark.parametrize("layers", [1, 2])
def test_gru_no_update_as_published_remembers_nothing(config_of: Callable[..., Config], layers: int) -> None:
    model = built(config_of("model=gru-no-update-as-published", layers=layers))
    assert torch.equal(*outputs_at_the_end(model))
    _, states = model(some_tokens(), model.initial_state(B))
    assert all(not part.any() for state in states for part in state)


@pytest.mark.full
@pytest.mark.parametrize("model", [name for name in summaries("model") if name != "gru-no-update-as-published"])
def test_all_others_remember(config_of: Callable[..., Config], model: str) -> None:
    one, two = outputs_at_the_end(built(config_of(f"model={model}")))
    assert (one - two).abs().max() > 1e-4


def test_gru_no_reset_as_published_differs_only_in_what_is_read(config_of: Callable[..., Config]) -> None:
    true, published = (built(config_of(f"model={name}")) for name in ("gru-no-reset", "gru-no-reset-as-published"))
    tokens = some_tokens()
    (logits, [state]), (other_logits, [other_state]) = (m(tokens, m.initial_state(B)) for m in (true, published))
    assert torch.equal(state[0], other_state[0])
    assert not torch.allclose(logits, other_logits)


def test_the_place_of_the_reset_gate_matters(config_of: Callable[..., Config]) -> None:
    before, after = (built(config_of("model=gru", f"reset={place}")) for place in ("before", "after"))
    tokens = some_tokens()
    assert not torch.allclose(before(tokens, before.initial_state(B))[0], after(tokens, after.initial_state(B))[0])
