"""Which gates a cell has, and which of them have parameters."""

from ablate.config.schema import Config

CELL_GATES = {
    "rnn": ("candidate",),
    "gru": ("reset", "update", "candidate"),
    "lstm": ("input", "forget", "candidate", "output"),
    "mgu": ("forget", "candidate"),
    "mingru": ("update", "candidate"),
    "minlstm": ("input", "forget", "candidate"),
}
"""What a cell computes at each step, in torch.nn's order."""


def live_gates(config: Config) -> tuple[str, ...]:
    """The gates that have parameters: all but those fixed at a constant, or coupled to another."""
    gone = {*config.model.gates, *(["forget"] if config.model.coupled else [])}
    return tuple(gate for gate in CELL_GATES[config.model.cell] if gate not in gone)
