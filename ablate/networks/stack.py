"""How recurrent layers stand on each other, whatever computes a layer: in a line, with residual or dense connections.

    plain      X_{l+1} = f_l(X_l)
    residual   X_{l+1} = X_l + f_l(X_l), except at the first layer, whose input is the token itself
    dense      X_{l+1} = [X_l, f_l(X_l)] W_l + b_l, the linear transition only where `model.transition` asks for it

Dropout acts on what a layer reads, f_l(drop(X_l)), and leaves the connection around it alone.
Axes: R replicas (optional, first), T steps, B sequences.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ablate.config.resolved import Resolved
from ablate.networks.layer import State, linear
from ablate.networks.parameters import Vocabulary, has_transition, widths

RunLayer = Callable[[int, Tensor, State], tuple[Tensor, State]]
"""Number of a layer, its inputs (…, T, B, width) and its state → outputs (…, T, B, made) and the new state."""


def run_layers(
    config: Resolved,
    X: Tensor,
    states: Sequence[State],
    run_layer: RunLayer,
    transitions: Mapping[str, Tensor],
    masks: Sequence[Tensor] = (),
) -> tuple[Tensor, list[State]]:
    """Inputs of the first layer (…, T, B, V) → inputs of the output layer (…, T, B, width), new states.

    `transitions` holds `{layer}.transition.W` and `.b`; `masks` scales the inputs of each layer but the first.
    """
    new_states = []
    for layer in range(config.layers):
        read = X * masks[layer - 1] if masks and layer > 0 else X
        made, state = run_layer(layer, read, states[layer])
        new_states.append(state)
        X = connected(config.model.connection, layer, X, made)
        if has_transition(config, layer):
            X = linear(X, transitions[f"{layer}.transition.W"], transitions[f"{layer}.transition.b"])
    return X, new_states


def connected(connection: str, layer: int, X: Tensor, made: Tensor) -> Tensor:
    """What a layer passes on of its input (…, in) and of its outputs (…, made)."""
    if connection == "dense":
        return torch.cat([X, made], -1)
    if connection == "residual" and layer > 0:
        return X + made
    return made


def mask_shapes(config: Resolved, vocabulary_size: Vocabulary, T: int, B: int) -> list[tuple[int, ...]]:
    """Shapes of the dropout masks of one replica: of the inputs of each layer but the first."""
    return [(T, B, width) for width in widths(config, vocabulary_size)[1 : config.layers]]
