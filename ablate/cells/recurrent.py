"""Recurrent cells, one readable step each.

Axes: R replicas (optional, first), B sequences, H hidden units. A state is a tuple of (…, B, H) tensors, of which the
first is what the next layer reads. Weights are (in, out) or (R, in, out), vectors (n,) or (R, 1, n).

An ablation is a change to one thing of the same cell: `model.gates` holds a gate at a constant, `model.activation` and
`model.output_activation` choose what squashes, `model.readout` and `model.write_back` repeat the faults of two
published ablations.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ablate.cells.gates import live_gates
from ablate.config.schema import Config, resolve

State = tuple[Tensor, ...]

Input = Tensor | Mapping[str, Tensor]
"""What a step reads: X (…, B, inputs), or what is made of it and known already, (…, B, H) for each gate."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "identity": lambda A: A,
}


class Cell:
    """One layer's step. `parameters` are those of this layer, without the layer's number: `reset.W_x`, …"""

    states = 1
    recurrent = True
    """Whether gates and candidate read the old state by weights of their own."""

    def __init__(self, config: Config, parameters: Mapping[str, Tensor]) -> None:
        self.config = resolve(config)
        self.model = config.model
        self.p = parameters
        self.activation = ACTIVATIONS[self.model.activation]

    @property
    def added(self) -> tuple[str, ...]:
        """The gates with parameters whose share of the input and product with the old state are simply added."""
        return live_gates(self.config)

    def step(self, X: Input, state: State) -> tuple[Tensor, State]:
        """Input (…, B, inputs) and old state → candidate (…, B, H) and new state."""
        raise NotImplementedError

    def __call__(self, X: Input, state: State) -> tuple[Tensor, State]:
        """Input (…, B, inputs) and old state → what the next layer reads (…, B, H), and the state to carry on."""
        candidate, new_state = self.step(X, state)
        output = candidate if self.model.readout == "candidate" else new_state[0]
        return output, new_state if self.model.write_back else state

    def from_input(self, gate: str, X: Input) -> Tensor:
        """X W_x + b_x."""
        if isinstance(X, Mapping):
            return X[gate]
        return X @ self.p[f"{gate}.W_x"] + self.p[f"{gate}.b_x"]

    def from_state(self, gate: str, H: Tensor) -> Tensor:
        """H W_h, with a bias of its own where bias_vectors=2."""
        product = H @ self.p[f"{gate}.W_h"]
        return product + self.p[f"{gate}.b_h"] if self.config.bias_vectors == 2 else product

    def sum(self, gate: str, X: Input, H: Tensor) -> Tensor:
        """X W_x + H W_h + b; without the product in a cell that has none."""
        if isinstance(X, Mapping) or not self.recurrent:
            return self.from_input(gate, X)
        return self.from_input(gate, X) + self.from_state(gate, H)

    def gate(self, name: str, X: Input, H: Tensor) -> Tensor | float:
        """σ(X W_x + H W_h + b), or the constant at which the model holds this gate."""
        if name in self.model.gates:
            return self.model.gates[name]
        return torch.sigmoid(self.sum(name, X, H))


class RNN(Cell):
    """Elman's network: H = φ(X W_xh + H W_hh + b)."""

    def step(self, X: Input, state: State) -> tuple[Tensor, State]:
        (H,) = state
        H = self.activation(self.sum("candidate", X, H))
        return H, (H,)


class GRU(Cell):
    """Cho et al. 2014. reset=before is the first version of the paper, reset=after the one of cuDNN and torch.nn."""

    @property
    def added(self) -> tuple[str, ...]:
        return tuple(gate for gate in super().added if gate != "candidate")

    def step(self, X: Input, state: State) -> tuple[Tensor, State]:
        (H,) = state
        R = self.gate("reset", X, H)
        Z = self.gate("update", X, H)
        if self.config.reset == "before":
            H_tilde = self.activation(self.from_input("candidate", X) + self.from_state("candidate", R * H))
        else:
            H_tilde = self.activation(self.from_input("candidate", X) + R * self.from_state("candidate", H))
        H = Z * H + (1 - Z) * H_tilde  # keep the old state where Z is near 1
        return H_tilde, (H,)


class LSTM(Cell):
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, and the variants of Greff et al. 2015.

    coupled            F = 1 − I
    peepholes          I and F also see C_{t−1}, O sees C_t, each unit its own: a vector P per gate
    gate_recurrence    the gates also see those of the step before, G = [I, F, O] without fixed ones: G W_gates

    Greff's baseline has peepholes and so have all but one of the variants there; here each change stands by itself.
    The state is (H, C), and with gate_recurrence the gates, as in (H, C, I, F, O); they, too, are zero at the start.
    """

    def __init__(self, config: Config, parameters: Mapping[str, Tensor]) -> None:
        super().__init__(config, parameters)
        self.squash = ACTIVATIONS[self.model.output_activation]
        self.live = tuple(gate for gate in live_gates(config) if gate != "candidate")
        self.states = 2 + (len(self.live) if self.model.gate_recurrence else 0)

    def step(self, X: Input, state: State) -> tuple[Tensor, State]:
        H, C, *old_gates = state
        sums = {gate: self.sum(gate, X, H) for gate in self.live}
        if self.model.gate_recurrence and self.live:
            G = torch.cat(old_gates, -1)
            sums = {gate: A + G @ self.p[f"{gate}.W_gates"] for gate, A in sums.items()}

        I = self.open("input", sums, C)
        F = 1 - I if self.model.coupled else self.open("forget", sums, C)
        C_tilde = self.activation(self.sum("candidate", X, H))
        C = F * C + I * C_tilde
        O = self.open("output", sums, C)
        H = O * self.squash(C)

        gates = {"input": I, "forget": F, "output": O} if self.model.gate_recurrence else {}
        return C_tilde, (H, C, *(G for name, G in gates.items() if name in self.live and isinstance(G, Tensor)))

    def open(self, gate: str, sums: Mapping[str, Tensor], C: Tensor) -> Tensor | float:
        """σ of a gate's sum, with its look at C where there are peepholes; or its constant."""
        if gate in self.model.gates:
            return self.model.gates[gate]
        A = sums[gate]
        return torch.sigmoid(A + C * self.p[f"{gate}.P"] if self.model.peepholes else A)


class MGU(Cell):
    """Zhou et al. 2016: one gate F that resets and updates. Mind its sense: near 1 it lets the new content in."""

    @property
    def added(self) -> tuple[str, ...]:
        return tuple(gate for gate in super().added if gate != "candidate")

    def step(self, X: Input, state: State) -> tuple[Tensor, State]:
        (H,) = state
        F = self.gate("forget", X, H)
        H_tilde = self.activation(self.from_input("candidate", X) + self.from_state("candidate", F * H))
        H = (1 - F) * H + F * H_tilde
        return H_tilde, (H,)


class MinGRU(Cell):
    """Feng et al. 2024, in linear space: neither gate nor candidate reads the old state, so there is no W_h.

    Z keeps the old state where it is near 1, as in our gru; in the paper it is the other way round, which is the same
    family of functions, 1 − σ(a) = σ(−a).
    """

    recurrent = False

    def step(self, X: Input, state: State) -> tuple[Tensor, State]:
        (H,) = state
        Z = self.gate("update", X, H)
        H_tilde = self.activation(self.from_input("candidate", X))
        H = Z * H + (1 - Z) * H_tilde
        return H_tilde, (H,)


class MinLSTM(Cell):
    """Feng et al. 2024, in linear space: as MinGRU, with two gates that are scaled to the sum 1. The state is H alone.

    A gate that the model fixes is fixed before the scaling.
    """

    recurrent = False

    def step(self, X: Input, state: State) -> tuple[Tensor, State]:
        (H,) = state
        I = self.gate("input", X, H)
        F = self.gate("forget", X, H)
        H_tilde = self.activation(self.from_input("candidate", X))
        H = F / (F + I) * H + I / (F + I) * H_tilde
        return H_tilde, (H,)


CELLS: dict[str, type[Cell]] = {
    "rnn": RNN,
    "gru": GRU,
    "lstm": LSTM,
    "mgu": MGU,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
}
