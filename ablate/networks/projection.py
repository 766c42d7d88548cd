"""A layer over all its steps: one by one, or with the products that need no old state taken before the loop.

Axes: R replicas (optional, first), T steps, B sequences, H hidden units.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.cells.gates import live_gates
from ablate.cells.recurrent import Cell, State
from ablate.networks.stack import linear


def run(cell: Cell, X: Tensor, state: State, *, project: bool, reverse: bool = False) -> tuple[Tensor, State]:
    """Inputs (…, T, B, inputs) and a state → outputs (…, T, B, H) and the state after the last step.

    `project` takes the input's share of all steps as one product, and the gates' recurrent products as one per step.
    `reverse` goes from the last step to the first; outputs stay in the order of the inputs.
    """
    projection = Projection(cell, X) if project else None
    steps = projection.shares if projection else list(X.unbind(-3))
    outputs = []
    for X_t in reversed(steps) if reverse else steps:
        output, state = cell(projection.gates(X_t, state[0]) if projection else X_t, state)
        outputs.append(output)
    if reverse:
        outputs.reverse()
    return torch.stack(outputs, -3), state


class Projection:
    """What a layer's gates make of its inputs, at all steps; `shares` lists it step by step, (…, B, K·H) of K gates.

    Inputs are (…, T, B, inputs), or tokens (…, T, B) that stand for their one-hot vectors.
    """

    def __init__(self, cell: Cell, X: Tensor) -> None:
        self.added = cell.added if cell.recurrent else ()
        self.names = (*self.added, *(gate for gate in live_gates(cell.config) if gate not in self.added))
        biases = [cell.p[f"{gate}.b_x"] for gate in self.names]
        if cell.config.bias_vectors == 2:
            biases = [b + cell.p[f"{g}.b_h"] if g in self.added else b for g, b in zip(self.names, biases, strict=True)]
        W_x, b = torch.cat([cell.p[f"{gate}.W_x"] for gate in self.names], -1), torch.cat(biases, -1)
        made = linear(X, W_x, b) if X.is_floating_point() else looked_up(X, W_x + b)
        self.shares = list(made.unbind(-3))
        self.H = cell.config.num_hiddens
        self.W_h = torch.cat([cell.p[f"{gate}.W_h"] for gate in self.added], -1) if self.added else None

    def gates(self, share: Tensor, H: Tensor) -> dict[str, Tensor]:
        """One step's share of the input, and the old state → X W_x + b of each gate, with H W_h where it is added."""
        if self.W_h is None:
            return dict(zip(self.names, torch.split(share, self.H, -1), strict=True))
        together, alone = self.W_h.shape[-1], share.shape[-1] - self.W_h.shape[-1]
        share, *rest = torch.split(share, [together, alone], -1) if alone else (share,)
        sums = torch.baddbmm(share, H, self.W_h) if H.dim() == 3 else torch.addmm(share, H, self.W_h)
        return dict(zip(self.names, [*torch.split(sums, self.H, -1), *rest], strict=True))


def looked_up(tokens: Tensor, W: Tensor) -> Tensor:
    """The rows of W (V, n) or (R, V, n) that tokens (…, T, B) name: the product with one-hot vectors, without it."""
    if W.dim() == 3:
        R, V, _ = W.shape
        tokens = tokens + torch.arange(0, R * V, V, device=W.device).view(R, 1, 1)
    rows: Tensor = F.embedding(tokens, W.flatten(0, -2))
    return rows
