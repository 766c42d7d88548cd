"""A cell of one's own:   python -m ablate -m plugins=[docs/examples/cell.py] model=light_gru,gru seeds=5"""

import ablate


@ablate.cell(
    source="Ravanelli et al. 2018, Light Gated Recurrent Units, without batch normalisation", activation="relu"
)
def light_gru(x, h, *, W, gate, candidate, untied: bool = False):
    """Light gated recurrent unit: a gru without a reset gate, whose new content is not bounded."""
    Z = gate.update(x.update + h @ W.update)
    new = gate.input(x.input + h @ W.input) if untied else 1 - Z
    return Z * h + new * candidate(x.candidate + h @ W.candidate)
