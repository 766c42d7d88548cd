"""Elman's network."""

from ablate.cells.cell import cell
from ablate.config.registry import Knob

ACTIVATION = Knob("activation", str, "tanh", "what squashes the new content", choices=("tanh", "relu", "identity"))


@cell(
    source="Elman 1990",
    knobs=[ACTIVATION],
    torch_nn="RNN",
    torch_nn_knobs={"activation": ("relu",)},
    register=False,
)
def rnn(x, h, *, W, candidate):
    """Elman's recurrent network: H = φ(X W_xh + H W_hh + b)."""
    return candidate(x.candidate + h @ W.candidate)
