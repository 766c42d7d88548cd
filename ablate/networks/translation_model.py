"""The encoder–decoder that is trained by autograd: the readable one, and the same with the layers of torch.nn.

Axes as in `ablate.networks.translator`: T steps, B sequences, V vocabulary; one replica.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ablate.cells.cell import live_gates
from ablate.config.resolved import Resolved
from ablate.networks.dropout import Masks, masked
from ablate.networks.language_model import LIBRARY_NAMES, LanguageModel, library_layer, with_dots, without_dots
from ablate.networks.layer import State
from ablate.networks.network import written
from ablate.networks.parameters import Sizes
from ablate.networks.translator import Translator, mask_shapes


class TranslationModel(LanguageModel):
    """Tokens (2, T, B), the source and the decoder's inputs → logits (T·B, V_target), time-major, and no states.

    `parameters` are copied; dropout is drawn from `generator`, in training mode only: the masks of the encoder, then
    those of the decoder.
    """

    stacks = 2

    def __init__(
        self, config: Resolved, sizes: Sizes, parameters: Mapping[str, Tensor], generator: Generator | None = None
    ) -> None:
        super().__init__(config, sizes.target, parameters, generator)
        self.sizes = sizes

    def initial_state(self, B: int) -> list[State]:
        """Nothing: no minibatch goes on from the one before."""
        return []

    def forward(self, tokens: Tensor, states: Sequence[State] = ()) -> tuple[Tensor, list[State]]:
        logits, new_states = self.logits(tokens, states, self.masks(*tokens.shape[-2:]))
        return logits.flatten(0, 1), new_states

    def mask_shapes(self, T: int, B: int) -> dict[int, tuple[int, ...]]:
        return mask_shapes(self.config, T, B)


class EagerTranslator(TranslationModel):
    """The readable encoder–decoder, one time step after the other."""

    def __init__(
        self, config: Resolved, sizes: Sizes, parameters: Mapping[str, Tensor], generator: Generator | None = None
    ) -> None:
        super().__init__(config, sizes, parameters, generator)
        self.others = without_dots(
            {name: value for name, value in parameters.items() if not name.startswith("output.")}  # which is not tied
        )

    def network(self) -> Translator:
        """The network of the parameters as they are now."""
        return Translator(self.config, self.sizes, with_dots(self.others) | self.output())

    def logits(self, tokens: Tensor, states: Sequence[State], masks: Masks) -> tuple[Tensor, list[State]]:
        return self.network()(tokens, states, masks)

    def named_tensors(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.network().p.items()}


class LibraryTranslator(TranslationModel):
    """torch.nn.RNN, GRU or LSTM, one module per layer.

    A second bias that the config does not have (bias_vectors=1) is held at zero and not trained.
    """

    def __init__(
        self, config: Resolved, sizes: Sizes, parameters: Mapping[str, Tensor], generator: Generator | None = None
    ) -> None:
        super().__init__(config, sizes, parameters, generator)
        E, H = config.task.embed, config.num_hiddens
        self.tables, self.layers = nn.ParameterDict(), nn.ModuleDict()
        for part, first in (("encoder", E), ("decoder", E + H)):
            self.tables[part] = nn.Parameter(parameters[f"{part}.embedding"].clone())
            self.layers[part] = nn.ModuleList(
                library_layer(config, H if layer else first, dtype=self.output_b.dtype)
                for layer in range(config.layers)
            )
        with torch.no_grad():
            for prefix, target, ours in self.places():
                names = [f"{prefix}.{gate}.{ours}" for gate in live_gates(config)]
                if names[0] in parameters:
                    target.copy_(torch.cat([parameters[name].t() for name in names]))
                else:
                    target.zero_().requires_grad_(False)

    def places(self) -> Iterator[tuple[str, nn.Parameter, str]]:
        """For each of torch.nn's tensors: what stands before the gate's name in ours, it, and our name's last part."""
        for part, layers in self.layers.items():
            assert isinstance(layers, nn.ModuleList)
            for layer, recurrent in enumerate(layers):
                for ours, theirs in LIBRARY_NAMES.items():
                    yield f"{part}.{layer}", recurrent.get_parameter(theirs), ours

    def logits(self, tokens: Tensor, states: Sequence[State], masks: Masks) -> tuple[Tensor, list[State]]:
        source, inputs = tokens.unbind(0)
        X, encoded = self.through("encoder", F.embedding(source, self.tables["encoder"]), None, masks, 0)
        context = encoded[-1][0].expand(len(inputs), -1, -1)
        X = torch.cat((F.embedding(inputs, self.tables["decoder"]), context), -1)
        L = self.config.layers
        outputs, _ = self.through("decoder", X, encoded, masks, L)
        return written(masked(outputs, masks.get(2 * L)), self.output()), []

    def through(
        self, part: str, X: Tensor, states: Sequence[State] | None, masks: Masks, first: int
    ) -> tuple[Tensor, list[State]]:
        """Inputs (T, B, inputs), states (1, B, H) or None for zeros → outputs (T, B, H), states after the last step.

        `first` is the place of what the first layer reads.
        """
        layers, after = self.layers[part], []
        assert isinstance(layers, nn.ModuleList)
        for number, layer in enumerate(layers):
            old = states[number] if states else ()
            state = old if len(old) == 2 else old[0] if old else None
            X, new = layer(masked(X, masks.get(first + number)), state)
            after.append(new if isinstance(new, tuple) else (new,))
        return X, after

    def named_tensors(self) -> dict[str, Tensor]:
        gates, out = live_gates(self.config), {}
        for part, table in self.tables.items():
            out[f"{part}.embedding"] = table.detach()
        for prefix, source, ours in self.places():
            if source.requires_grad:
                for gate, block in zip(gates, source.detach().chunk(len(gates)), strict=True):
                    out[f"{prefix}.{gate}.{ours}"] = block.t()
        return out | {name: value.detach() for name, value in self.output().items()}


TRANSLATORS: dict[str, type[TranslationModel]] = {"eager": EagerTranslator, "torch_nn": LibraryTranslator}
"""Which of them trains under engine=eager and engine=torch_nn."""
