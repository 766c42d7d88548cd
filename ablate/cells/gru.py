"""The gated recurrent unit."""

from ablate.cells.cell import cell


@cell(source="Cho et al. 2014", timescales={"update": 1}, torch_nn="GRU", register=False)
def gru(x, h, *, W, gate, candidate, reset):
    """Gated recurrent unit.

    reset=before is the first version of the paper, reset=after the one of cuDNN and torch.nn.
    """
    R = gate.reset(x.reset + h @ W.reset)
    Z = gate.update(x.update + h @ W.update)
    if reset == "before":
        H_tilde = candidate(x.candidate + (R * h) @ W.candidate)
    else:
        H_tilde = candidate(x.candidate + R * (h @ W.candidate))
    return Z * h + (1 - Z) * H_tilde  # keep the old state where Z is near 1
