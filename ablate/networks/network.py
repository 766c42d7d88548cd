"""The readable network: from tokens to logits, as a function of named parameters.

Axes: R replicas (optional, first), T steps, B sequences, H hidden units, V vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.config.resolved import Resolved
from ablate.networks.dropout import NOTHING_DROPPED, Masks
from ablate.networks.layer import Recurrence, Scaled, State, layer_of, linear, looked_up
from ablate.networks.parameters import Vocabulary, directions
from ablate.networks.stack import mask_shapes, run_layers


class Network:
    """Recurrent layers of the cell that `config` names, and a linear output layer.

    `parameters` are used as they are, without a copy, and can be differentiated: those of `ablate.networks.parameters`,
    or those of several networks stacked, weights (R, in, out) and vectors (R, 1, n). With `project` the input's share
    of all steps is one product before the loop, which is fast; without, every step is computed by itself, as the
    published code does. Both are the same up to rounding. `recurrence`: see `Layer`.
    """

    def __init__(
        self,
        config: Resolved,
        vocabulary_size: Vocabulary,
        parameters: Mapping[str, Tensor],
        *,
        project: bool = False,
        recurrence: Recurrence | None = None,
    ) -> None:
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.p = parameters
        self.project = project
        self.layers = [
            [layer_of(self.config, parameters, f"{layer}.{direction}", recurrence) for direction in directions(config)]
            for layer in range(config.layers)
        ]

    def initial_state(self, *axes: int) -> list[State]:
        """Zeros (*axes, H): one tuple per layer; of a bidirectional layer the forward parts, then the reverse ones."""
        zeros = self.p["output.b"].new_zeros(*axes, self.config.num_hiddens)
        return [(zeros,) * sum(way.states for way in ways) for ways in self.layers]

    def mask_shapes(self, T: int, B: int) -> dict[int, tuple[int, ...]]:
        """Shapes of the dropout masks of one replica, by their places (`ablate.networks.dropout`)."""
        return mask_shapes(self.config, self.vocabulary_size, T, B)

    def __call__(
        self, tokens: Tensor, states: Sequence[State], masks: Masks = NOTHING_DROPPED
    ) -> tuple[Tensor, list[State]]:
        """Tokens (…, T, B), or real numbers (…, T, B, features), and the state of each layer → logits (…, T, B, V) and
        the new states.

        `masks` scale what layers and the output layer read, see `mask_shapes`; none: no dropout.
        """
        looks_up = self.project and self.config.model.connection != "dense" and self.config.model.embedding is None
        looks_up = looks_up and isinstance(self.vocabulary_size, int)
        X = tokens if looks_up else read(tokens, self.vocabulary_size, self.p)
        X, new_states = run_layers(self.config, X, states, self.run_layer, self.p, masks)
        return written(X, self.p), new_states

    def run_layer(self, number: int, X: Tensor | Scaled, state: State) -> tuple[Tensor, State]:
        """Inputs (…, T, B, inputs) and the layer's state → outputs (…, T, B, made) and the new state."""
        forward, *reverse = self.layers[number]
        outputs, new_state = forward.run(X, state[: forward.states], project=self.project)
        if not reverse:
            return outputs, new_state
        other_outputs, other_state = reverse[0].run(X, state[forward.states :], project=self.project, reverse=True)
        return torch.cat([outputs, other_outputs], -1), (*new_state, *other_state)


def read(inputs: Tensor, vocabulary_size: Vocabulary, parameters: Mapping[str, Tensor]) -> Tensor:
    """What the first layer reads (…, T, B, width): of tokens the embeddings, if there are such, else the one-hot
    vectors; real numbers as they are."""
    if "input.embedding" in parameters:
        return looked_up(inputs, parameters["input.embedding"])
    dtype = parameters["output.b"].dtype
    if isinstance(vocabulary_size, int):
        return F.one_hot(inputs, vocabulary_size).to(dtype)
    return inputs.to(dtype)


def written(X: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """The logits (…, T, B, V) of what the output layer reads (…, T, B, width).

    Where its matrix is tied it is the transposed embedding (Press and Wolf 2017, Inan et al. 2017), behind a projection
    if that has another width.
    """
    if "output.projection" in parameters:
        X = linear(X, parameters["output.projection"])
    W = parameters["output.W"] if "output.W" in parameters else parameters["input.embedding"].transpose(-1, -2)
    return linear(X, W, parameters["output.b"])
