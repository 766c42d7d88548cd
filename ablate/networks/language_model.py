"""A recurrent language model that is trained by autograd: the readable network, and the same with torch.nn.

Axes: T steps, B sequences, H hidden units, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ablate.cells.cell import live_gates, variant_of
from ablate.config.resolved import Resolved
from ablate.networks.layer import State
from ablate.networks.network import Network, read
from ablate.networks.parameters import Vocabulary, directions, widths
from ablate.networks.stack import mask_shapes, run_layers


class LanguageModel(nn.Module):
    """Tokens (T, B), or real numbers (T, B, features), and the state of each layer → logits (T·B, V), time-major, and
    the new states.

    `parameters` are copied; dropout is drawn from `generator`, between layers and in training mode only.
    """

    def __init__(
        self,
        config: Resolved,
        vocabulary_size: Vocabulary,
        parameters: Mapping[str, Tensor],
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.generator = generator
        self.output_W = nn.Parameter(parameters["output.W"].clone())
        self.output_b = nn.Parameter(parameters["output.b"].clone())

    def initial_state(self, B: int) -> list[State]:
        """Zeros (B, H): one tuple per layer."""
        raise NotImplementedError

    def forward(self, tokens: Tensor, states: Sequence[State]) -> tuple[Tensor, list[State]]:
        logits, new_states = self.logits(tokens, states, self.masks(*tokens.shape[:2]))
        return logits.flatten(0, 1), new_states

    def logits(self, tokens: Tensor, states: Sequence[State], masks: Sequence[Tensor]) -> tuple[Tensor, list[State]]:
        """Tokens (T, B), states, and masks of the inputs of each layer but the first → logits (T, B, V), new states."""
        raise NotImplementedError

    def masks(self, T: int, B: int) -> list[Tensor]:
        """The dropout masks of one minibatch, from the lowest layer up; none where nothing is dropped."""
        share, weights = self.config.dropout, self.output_W
        if not self.training or share == 0:
            return []
        shapes = self.mask_shapes(T, B)
        return [dropout_mask(shape, share, self.generator, weights.dtype).to(weights.device) for shape in shapes]

    def mask_shapes(self, T: int, B: int) -> list[tuple[int, ...]]:
        return mask_shapes(self.config, self.vocabulary_size, T, B)

    def named_tensors(self) -> dict[str, Tensor]:
        """The parameters under the names of `ablate.networks.parameters`, detached."""
        raise NotImplementedError


def uninitialised(kind: type[nn.RNNBase], inputs: int, H: int, **options: Any) -> nn.RNNBase:
    """One layer of torch.nn whose parameters are still to be set: it draws nothing from torch's own random numbers,
    which belong to the program that we are part of."""
    bare = type(kind.__name__, (kind,), {"reset_parameters": lambda self: None})
    layer: nn.RNNBase = bare(inputs, H, **options)
    layer.__class__ = kind
    return layer


def dropout_mask(
    shape: torch.Size | tuple[int, ...], share: float, generator: Generator | None, dtype: torch.dtype
) -> Tensor:
    """Zeros for the dropped share, 1/(1 − share) elsewhere; drawn on the CPU, the same for every engine."""
    return not_dropped(shape, share, generator).to(dtype) / (1 - share)


def not_dropped(shape: torch.Size | tuple[int, ...], share: float, generator: Generator | None) -> Tensor:
    """Where a mask drops nothing."""
    return torch.rand(shape, generator=generator) >= share


def without_dots(parameters: Mapping[str, Tensor]) -> nn.ParameterDict:
    """Copies of the parameters; a name in a ParameterDict must not have a dot."""
    return nn.ParameterDict({name.replace(".", "/"): nn.Parameter(value.clone()) for name, value in parameters.items()})


def with_dots(parameters: nn.ParameterDict) -> dict[str, Tensor]:
    """The parameters themselves, under their own names."""
    return {name.replace("/", "."): value for name, value in parameters.items()}


class EagerModel(LanguageModel):
    """The readable network, one time step after the other."""

    def __init__(
        self,
        config: Resolved,
        vocabulary_size: Vocabulary,
        parameters: Mapping[str, Tensor],
        generator: Generator | None = None,
    ) -> None:
        super().__init__(config, vocabulary_size, parameters, generator)
        self.recurrent = without_dots(
            {name: value for name, value in parameters.items() if not name.startswith("output.")}
        )

    def network(self) -> Network:
        """The network of the parameters as they are now."""
        own = with_dots(self.recurrent) | {"output.W": self.output_W, "output.b": self.output_b}
        return Network(self.config, self.vocabulary_size, own)

    def initial_state(self, B: int) -> list[State]:
        return self.network().initial_state(B)

    def logits(self, tokens: Tensor, states: Sequence[State], masks: Sequence[Tensor]) -> tuple[Tensor, list[State]]:
        return self.network()(tokens, states, masks)

    def named_tensors(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.network().p.items()}


class LibraryModel(LanguageModel):
    """torch.nn.RNN, GRU or LSTM, one module per layer, and torch.nn.Linear where a transition reduces the width.

    A second bias that the config does not have (bias_vectors=1) is held at zero and not trained.
    """

    def __init__(
        self,
        config: Resolved,
        vocabulary_size: Vocabulary,
        parameters: Mapping[str, Tensor],
        generator: Generator | None = None,
    ) -> None:
        super().__init__(config, vocabulary_size, parameters, generator)
        inputs, bidirectional = widths(config, vocabulary_size), config.model.bidirectional
        self.layers = nn.ModuleList(
            library_layer(config, width, dtype=self.output_W.dtype, bidirectional=bidirectional)
            for width in inputs[: config.layers]
        )
        self.transitions = without_dots({name: value for name, value in parameters.items() if ".transition." in name})
        with torch.no_grad():
            for prefix, target, ours in self.places():
                blocks = [parameters.get(f"{prefix}{gate}.{ours}") for gate in live_gates(config)]
                if blocks[0] is None:
                    target.zero_().requires_grad_(False)
                else:
                    target.copy_(torch.cat([block.t() for block in blocks if block is not None]))

    def places(self) -> Iterator[tuple[str, nn.Parameter, str]]:
        """For each of torch.nn's tensors: what stands before the gate's name in ours, it, and our name's last part."""
        for layer, recurrent in enumerate(self.layers):
            for direction in directions(self.config):
                for ours, theirs in LIBRARY_NAMES.items():
                    target = recurrent.get_parameter(theirs + ("_reverse" if direction else ""))
                    yield f"{layer}.{direction}", target, ours

    def initial_state(self, B: int) -> list[State]:
        parts = len(variant_of(self.config).structure.carried) * len(directions(self.config))
        return [(self.output_W.new_zeros(B, self.config.num_hiddens),) * parts] * self.config.layers

    def logits(self, tokens: Tensor, states: Sequence[State], masks: Sequence[Tensor]) -> tuple[Tensor, list[State]]:
        X = read(tokens, self.vocabulary_size, self.output_W.dtype)
        X, new_states = run_layers(self.config, X, states, self.layer, with_dots(self.transitions), masks)
        return X @ self.output_W + self.output_b, new_states

    def layer(self, number: int, X: Tensor, state: State) -> tuple[Tensor, State]:
        """Inputs (T, B, inputs) and the layer's state → outputs (T, B, made) and the new state."""
        recurrent, ways = self.layers[number], len(directions(self.config))
        if len(state) == ways:
            output, H = recurrent(X, torch.stack(state))
            return output, tuple(H.unbind())
        output, (H, C) = recurrent(X, (torch.stack(state[0::2]), torch.stack(state[1::2])))
        return output, tuple(part for way in zip(H, C, strict=True) for part in way)

    def named_tensors(self) -> dict[str, Tensor]:
        gates, out = live_gates(self.config), {}
        for prefix, source, ours in self.places():
            if source.requires_grad:
                for gate, block in zip(gates, source.detach().chunk(len(gates)), strict=True):
                    out[f"{prefix}{gate}.{ours}"] = block.t()
        out |= {name: value.detach() for name, value in with_dots(self.transitions).items()}
        return out | {"output.W": self.output_W.detach(), "output.b": self.output_b.detach()}


def library_layer(config: Resolved, inputs: int, **options: Any) -> nn.RNNBase:
    """One layer of torch.nn that computes the config's cell."""
    name = variant_of(config).cell.torch_nn
    if name == "RNN":
        options["nonlinearity"] = config.model.activation
    return uninitialised(getattr(nn, name), inputs, config.num_hiddens, **options)


LIBRARY_NAMES = {"W_x": "weight_ih_l0", "W_h": "weight_hh_l0", "b_x": "bias_ih_l0", "b_h": "bias_hh_l0"}

ENGINES: dict[str, type[LanguageModel]] = {"eager": EagerModel, "torch_nn": LibraryModel}
