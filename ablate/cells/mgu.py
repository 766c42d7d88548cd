"""The minimal gated unit."""

from ablate.cells.cell import cell


@cell(source="Zhou et al. 2016", timescales={"forget": -1}, register=False)
def mgu(x, h, *, W, gate, candidate):
    """Minimal gated unit: one gate F that resets and updates. Mind its sense: near 1 it lets the new content in."""
    F = gate.forget(x.forget + h @ W.forget)
    H_tilde = candidate(x.candidate + (F * h) @ W.candidate)
    return (1 - F) * h + F * H_tilde
