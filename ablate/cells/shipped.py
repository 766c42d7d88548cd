"""The cells that come with ablate. Loads no torch."""

from typing import Any

from ablate.cells.cell import Cell
from ablate.config.errors import ConfigError
from ablate.config.registry import CELLS, Knob

ACTIVATIONS = ("tanh", "relu", "identity")
OF_CONTENT = "what squashes the new content"


def _activation(default: str = "tanh") -> Knob:
    return Knob("activation", str, default, OF_CONTENT, choices=ACTIVATIONS, absent="tanh")


def _check_lstm(model: Any) -> None:
    if model.coupled and {"input", "forget"} & set(model.gates):
        raise ConfigError("model.coupled makes the forget gate 1 − input: fix neither of them in model.gates")


def _check_minlstm(model: Any) -> None:
    if list(model.gates.values()) == [0, 0]:
        raise ConfigError("model.gates fixes both gates of a minlstm at 0; their sum divides them: let one be above 0")


CELLS.add(
    Cell(
        "rnn",
        summary="Elman's recurrent network",
        source="Elman 1990",
        knobs=(Knob("activation", str, "tanh", OF_CONTENT, choices=ACTIVATIONS),),
        torch_nn=True,
        torch_nn_knobs={"activation": ("relu",)},
    )
)
CELLS.add(
    Cell(
        "gru",
        gates=("reset", "update"),
        summary="Gated recurrent unit",
        source="Cho et al. 2014",
        knobs=(_activation(),),
        reset_gate="reset",
        torch_nn=True,
    )
)
CELLS.add(
    Cell(
        "lstm",
        gates=("input", "forget", "output"),
        states=("H", "C"),
        summary="Long short-term memory with a forget gate",
        source="Hochreiter and Schmidhuber 1997, Gers et al. 2000",
        knobs=(
            _activation(),
            Knob(
                "output_activation",
                str,
                "tanh",
                "what C_t goes through when it is read out",
                choices=("tanh", "identity"),
                absent="tanh",
            ),
            Knob("coupled", bool, False, "true: F = 1 − I", absent=False),
            Knob(
                "peepholes", bool, False, "true: I and F also see C_{t-1}, O sees C_t, each unit its own", absent=False
            ),
            Knob("gate_recurrence", bool, False, "true: the gates also read those of the step before", absent=False),
        ),
        forget_gate="forget",
        torch_nn=True,
        check=_check_lstm,
    )
)
CELLS.add(
    Cell(
        "mgu",
        gates=("forget",),
        summary="Minimal gated unit: one gate that resets and updates",
        source="Zhou et al. 2016",
        knobs=(_activation(),),
    )
)
CELLS.add(
    Cell(
        "mingru",
        gates=("update",),
        summary="minGRU: gate and candidate read the input alone",
        source="Feng et al. 2024",
        knobs=(_activation("identity"),),
        recurrent=False,
    )
)
CELLS.add(
    Cell(
        "minlstm",
        gates=("input", "forget"),
        summary="minLSTM: two gates of the sum 1 that read the input alone",
        source="Feng et al. 2024",
        knobs=(_activation("identity"),),
        recurrent=False,
        forget_gate="forget",
        check=_check_minlstm,
    )
)
