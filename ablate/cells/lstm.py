"""Long short-term memory, and what can be taken from it or added to it."""

from typing import Any

from ablate.cells.cell import cell
from ablate.cells.functions import ACTIVATIONS, concat
from ablate.config.errors import ConfigError
from ablate.config.registry import Knob


def check(model: Any) -> None:
    if model.coupled and {"input", "forget"} & set(model.gates):
        raise ConfigError("model.coupled makes the forget gate 1 − input: fix neither of them in model.gates")


@cell(
    source="Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; variants of Greff et al. 2015",
    knobs=[
        Knob(
            "output_activation",
            str,
            "tanh",
            "what C_t goes through when it is read out",
            choices=("tanh", "identity"),
            absent="tanh",
        ),
        Knob("coupled", bool, False, "true: F = 1 − I", absent=False),
        Knob("peepholes", bool, False, "true: I and F also see the old memory, O the new, unit by unit", absent=False),
        Knob("gate_recurrence", bool, False, "true: the gates also read those of the step before", absent=False),
    ],
    forget_gate="forget",
    timescales={"forget": 1, "input": -1},
    torch_nn="LSTM",
    check=check,
    register=False,
)
def lstm(
    x, h, c, i, f, o, *, W, P, W_gates, gate, candidate,
    output_activation="tanh", coupled=False, peepholes=False, gate_recurrence=False,
):  # fmt: skip
    """Long short-term memory with a forget gate.

    coupled            F = 1 − I
    peepholes          I and F also see C_{t−1}, O sees C_t, each unit its own: a vector P per gate
    gate_recurrence    the gates also see those of the step before, G = [I, F, O] without fixed ones: G W_gates

    Greff's baseline has peepholes and so have all but one of the variants there; here each change stands by itself.
    """

    def opened(name, memory):
        A = x[name] + h @ W[name]
        A = A + concat(i, f, o) @ W_gates[name] if gate_recurrence else A
        A = A + memory * P[name] if peepholes else A
        return gate[name](A)

    I = opened("input", c)
    F = 1 - I if coupled else opened("forget", c)
    C_tilde = candidate(x.candidate + h @ W.candidate)
    C = F * c + I * C_tilde
    O = opened("output", C)
    H = O * ACTIVATIONS[output_activation](C)
    return H, C, I, None if coupled else F, O
