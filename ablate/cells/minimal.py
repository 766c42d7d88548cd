"""Cells whose gates and candidate read the input alone, so that there is no product with the state."""

from typing import Any

from ablate.cells.cell import cell
from ablate.config.errors import ConfigError


@cell(source="Feng et al. 2024, in linear space", activation="identity", timescales={"update": 1}, register=False)
def mingru(x, h, *, gate, candidate):
    """minGRU: neither gate nor candidate reads the old state.

    Z keeps the old state where it is near 1, as in our gru; in the paper it is the other way round, which is the same
    family of functions, 1 − σ(a) = σ(−a).
    """
    Z = gate.update(x.update)
    H_tilde = candidate(x.candidate)
    return Z * h + (1 - Z) * H_tilde


def check(model: Any) -> None:
    if list(model.gates.values()) == [0, 0]:
        raise ConfigError("model.gates fixes both gates of a minlstm at 0; their sum divides them: let one be above 0")


@cell(
    source="Feng et al. 2024, in linear space",
    activation="identity",
    forget_gate="forget",
    timescales={"forget": 1, "input": -1},
    check=check,
    register=False,
)
def minlstm(x, h, *, gate, candidate):
    """minLSTM: as minGRU, with two gates that are scaled to the sum 1. The state is H alone.

    A gate that the model fixes is fixed before the scaling.
    """
    I = gate.input(x.input)
    F = gate.forget(x.forget)
    H_tilde = candidate(x.candidate)
    return F / (F + I) * h + I / (F + I) * H_tilde
