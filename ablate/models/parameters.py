"""The named parameters that every engine shares, and how they start.

A network is a dictionary of tensors, one entry per gate, in the textbook's orientation:

    {layer}.{gate}.W_x  (inputs, H)     what the gate makes of its layer's input
    {layer}.{gate}.W_h  (H, H)          … and of the old state
    {layer}.{gate}.b_x  (H,)            its bias
    {layer}.{gate}.b_h  (H,)            a second bias on the recurrent product (bias_vectors = 2), as torch.nn has
    output.W (H, V), output.b (V,)      the output layer

A gate that a model fixes at a constant has no parameters. Axes: H hidden units, V vocabulary.
"""

import math

import torch
from torch import Generator, Tensor

from ablate.config import Config, resolve

CELL_GATES = {
    "rnn": ("candidate",),
    "gru": ("reset", "update", "candidate"),
    "lstm": ("input", "forget", "candidate", "output"),
}
"""What a cell computes at each step, in torch.nn's order."""

NORMAL_SD = 0.01


def live_gates(config: Config) -> tuple[str, ...]:
    """The gates that have parameters: all but those fixed at a constant."""
    return tuple(gate for gate in CELL_GATES[config.model.cell] if gate not in config.model.gates)


def shapes(config: Config, vocabulary_size: int) -> dict[str, tuple[int, ...]]:
    """Name → shape of every parameter, in the order in which they are drawn."""
    H, V = config.num_hiddens, vocabulary_size
    out: dict[str, tuple[int, ...]] = {}
    for layer in range(config.layers):
        for gate in live_gates(config):
            out[f"{layer}.{gate}.W_x"] = (V if layer == 0 else H, H)
            out[f"{layer}.{gate}.W_h"] = (H, H)
            out[f"{layer}.{gate}.b_x"] = (H,)
            if resolve(config).bias_vectors == 2:
                out[f"{layer}.{gate}.b_h"] = (H,)
    return out | {"output.W": (H, V), "output.b": (V,)}


def count(config: Config, vocabulary_size: int) -> int:
    """Trainable numbers in the network."""
    return sum(math.prod(shape) for shape in shapes(config, vocabulary_size).values())


def initial(
    config: Config, vocabulary_size: int, generator: Generator, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Initial parameters on the CPU.

    init=normal: weights N(0, 0.01²), biases zero. init=torch: everything uniform on ±1/√H, which is what
    torch.nn.RNN, GRU, LSTM and a Linear with H inputs draw by default.
    """
    uniform = resolve(config).init == "torch"
    bound = 1 / math.sqrt(config.num_hiddens)
    out = {}
    for name, shape in shapes(config, vocabulary_size).items():
        if uniform:
            out[name] = torch.empty(shape, dtype=dtype).uniform_(-bound, bound, generator=generator)
        elif len(shape) == 1:
            out[name] = torch.zeros(shape, dtype=dtype)
        else:
            out[name] = torch.empty(shape, dtype=dtype).normal_(0, NORMAL_SD, generator=generator)
    return out
