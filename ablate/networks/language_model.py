"""A recurrent language model that is trained by autograd: the readable network, and the same with torch.nn.

Axes: T steps, B sequences, H hidden units, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ablate.cells.cell import live_gates, variant_of
from ablate.config.resolved import Resolved
from ablate.networks.dropout import Masks, dropout_mask, shares
from ablate.networks.layer import State
from ablate.networks.network import Network, read, written
from ablate.networks.parameters import Vocabulary, directions, widths
from ablate.networks.stack import mask_shapes, run_layers


class LanguageModel(nn.Module):
    """Tokens (T, B), or real numbers (T, B, features), and the state of each layer → logits (T·B, V), time-major, and
    the new states.

    `parameters` are copied; dropout is drawn from `generator`, in training mode only.
    """

    stacks = 1
    """Of layers."""

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
        untied = parameters.get("output.W")
        self.output_W = None if untied is None else nn.Parameter(untied.clone())
        self.output_b = nn.Parameter(parameters["output.b"].clone())

    def initial_state(self, B: int) -> list[State]:
        """Zeros (B, H): one tuple per layer."""
        raise NotImplementedError

    def forward(self, tokens: Tensor, states: Sequence[State]) -> tuple[Tensor, list[State]]:
        logits, new_states = self.logits(tokens, states, self.masks(*tokens.shape[:2]))
        return logits.flatten(0, 1), new_states

    def logits(self, tokens: Tensor, states: Sequence[State], masks: Masks) -> tuple[Tensor, list[State]]:
        """Tokens (T, B), states, and masks by their places → logits (T, B, V), new states."""
        raise NotImplementedError

    def masks(self, T: int, B: int) -> Masks:
        """The dropout masks of one minibatch, drawn from the lowest place up; none where nothing is dropped."""
        if not self.training:
            return {}
        shapes, like = self.mask_shapes(T, B), self.output_b
        return {
            place: dropout_mask(shapes[place], share, self.generator, like.dtype).to(like.device)
            for place, share in shares(self.config, self.stacks).items()
        }

    def mask_shapes(self, T: int, B: int) -> dict[int, tuple[int, ...]]:
        return mask_shapes(self.config, self.vocabulary_size, T, B)

    def output(self) -> dict[str, Tensor]:
        """The parameters of the output layer that are its own, by name."""
        own: dict[str, Tensor] = {"output.b": self.output_b}
        return own if self.output_W is None else own | {"output.W": self.output_W}

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
            {name: value for name, value in parameters.items() if name not in ("output.W", "output.b")}
        )

    def network(self) -> Network:
        """The network of the parameters as they are now."""
        return Network(self.config, self.vocabulary_size, with_dots(self.recurrent) | self.output())

    def initial_state(self, B: int) -> list[State]:
        return self.network().initial_state(B)

    def logits(self, tokens: Tensor, states: Sequence[State], masks: Masks) -> tuple[Tensor, list[State]]:
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
            library_layer(config, width, dtype=self.output_b.dtype, bidirectional=bidirectional)
            for width in inputs[: config.layers]
        )
        linear = (".transition.", "input.embedding", "output.projection")
        self.linear = without_dots(
            {name: value for name, value in parameters.items() if any(part in name for part in linear)}
        )
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
        return [(self.output_b.new_zeros(B, self.config.num_hiddens),) * parts] * self.config.layers

    def logits(self, tokens: Tensor, states: Sequence[State], masks: Masks) -> tuple[Tensor, list[State]]:
        parameters = with_dots(self.linear) | self.output()
        X = read(tokens, self.vocabulary_size, parameters)
        X, new_states = run_layers(self.config, X, states, self.layer, parameters, masks)
        return written(X, parameters), new_states

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
        others = with_dots(self.linear) | self.output()
        return out | {name: value.detach() for name, value in others.items()}


def library_layer(config: Resolved, inputs: int, **options: Any) -> nn.RNNBase:
    """One layer of torch.nn that computes the config's cell."""
    name = variant_of(config).cell.torch_nn
    if name == "RNN":
        options["nonlinearity"] = config.model.activation
    return uninitialised(getattr(nn, name), inputs, config.num_hiddens, **options)


LIBRARY_NAMES = {"W_x": "weight_ih_l0", "W_h": "weight_hh_l0", "b_x": "bias_ih_l0", "b_h": "bias_hh_l0"}

ENGINES: dict[str, type[LanguageModel]] = {"eager": EagerModel, "torch_nn": LibraryModel}
