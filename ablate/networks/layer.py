"""A layer over all its steps: one by one by the equations of its cell, or all of them as its derivative has it.

Axes: R replicas (optional, first), T steps, B sequences, H hidden units, K pre-activations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.cells.cell import variant_of
from ablate.cells.derivative import Derived, derived_or_why_not
from ablate.cells.functions import ABSENT
from ablate.cells.structure import parameter
from ablate.config.resolved import Resolved

State = tuple[Tensor, ...]
"""(…, B, H) each; the first is what the next layer reads."""

Tensors = Sequence[Tensor]
Recurrence = Callable[[Derived, Tensor, Tensors, Tensors, Tensors, bool], tuple[Tensor, State]]
"""All steps of a layer of R replicas: (the cell's derivative, shares of the input (R, T, B, K·H) in the order of its
inputs, states, matrices (R, k·H, n·H) of its groups, vectors (R, 1, H), whether from the last step to the first) →
outputs (R, T, B, H), states after them."""


class Layer:
    """A cell with the parameters of one layer, by their names without the layer's number: `reset.W_x`, …

    `recurrence` takes the steps of a stack of replicas at once, if the cell has a derivative; without it they are taken
    one by one.
    """

    def __init__(
        self, config: Resolved, parameters: Mapping[str, Tensor], recurrence: Recurrence | None = None
    ) -> None:
        self.config = config
        self.p = parameters
        self.recurrence = recurrence
        self.variant = variant_of(self.config)
        self.structure = self.variant.structure
        self.states = len(self.structure.carried)
        """How many parts its state has."""
        model, biases = self.config.model, self.config.bias_vectors
        found = derived_or_why_not(self.structure, model.readout, model.write_back, biases)
        self.derivative = None if isinstance(found, str) else found
        two = self.derivative if self.config.bias_vectors == 2 else None
        self._folded = two.folded if two else frozenset[str]()
        """The pre-activations whose second bias belongs to the share of the input."""

    def run(self, X: "Tensor | Scaled", state: State, *, project: bool, reverse: bool = False) -> tuple[Tensor, State]:
        """Inputs (…, T, B, inputs) and a state → outputs (…, T, B, H) and the state after the last step.

        `project` takes the input's share of all steps as one product; inputs may then be tokens (…, T, B) that stand
        for their one-hot vectors. `reverse` goes from the last step to the first; outputs stay in the order of the
        inputs.
        """
        if not project:
            assert isinstance(X, Tensor)
            return _step_by_step(self.by_equations(), list(X.unbind(-3)), state, reverse)
        several = state[0].dim() == 3 and X.shape[1] > 1  # of a step alone it is not worth it
        d = self.derivative
        # It knows no gradient at a state that every step reads anew.
        reads_anew = not self.config.model.write_back and any(part.requires_grad for part in state)
        # Nor has it shares of an input of which nothing is left, as where the update gate of a gru is held at 1.
        if d is None or not d.inputs or self.recurrence is None or not several or reads_anew:
            return _step_by_step(*self._projected(X), state, reverse)
        shares = self._shares(X, tuple(d.inputs))
        matrices = [torch.cat([self.p[parameter(*key)] for key in group.weights], -1) for group in d.groups]
        vectors = [self.p[parameter(*key)] for key in d.vectors]
        return self.recurrence(d, shares, state, matrices, vectors, reverse)

    def __call__(self, X: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: input (…, B, inputs) and old state → what the next layer reads (…, B, H), and the new state."""
        return self.by_equations()(X, *state)

    def _projected(self, X: "Tensor | Scaled") -> tuple[Callable[..., tuple[Tensor, State]], list[Tensor]]:
        """A step by the equations from shares of the input, and these: (…, B, K·H) for each step."""
        names = tuple(name for name in self.structure.preactivations if name in self.structure.reads_input)
        evaluated, H = self._evaluated(), self.config.num_hiddens

        def step(share: Tensor, *state: Tensor) -> tuple[Tensor, State]:
            return evaluated(dict(zip(names, torch.split(share, H, -1), strict=True)), state)

        return step, list(self._shares(X, names).unbind(-3))

    def _shares(self, X: "Tensor | Scaled", names: Sequence[str]) -> Tensor:
        """What the input, or the one-hot vectors of tokens, adds to these pre-activations: (…, T, B, K·H)."""
        W_x = torch.cat([self.p[f"{name}.W_x"] for name in names], -1)
        b = torch.cat([self.bias(name) for name in names], -1)
        if isinstance(X, Scaled):
            return looked_up(X.tokens, W_x) * X.factors + b.unsqueeze(-2)
        return linear(X, W_x, b) if X.is_floating_point() else looked_up(X, W_x + b)

    def by_equations(self) -> Callable[..., tuple[Tensor, State]]:
        """A step from the input itself, X (…, B, inputs) and the states, by the very equations of the cell."""
        evaluated, p = self._evaluated(), self.p
        weights = {name: (p[f"{name}.W_x"], self.bias(name)) for name in self.structure.reads_input}

        def step(X: Tensor, *state: Tensor) -> tuple[Tensor, State]:
            return evaluated({name: X @ W + b for name, (W, b) in weights.items()}, state)

        return step

    def bias(self, name: str) -> Tensor:
        """That of the input's share; with the second one, where the product is simply added to it."""
        if name in self._folded:
            return self.p[f"{name}.b_x"] + self.p[f"{name}.b_h"]
        return self.p[f"{name}.b_x"]

    def _evaluated(self) -> Callable[[Mapping[str, Tensor], State], tuple[Tensor, State]]:
        """The equations as a function of the shares of the input and the carried states."""
        structure, variant, model = self.structure, self.variant, self.config.model
        absent = dict.fromkeys(variant.fixed, ABSENT)
        weights = {kind: Bound(absent | self._weights(kind)) for kind in variant.cell.weights}
        count, carried = len(variant.cell.states), structure.carried
        all_carried = carried == tuple(range(count))

        def evaluate(shares: Mapping[str, Tensor], state: State) -> tuple[Tensor, State]:
            states: Any = state
            if not all_carried:
                states = [ABSENT] * count
                for place, part in zip(carried, state, strict=True):
                    states[place] = part
            new, candidate = variant(Bound({**absent, **shares}), states, weights)
            output = _as_state(candidate if model.readout == "candidate" else new[0], state[0])
            if not model.write_back:
                return output, state
            return output, tuple(_as_state(new[place], part) for place, part in zip(carried, state, strict=True))

        return evaluate

    def _weights(self, kind: str) -> dict[str, Any]:
        """Pre-activation → its weights of a kind, a product with them with its bias where it has one of its own."""
        out: dict[str, Any] = dict.fromkeys(self.structure.preactivations, ABSENT)  # of a state that there is not
        folded = self._folded
        for name in self.structure.preactivations:
            if (name, kind) in self.structure.matrices or (name, kind) in self.structure.vectors:
                out[name] = self.p[parameter(name, kind)]
                if kind == "W" and self.config.bias_vectors == 2 and name not in folded:
                    out[name] = WithBias(out[name], self.p[f"{name}.b_h"])
        return out


def _as_state(value: Tensor, like: Tensor) -> Tensor:
    """A new state (…, B, H) as the old one is, also where the equations make it of vectors alone, or by comparing."""
    if not value.is_floating_point():
        value = value.to(like.dtype)
    of_vectors = value.dim() < like.dim() or value.shape[-2] == 1
    return value.expand(like.shape) if of_vectors and value.shape != like.shape else value


def layer_of(config: Resolved, parameters: Mapping[str, Tensor], prefix: str, recurrence: Recurrence | None) -> Layer:
    """The layer whose parameters begin with `prefix`, among those of a whole network."""
    own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    return Layer(config, own, recurrence)


def _step_by_step(
    step: Callable[..., tuple[Tensor, State]], inputs: list[Tensor], state: State, reverse: bool
) -> tuple[Tensor, State]:
    outputs = []
    for X_t in reversed(inputs) if reverse else inputs:
        output, state = step(X_t, *state)
        outputs.append(output)
    if reverse:
        outputs.reverse()
    return torch.stack(outputs, -3), state


class Scaled:
    """Tokens (…, T, B) that stand for their one-hot vectors, each times its factor (…, T, B, 1)."""

    def __init__(self, tokens: Tensor, factors: Tensor) -> None:
        self.tokens, self.factors = tokens, factors

    @property
    def shape(self) -> torch.Size:
        return self.tokens.shape


class Bound:
    """Values by name, as the equations ask for them: `W.reset`, or `W["reset"]`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__ = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]


class WithBias:
    """In the place of a matrix: a product with it has a bias added."""

    def __init__(self, W: Tensor, b: Tensor) -> None:
        self.W, self.b = W, b

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Tensor:
        value, own = args
        made: Tensor = function(value, own.W) + own.b
        return made


def linear(X: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
    """X W + b with X (…, T, B, in), W (in, out) or (R, in, out), b (out,) or (R, 1, out) → (…, T, B, out)."""
    rows = X.flatten(-3, -2)
    if b is None:
        return (rows @ W).view(*X.shape[:-1], W.shape[-1])
    made = torch.baddbmm(b, rows, W) if W.dim() == 3 and rows.dim() == 3 else rows @ W + b
    return made.view(*X.shape[:-1], W.shape[-1])


def looked_up(tokens: Tensor, W: Tensor) -> Tensor:
    """The rows of W (V, n) or (R, V, n) that tokens (…, T, B) name: the product with one-hot vectors, without it."""
    if W.dim() == 3:
        R, V, _ = W.shape
        tokens = tokens + torch.arange(0, R * V, V, device=W.device).view(R, 1, 1)
    rows: Tensor = F.embedding(tokens, W.flatten(0, -2))
    return rows
