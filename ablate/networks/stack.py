"""How recurrent layers stand on each other, whatever computes a layer: in a line, with residual or dense connections.

    plain      X_{l+1} = f_l(X_l)
    residual   X_{l+1} = X_l + f_l(X_l), except at the first layer, whose input is the token itself
    dense      X_{l+1} = [X_l, f_l(X_l)] W_l + b_l, the linear transition only where `model.transition` asks for it

Dropout acts on what a layer reads, f_l(drop(X_l)), and leaves the connection around it alone.
Axes: R replicas (optional, first), T steps, B sequences.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ablate.config.resolved import Resolved
from ablate.networks.dropout import VARIATIONAL, Masks, masked, masked_input, steps_of
from ablate.networks.layer import State, linear
from ablate.networks.parameters import Vocabulary, has_transition, widths

RunLayer = Callable[[int, Any, State], tuple[Tensor, State]]  # of the first layer Tensor | Scaled
"""Number of a layer, its inputs (…, T, B, width) and its state → outputs (…, T, B, made) and the new state."""


def run_layers(
    config: Resolved,
    X: Tensor,
    states: Sequence[State],
    run_layer: RunLayer,
    transitions: Mapping[str, Tensor],
    masks: Masks,
) -> tuple[Tensor, list[State]]:
    """Inputs of the first layer (…, T, B, V) → inputs of the output layer (…, T, B, width), new states.

    `transitions` holds `{layer}.transition.W` and `.b`; `masks` scale what layers and the output layer read.
    """
    new_states = []
    for layer in range(config.layers):
        made, state = run_layer(layer, masked_input(X, masks.get(layer)), states[layer])
        new_states.append(state)
        X = connected(config.model.connection, layer, X, made)
        if has_transition(config, layer):
            X = linear(X, transitions[f"{layer}.transition.W"], transitions[f"{layer}.transition.b"])
    return masked(X, masks.get(config.layers)), new_states


def connected(connection: str, layer: int, X: Tensor, made: Tensor) -> Tensor:
    """What a layer passes on of its input (…, in) and of its outputs (…, made)."""
    if connection == "dense":
        return torch.cat([X, made], -1)
    if connection == "residual" and layer > 0:
        return X + made
    return made


def mask_shapes(config: Resolved, vocabulary_size: Vocabulary, T: int, B: int) -> dict[int, tuple[int, ...]]:
    """Place → shape of a dropout mask of one replica: of what each layer reads, and the output layer."""
    steps, read = steps_of(config, T), widths(config, vocabulary_size)
    one_hot = isinstance(vocabulary_size, int) and config.model.embedding is None
    if one_hot and config.dropout_mask != VARIATIONAL:
        read[0] = 1  # the token or nothing
    return {place: (steps, B, width) for place, width in enumerate(read)}
