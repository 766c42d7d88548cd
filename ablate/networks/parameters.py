"""The named parameters that every engine shares, and how they start.

A network is a dictionary of tensors, an entry for each gate and weights of its cell, in the textbook's orientation:

    {layer}.{gate}.W_x      (inputs, H)     what the gate makes of its layer's input
    {layer}.{gate}.W_h      (H, H)          … and of the old state, in the cells that read it
    {layer}.{gate}.b_x      (H,)            its bias
    {layer}.{gate}.b_h      (H,)            a second bias on the recurrent product (bias_vectors = 2), as torch.nn has
    {layer}.{gate}.…        (k·H, H), (H,)  what else the equations take: W_gates and peepholes P of the lstm
    {layer}.reverse.…                       the same once more, of the network that reads from the end
    {layer}.transition.W    (inputs, W)     the linear layer behind a densely connected layer, and its bias .b (W,)
    output.W (inputs, V), output.b (V,)     the output layer

A gate that a model fixes at a constant has no parameters. Axes: H hidden units, V vocabulary.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from ablate.cells.cell import variant_of
from ablate.config.resolved import Resolved

NORMAL_SD = 0.01


class Sizes(NamedTuple):
    """The two vocabularies of a translation, in words."""

    source: int
    target: int


class Features(NamedTuple):
    """The numbers that a network reads at each step, in the place of a token, and those that it gives."""

    inputs: int
    outputs: int


Vocabulary = int | Features
"""What a network that steps along one sequence reads and gives: tokens of one vocabulary, or real numbers."""


def ends(vocabulary_size: Vocabulary) -> tuple[int, int]:
    """The widths of the input and of the output."""
    return vocabulary_size if isinstance(vocabulary_size, Features) else (vocabulary_size, vocabulary_size)


def directions(config: Resolved) -> tuple[str, ...]:
    """What stands before a gate's name for each direction in which a layer reads."""
    return ("", "reverse.") if config.model.bidirectional else ("",)


def widths(config: Resolved, vocabulary_size: Vocabulary) -> list[int]:
    """The width of each layer's input, and at the end that of the output layer's."""
    made = config.num_hiddens * len(directions(config))
    first, _ = ends(vocabulary_size)
    if config.model.connection != "dense":
        return [first] + [made] * config.layers
    out = [first]
    for layer in range(config.layers):
        reduced = config.model.transition if layer < config.layers - 1 else None
        out.append(reduced or out[-1] + made)
    return out


def shapes(config: Resolved, vocabulary_size: Vocabulary | Sizes) -> dict[str, tuple[int, ...]]:
    """Name → shape of every parameter, in the order in which they are drawn."""
    if isinstance(vocabulary_size, Sizes):
        from ablate.networks import translator

        return translator.shapes(config, vocabulary_size)
    inputs = widths(config, vocabulary_size)
    made = config.num_hiddens * len(directions(config))
    out: dict[str, tuple[int, ...]] = {}
    for layer in range(config.layers):
        for direction in directions(config):
            for name, shape in cell_shapes(config, inputs[layer]).items():
                out[f"{layer}.{direction}{name}"] = shape
        if has_transition(config, layer):
            width = inputs[layer + 1]
            out |= {f"{layer}.transition.W": (inputs[layer] + made, width), f"{layer}.transition.b": (width,)}
    _, outputs = ends(vocabulary_size)
    return out | {"output.W": (inputs[-1], outputs), "output.b": (outputs,)}


def cell_shapes(config: Resolved, inputs: int) -> dict[str, tuple[int, ...]]:
    """Name → shape of the parameters of one cell that reads inputs of this width."""
    variant, biases = variant_of(config), config.bias_vectors
    return variant.structure.shapes(variant.cell.weights, inputs, config.num_hiddens, biases)


def has_transition(config: Resolved, layer: int) -> bool:
    """Whether a linear layer reduces what this layer passes on; never after the last."""
    return config.model.transition is not None and layer < config.layers - 1


def count(config: Resolved, vocabulary_size: Vocabulary | Sizes) -> int:
    """Trainable numbers in the network."""
    return sum(math.prod(shape) for shape in shapes(config, vocabulary_size).values())


def initial(
    config: Resolved, vocabulary_size: Vocabulary | Sizes, generator: Generator, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Initial parameters on the CPU.

    init=torch: everything uniform on ±1/√H, and of a linear layer on ±1/√inputs, which is what torch.nn.RNN, GRU, LSTM
    and Linear draw by default. Otherwise biases are zero, and weights

    normal        N(0, 0.01²)
    xavier        uniform on ±√(6/(inputs + outputs)), each gate's matrix by itself (Glorot and Bengio 2010)
    orthogonal    those of the recurrent product orthogonal (Saxe et al. 2014), the others as with xavier

    `forget_bias` then replaces the forget gate's bias, and its second one is zero.
    """
    if isinstance(vocabulary_size, Sizes):
        from ablate.networks import translator

        return translator.initial(config, vocabulary_size, generator, dtype)
    named = shapes(config, vocabulary_size)
    out = {}
    for name, shape in named.items():
        linear, kind = name.rsplit(".", 1)
        inputs = named[f"{linear}.W"][0] if kind in ("W", "b") else None
        out[name] = init_parameter(config, name, torch.empty(shape, dtype=dtype), generator, inputs)
    return with_forget_bias(config, out)


def with_forget_bias(config: Resolved, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters, those of the forget gates' biases set in place: the first vector to it, the second to zero."""
    gate = variant_of(config).cell.forget_gate
    for name, value in parameters.items():
        if config.forget_bias is not None and name.endswith((f".{gate}.b_x", f".{gate}.b_h")):
            value.fill_(config.forget_bias if name.endswith("b_x") else 0)
    return parameters


def init_parameter(
    config: Resolved, name: str, empty: Tensor, generator: Generator, inputs: int | None = None
) -> Tensor:
    """One parameter, filled in place by the rule of `config.init`, see `initial`.

    `inputs` is the width that a linear layer reads, if not that of one hidden layer.
    """
    kind, init = name.rsplit(".", 1)[1], config.init
    if init == "torch":
        bound = 1 / math.sqrt(inputs or config.num_hiddens)
        return empty.uniform_(-bound, bound, generator=generator)
    if kind.startswith("b"):
        return empty.zero_()
    if init == "normal":
        return empty.normal_(0, NORMAL_SD, generator=generator)
    if init == "orthogonal" and kind == "W_h":
        return nn.init.orthogonal_(empty, generator=generator)
    bound = math.sqrt(6 / (empty.shape[0] + empty.shape[-1]))  # a peephole is the diagonal of a square matrix
    return empty.uniform_(-bound, bound, generator=generator)
