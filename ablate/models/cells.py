"""Recurrent cells, one readable step each.

Axes: B sequences, H hidden units. A state is a tuple of (B, H) tensors: (H,) or, for the lstm, (H, C).
An ablation is a change to one gate of the same cell: `model.gates` holds a gate at a constant,
`model.readout` and `model.write_back` repeat the faults of two published ablations.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ablate.config import Config, resolve

State = tuple[Tensor, ...]


class Cell:
    """One layer's step. `parameters` are those of this layer, without the layer's number: `reset.W_x`, …"""

    states = 1

    def __init__(self, config: Config, parameters: Mapping[str, Tensor]) -> None:
        self.config = resolve(config)
        self.model = config.model
        self.p = parameters

    def step(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        """Input (B, inputs) and old state → candidate (B, H) and new state."""
        raise NotImplementedError

    def __call__(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        """Input (B, inputs) and old state → what the next layer reads (B, H), and the state to carry on."""
        candidate, new_state = self.step(X, state)
        output = candidate if self.model.readout == "candidate" else new_state[0]
        return output, new_state if self.model.write_back else state

    def from_input(self, gate: str, X: Tensor) -> Tensor:
        return X @ self.p[f"{gate}.W_x"] + self.p[f"{gate}.b_x"]

    def from_state(self, gate: str, H: Tensor) -> Tensor:
        product = H @ self.p[f"{gate}.W_h"]
        return product + self.p[f"{gate}.b_h"] if self.config.bias_vectors == 2 else product

    def gate(self, name: str, X: Tensor, H: Tensor) -> Tensor | float:
        """σ(X W_x + H W_h + b), or the constant at which the model holds this gate."""
        if name in self.model.gates:
            return self.model.gates[name]
        return torch.sigmoid(self.from_input(name, X) + self.from_state(name, H))


class RNN(Cell):
    """Elman's network: H = φ(X W_xh + H W_hh + b)."""

    def step(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        (H,) = state
        activation = torch.relu if self.model.activation == "relu" else torch.tanh
        H = activation(self.from_input("candidate", X) + self.from_state("candidate", H))
        return H, (H,)


class GRU(Cell):
    """Cho et al. 2014. reset=before is the first version of the paper, reset=after the one of cuDNN and torch.nn."""

    def step(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        (H,) = state
        R = self.gate("reset", X, H)
        Z = self.gate("update", X, H)
        if self.config.reset == "before":
            H_tilde = torch.tanh(self.from_input("candidate", X) + self.from_state("candidate", R * H))
        else:
            H_tilde = torch.tanh(self.from_input("candidate", X) + R * self.from_state("candidate", H))
        H = Z * H + (1 - Z) * H_tilde  # keep the old state where Z is near 1
        return H_tilde, (H,)


class LSTM(Cell):
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; no peepholes."""

    states = 2

    def step(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        H, C = state
        I = self.gate("input", X, H)
        F = self.gate("forget", X, H)
        O = self.gate("output", X, H)
        C_tilde = torch.tanh(self.from_input("candidate", X) + self.from_state("candidate", H))
        C = F * C + I * C_tilde
        H = O * torch.tanh(C)
        return C_tilde, (H, C)


CELLS: dict[str, type[Cell]] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
