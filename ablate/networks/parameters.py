"""The named parameters that every engine shares, and how they start.

A network is a dictionary of tensors, an entry for each gate and weights of its cell, in the textbook's orientation:

    {layer}.{gate}.W_x      (inputs, H)     what the gate makes of its layer's input
    {layer}.{gate}.W_h      (H, H)          … and of the old state, in the cells that read it
    {layer}.{gate}.b_x      (H,)            its bias
    {layer}.{gate}.b_h      (H,)            a second bias on the recurrent product (bias_vectors = 2), as torch.nn has
    {layer}.{gate}.…        (k·H, H), (H,)  what else the equations take: W_gates and peepholes P of the lstm
    {layer}.reverse.…                       the same once more, of the network that reads from the end
    {layer}.transition.W    (inputs, W)     the linear layer behind a densely connected layer, and its bias .b (W,)
    input.embedding         (V, E)          what the first layer reads in the place of tokens (model.embedding)
    output.W (inputs, V), output.b (V,)     the output layer; where it is tied (model.tied) the matrix is the transposed
    output.projection       (inputs, E)     embedding, behind this one unless the widths are the same

A gate that a model fixes at a constant has no parameters. Axes: H hidden units, V vocabulary.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from ablate.cells.cell import variant_of
from ablate.config.resolved import CHRONO, Resolved

NORMAL_SD = 0.01
IDENTITY_SD = 0.001
"""Of the weights beside the identity, as in Le, Jaitly and Hinton 2015."""


class Sizes(NamedTuple):
    """The two vocabularies of a translation, in words."""

    source: int
    target: int


class Features(NamedTuple):
    """How many numbers a network reads at each step, instead of a token, and how many it gives."""

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
    first = config.model.embedding or ends(vocabulary_size)[0]
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
    V, outputs = ends(vocabulary_size)
    E = config.model.embedding
    out: dict[str, tuple[int, ...]] = {} if E is None else {"input.embedding": (V, E)}
    for layer in range(config.layers):
        for direction in directions(config):
            for name, shape in cell_shapes(config, inputs[layer]).items():
                out[f"{layer}.{direction}{name}"] = shape
        if has_transition(config, layer):
            width = inputs[layer + 1]
            out |= {f"{layer}.transition.W": (inputs[layer] + made, width), f"{layer}.transition.b": (width,)}
    if E is None or not config.model.tied:
        out["output.W"] = inputs[-1], outputs
    elif inputs[-1] != E:
        out["output.projection"] = inputs[-1], E
    return out | {"output.b": (outputs,)}


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
    identity      those of the recurrent product the identity, the others N(0, 0.001²) (Le, Jaitly and Hinton 2015)

    `init_scale` multiplies an orthogonal matrix, or the identity. Embeddings are N(0, 1), as torch.nn.Embedding draws
    them, with init=normal or identity as other weights; one that is tied is drawn as the output layer that it is.
    `forget_bias` then sets biases, see `set_memory`.
    """
    if isinstance(vocabulary_size, Sizes):
        from ablate.networks import translator

        return translator.initial(config, vocabulary_size, generator, dtype)
    named = shapes(config, vocabulary_size)
    out = {}
    for name, shape in named.items():
        linear, kind = name.rsplit(".", 1)
        inputs = _inputs(named, linear, kind)
        out[name] = init_parameter(config, name, torch.empty(shape, dtype=dtype), generator, inputs)
    return set_memory(config, out, generator)


def _inputs(named: Mapping[str, tuple[int, ...]], linear: str, kind: str) -> int | None:
    """The width that a linear layer reads; None for what is part of a cell, or no layer that reads a sum."""
    if kind == "projection":
        return named[f"{linear}.projection"][0]
    if kind == "embedding" and "output.W" not in named:  # transposed, the output layer, of its second axis
        return named[f"{linear}.embedding"][1]
    if kind in ("W", "b"):
        return named[f"{linear}.W"][0] if f"{linear}.W" in named else named["input.embedding"][1]
    return None


def set_memory(config: Resolved, parameters: dict[str, Tensor], generator: Generator) -> dict[str, Tensor]:
    """The parameters, those biases set in place that say how long a state is kept; second biases of these are zero.

    forget_bias=1.0: the forget gate's bias. forget_bias=chrono (Tallec and Ollivier 2018): each unit of each layer
    draws its own u from U[1, t_max − 1]; gates that keep the state near 1 have the bias ln u, so that it is kept for
    about u steps, and those that keep it near 0 have −ln u, of the same u.
    """
    if config.forget_bias is None:
        return parameters
    chrono = config.forget_bias == CHRONO
    gates = config.model.timescales if chrono else {str(variant_of(config).cell.forget_gate): 1}
    drawn: dict[str, Tensor] = {}  # of each cell
    for name, value in parameters.items():
        cell, gate, kind = ("." + name).rsplit(".", 2)
        if gate not in gates or kind not in ("b_x", "b_h"):
            continue
        if kind == "b_h":
            value.zero_()
        elif isinstance(config.forget_bias, str):
            assert config.t_max is not None
            if cell not in drawn:
                drawn[cell] = torch.empty_like(value).uniform_(1, config.t_max - 1, generator=generator).log()
            value.copy_(gates[gate] * drawn[cell])
        else:
            value.fill_(config.forget_bias)
    return parameters


def init_parameter(
    config: Resolved, name: str, empty: Tensor, generator: Generator, inputs: int | None = None
) -> Tensor:
    """One parameter, filled in place by the rule of `config.init`, see `initial`.

    `inputs` is the width that a linear layer reads, if not that of one hidden layer.
    """
    kind, init = name.rsplit(".", 1)[1], config.init
    if kind == "embedding" and inputs is None and init not in ("normal", "identity"):
        return empty.normal_(0, 1, generator=generator)
    if init == "torch":
        bound = 1 / math.sqrt(inputs or config.num_hiddens)
        return empty.uniform_(-bound, bound, generator=generator)
    if kind.startswith("b"):
        return empty.zero_()
    if init == "normal":
        return empty.normal_(0, NORMAL_SD, generator=generator)
    if init == "orthogonal" and kind == "W_h":
        return nn.init.orthogonal_(empty, config.init_scale, generator=generator)
    if init == "identity":
        if kind == "W_h":
            return nn.init.eye_(empty).mul_(config.init_scale)
        return empty.normal_(0, IDENTITY_SD, generator=generator)
    bound = math.sqrt(6 / (empty.shape[0] + empty.shape[-1]))  # a peephole is the diagonal of a square matrix
    return empty.uniform_(-bound, bound, generator=generator)
