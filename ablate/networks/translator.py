"""An encoder–decoder, readable: embeddings, recurrent layers, and a context that every decoder step reads.

Cho et al. 2014 ("Learning phrase representations using RNN encoder–decoder"), as courses teach it: the encoder's last
states start the decoder, and its top layer's last state, the context, stands beside each of the decoder's inputs.
With `task.attention` the context of a step is instead the mean of the encoder's outputs, weighted by the dot product
with the decoder's top state before that step (Luong et al. 2015, the score "dot", in the place of Bahdanau et al.
2015); padding of the source has no weight.

Axes: T steps, B sequences, E embedding, H hidden units, V vocabulary; … is nothing, or R replicas.
Parameters, beside those of each layer, which are named as in `ablate.networks.parameters`:

    encoder.embedding (V_source, E), decoder.embedding (V_target, E)
    encoder.{layer}.{gate}.…    the first layer reads E numbers
    decoder.{layer}.{gate}.…    the first layer reads E + H numbers, the context last
    output.W (H, V_target), output.b (V_target,)
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from ablate.cells.cell import variant_of
from ablate.config.resolved import Resolved
from ablate.networks.dropout import NOTHING_DROPPED, Masks, at_step, masked, steps_of
from ablate.networks.layer import Layer, Recurrence, State, layer_of, linear, looked_up
from ablate.networks.parameters import Sizes, cell_shapes, init_parameter, set_memory

PAD, BOS, EOS = 1, 2, 3
RESERVED = ("<pad>", "<bos>", "<eos>")
"""The tokens after `<unk>` in both vocabularies: what fills a sentence up, starts it and ends it."""


class Encoded(NamedTuple):
    """What the decoder knows of the source."""

    outputs: Tensor  # (…, T, B, H) of the top layer
    states: list[State]  # the last of each layer
    padded: Tensor  # (…, T, B), true where the source has ended


class Translator:
    """Tokens (…, 2, T, B), the source and the decoder's inputs → logits (…, T, B, V_target), by teacher forcing.

    `parameters` are used as they are: weights (in, out), vectors (n,), or stacked (R, in, out), (R, 1, n).
    `project` computes what a layer makes of its inputs in one product for all steps: the same up to rounding.
    `recurrence`: see `Layer`.
    """

    def __init__(
        self,
        config: Resolved,
        vocabulary_size: Sizes,
        parameters: Mapping[str, Tensor],
        *,
        project: bool = False,
        recurrence: Recurrence | None = None,
    ) -> None:
        self.config = config
        self.p = parameters
        self.project = project
        self.encoder, self.decoder = (
            [layer_of(self.config, parameters, f"{half}.{layer}.", recurrence) for layer in range(config.layers)]
            for half in ("encoder", "decoder")
        )

    def initial_state(self, *axes: int) -> list[State]:
        """Nothing: no minibatch goes on from the one before."""
        return []

    def mask_shapes(self, T: int, B: int) -> dict[int, tuple[int, ...]]:
        """Of one replica's dropout masks, by their places (`ablate.networks.dropout`)."""
        return mask_shapes(self.config, T, B)

    def __call__(
        self, tokens: Tensor, states: Sequence[State] = (), masks: Masks = NOTHING_DROPPED
    ) -> tuple[Tensor, list[State]]:
        source, inputs = tokens.unbind(-3)
        encoded = self.encode(source, masks)
        if not self.config.task.attention:
            return self.decode(inputs, encoded.states, self.context(encoded, encoded.states), masks)[0], []
        logits, states = [], encoded.states
        for t in range(inputs.shape[-2]):
            step = {place: at_step(mask, t) for place, mask in masks.items()}
            logit, states = self.decode(inputs.narrow(-2, t, 1), states, self.context(encoded, states), step)
            logits.append(logit)
        return torch.cat(logits, -3), []

    def encode(self, source: Tensor, masks: Masks = NOTHING_DROPPED) -> Encoded:
        """Source (…, T, B), which the encoder reads to the end of its padding, as published."""
        X = looked_up(source, self.p["encoder.embedding"])
        zeros = X.new_zeros(*source.shape[:-2], source.shape[-1], self.config.num_hiddens)
        states = [(zeros,) * layer.states for layer in self.encoder]
        outputs, last = self._through(self.encoder, X, states, masks, 0)
        return Encoded(outputs, last, source == PAD)

    def context(self, encoded: Encoded, states: Sequence[State]) -> Tensor:
        """What a decoder in these states reads of the source: (…, B, H)."""
        if not self.config.task.attention:
            return encoded.states[-1][0]
        query = states[-1][0]
        scores = (encoded.outputs * query.unsqueeze(-3)).sum(-1).masked_fill(encoded.padded, -math.inf)
        return (scores.softmax(-2).unsqueeze(-1) * encoded.outputs).sum(-3)

    def decode(
        self, inputs: Tensor, states: Sequence[State], context: Tensor, masks: Masks = NOTHING_DROPPED
    ) -> tuple[Tensor, list[State]]:
        """Inputs (…, T, B), the decoder's states before them, one context (…, B, H) → logits (…, T, B, V), states."""
        X = looked_up(inputs, self.p["decoder.embedding"])
        beside = context.unsqueeze(-3).expand(*X.shape[:-1], -1)
        L = self.config.layers
        outputs, after = self._through(self.decoder, torch.cat((X, beside), -1), states, masks, L)
        return linear(masked(outputs, masks.get(2 * L)), self.p["output.W"], self.p["output.b"]), after

    def _through(
        self, layers: Sequence[Layer], X: Tensor, states: Sequence[State], masks: Masks, first: int
    ) -> tuple[Tensor, list[State]]:
        """Inputs (…, T, B, inputs) through layers → the top layer's outputs (…, T, B, H) and all new states.

        `first` is the place of what the first of them reads.
        """
        after = []
        for place, (layer, state) in enumerate(zip(layers, states, strict=True), first):
            X, new_state = layer.run(masked(X, masks.get(place)), state, project=self.project)
            after.append(new_state)
        return X, after

    @torch.inference_mode()
    def greedy(self, source: Tensor, steps: int) -> Tensor:
        """Source (T, B) → the likeliest word after the likeliest word … (steps, B); `<eos>` from the first one on.

        Under task.context=as-published each step reads the decoder's own top state in the place of the encoder's,
        which no step of the training did.
        """
        encoded = self.encode(source)
        states, words = encoded.states, source.new_full((1, source.shape[1]), BOS)
        ended = torch.zeros_like(words, dtype=torch.bool)
        out = []
        for _ in range(steps):
            own = self.config.task.context == "as-published" and not self.config.task.attention
            context = states[-1][0] if own else self.context(encoded, states)
            logits, states = self.decode(words, states, context)
            words = logits.argmax(-1)
            ended = ended | (words == EOS)
            out.append(words.masked_fill(ended, EOS))
        return torch.cat(out)


def mask_shapes(config: Resolved, T: int, B: int) -> dict[int, tuple[int, ...]]:
    """Place → shape of a dropout mask of one replica: of what the encoder's layers read, the decoder's, the output
    layer."""
    E, H, L = config.task.embed, config.num_hiddens, config.layers
    read = {0: E, L: E + H}
    return {place: (steps_of(config, T), B, read.get(place, H)) for place in range(2 * L + 1)}


def shapes(config: Resolved, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Name → shape of every parameter, in the order in which they are drawn."""
    E, H = config.task.embed, config.num_hiddens
    out: dict[str, tuple[int, ...]] = {}
    for part, V, first in (("encoder", sizes.source, E), ("decoder", sizes.target, E + H)):
        out[f"{part}.embedding"] = (V, E)
        for layer in range(config.layers):
            for name, shape in cell_shapes(config, H if layer else first).items():
                out[f"{part}.{layer}.{name}"] = shape
    return out | {"output.W": (H, sizes.target), "output.b": (sizes.target,)}


def initial(
    config: Resolved, sizes: Sizes, generator: Generator, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Initial parameters on the CPU: by the rules of `ablate.networks.parameters`, with an exception of the course.

    With init=xavier weights are drawn as the published experiment did, by torch.nn: the gates of a layer are one matrix
    there, so that a weight of G gates is uniform on ±√(6/(inputs + G·H)), and biases stay uniform on ±1/√H.
    """
    stacked, H = len(variant_of(config).cell.preactivations), config.num_hiddens
    out = {}
    for name, shape in shapes(config, sizes).items():
        empty, kind = torch.empty(shape, dtype=dtype), name.rsplit(".", 1)[1]
        if config.init != "xavier" or kind == "embedding":
            out[name] = init_parameter(config, name, empty, generator)
        elif len(shape) == 1:
            out[name] = empty.uniform_(-1 / math.sqrt(H), 1 / math.sqrt(H), generator=generator)
        else:
            outputs = shape[1] * (1 if name == "output.W" else stacked)
            bound = math.sqrt(6 / (shape[0] + outputs))
            out[name] = empty.uniform_(-bound, bound, generator=generator)
    return set_memory(config, out, generator)
