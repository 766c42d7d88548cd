"""A recurrent language model: one-hot tokens, recurrent layers, a linear output layer.

Axes: T steps, B sequences, H hidden units, V vocabulary.
"""

from collections.abc import Mapping

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ablate.config import Config, resolve
from ablate.models.cells import CELLS, State
from ablate.models.parameters import live_gates


class LanguageModel(nn.Module):
    """Tokens (T, B) and the state of each layer → logits (T·B, V), time-major, and the new states.

    `parameters` are copied; `dropout` is drawn from `generator`, between layers and in training mode only.
    """

    def __init__(
        self,
        config: Config,
        vocabulary_size: int,
        parameters: Mapping[str, Tensor],
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = resolve(config)
        self.vocabulary_size = vocabulary_size
        self.generator = generator
        self.output_W = nn.Parameter(parameters["output.W"].clone())
        self.output_b = nn.Parameter(parameters["output.b"].clone())

    def initial_state(self, B: int) -> list[State]:
        """Zeros (B, H): one tuple per layer."""
        zeros = self.output_W.new_zeros(B, self.config.num_hiddens)
        return [(zeros,) * CELLS[self.config.model.cell].states for _ in range(self.config.layers)]

    def forward(self, tokens: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        X = F.one_hot(tokens, self.vocabulary_size).to(self.output_W.dtype)
        new_states = []
        for layer in range(self.config.layers):
            if layer > 0:
                X = self.dropped(X)
            X, state = self.layer(layer, X, states[layer])
            new_states.append(state)
        return X.flatten(0, 1) @ self.output_W + self.output_b, new_states

    def layer(self, number: int, X: Tensor, state: State) -> tuple[Tensor, State]:
        """Inputs (T, B, inputs) and the layer's state → outputs (T, B, H) and the new state."""
        raise NotImplementedError

    def named_tensors(self) -> dict[str, Tensor]:
        """The parameters under the names of `ablate.models.parameters`, detached."""
        raise NotImplementedError

    def dropped(self, X: Tensor) -> Tensor:
        share = self.config.dropout
        if not self.training or share == 0:
            return X
        return X * dropout_mask(X.shape, share, self.generator, X.dtype).to(X.device)


def dropout_mask(
    shape: torch.Size | tuple[int, ...], share: float, generator: Generator | None, dtype: torch.dtype
) -> Tensor:
    """Zeros for the dropped share, 1/(1 − share) elsewhere; drawn on the CPU, the same for every engine."""
    return (torch.rand(shape, generator=generator) >= share).to(dtype) / (1 - share)


class ScratchModel(LanguageModel):
    """The equations of `ablate.models.cells`, one time step after the other."""

    def __init__(
        self,
        config: Config,
        vocabulary_size: int,
        parameters: Mapping[str, Tensor],
        generator: Generator | None = None,
    ) -> None:
        super().__init__(config, vocabulary_size, parameters, generator)
        # A name in a ParameterDict must not have a dot.
        self.recurrent = nn.ParameterDict(
            {
                name.replace(".", "/"): nn.Parameter(value.clone())
                for name, value in parameters.items()
                if not name.startswith("output.")
            }
        )

    def layer(self, number: int, X: Tensor, state: State) -> tuple[Tensor, State]:
        prefix = f"{number}/"
        own = {
            name.removeprefix(prefix).replace("/", "."): value
            for name, value in self.recurrent.items()
            if name.startswith(prefix)
        }
        cell = CELLS[self.config.model.cell](self.config, own)
        outputs = []
        for X_t in X:
            output, state = cell(X_t, state)
            outputs.append(output)
        return torch.stack(outputs), state

    def named_tensors(self) -> dict[str, Tensor]:
        out = {name.replace("/", "."): value.detach() for name, value in self.recurrent.items()}
        return out | {"output.W": self.output_W.detach(), "output.b": self.output_b.detach()}


class LibraryModel(LanguageModel):
    """torch.nn.RNN, GRU or LSTM, one module per layer.

    A second bias that the config does not have (bias_vectors=1) is held at zero and not trained.
    """

    def __init__(
        self,
        config: Config,
        vocabulary_size: int,
        parameters: Mapping[str, Tensor],
        generator: Generator | None = None,
    ) -> None:
        super().__init__(config, vocabulary_size, parameters, generator)
        cell, H = config.model.cell, config.num_hiddens
        options = {"nonlinearity": config.model.activation} if cell == "rnn" else {}
        dtype = parameters["output.W"].dtype
        module = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.layers = nn.ModuleList(
            module(vocabulary_size if layer == 0 else H, H, dtype=dtype, **options) for layer in range(config.layers)
        )
        with torch.no_grad():
            for layer, recurrent in enumerate(self.layers):
                for ours, theirs in LIBRARY_NAMES.items():
                    target = recurrent.get_parameter(theirs)
                    blocks = [parameters.get(f"{layer}.{gate}.{ours}") for gate in live_gates(config)]
                    if blocks[0] is None:
                        target.zero_().requires_grad_(False)
                    else:
                        target.copy_(torch.cat([block.t() for block in blocks if block is not None]))

    def layer(self, number: int, X: Tensor, state: State) -> tuple[Tensor, State]:
        recurrent = self.layers[number]
        if len(state) == 2:
            output, (H, C) = recurrent(X, (state[0].unsqueeze(0), state[1].unsqueeze(0)))
            return output, (H.squeeze(0), C.squeeze(0))
        output, H = recurrent(X, state[0].unsqueeze(0))
        return output, (H.squeeze(0),)

    def named_tensors(self) -> dict[str, Tensor]:
        out = {}
        for layer, recurrent in enumerate(self.layers):
            gates = live_gates(self.config)
            for ours, theirs in LIBRARY_NAMES.items():
                source = recurrent.get_parameter(theirs)
                if source.requires_grad:
                    for gate, block in zip(gates, source.detach().chunk(len(gates)), strict=True):
                        out[f"{layer}.{gate}.{ours}"] = block.t()
        return out | {"output.W": self.output_W.detach(), "output.b": self.output_b.detach()}


LIBRARY_NAMES = {"W_x": "weight_ih_l0", "W_h": "weight_hh_l0", "b_x": "bias_ih_l0", "b_h": "bias_hh_l0"}

ENGINES: dict[str, type[LanguageModel]] = {"scratch": ScratchModel, "api": LibraryModel}
