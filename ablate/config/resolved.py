"""A config in which every knob has the value that counts: what is behind the door takes no other."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Self

from ablate.config.schema import Config


class Resolved(Config):
    """A config with every default that depends on another knob filled in; only `resolve` makes one.

    It cannot be assigned to, and `dataclasses.replace` refuses it (TypeError): another value of one knob may decide
    what others are, so that `but` resolves anew what was given.
    """

    given: Config
    """What it was resolved from: a knob that is None there follows from others."""
    init: str
    bias_vectors: int

    def __init__(self, given: Config) -> None:
        super().__init__(**_values(given))
        object.__setattr__(self, "given", given)

    def but(self, **changed: Any) -> Self:
        """What the given config means with other values of some knobs."""
        given = self.given.but(**changed)
        return self if given == self.given else type(self)(given)


def resolve(config: Config) -> Resolved:
    """The config with every default that depends on another knob filled in; the same one if it is resolved already.

    `formulation` is a name for three choices, each of which can be set by itself:

    ===========  ===========================  =================  ============================
    formulation  init                         reset (gru)        bias_vectors
    ===========  ===========================  =================  ============================
    textbook     normal: N(0, 0.01²), b = 0   before (Cho 2014)  1 per gate
    torch        torch: U(−1/√H, 1/√H)        after (cuDNN)      2 per gate, as in torch.nn
    ===========  ===========================  =================  ============================

    What cannot matter is set to the value of "does not apply", so that it cannot tell two runs apart.
    Raises ConfigError for a task or a cell that there is not.
    """
    return config if isinstance(config, Resolved) else Resolved(config)


def _values(config: Config) -> dict[str, Any]:
    as_torch = config.formulation == "torch"
    reset = config.reset or ("after" if as_torch else "before")
    task = config.task.thing
    reads_text = task.reads_text
    model = config.model
    if config.layers == 1:  # nothing stands below the only layer
        plain = "plain" if model.connection == "residual" else model.connection
        model = replace(model, connection=plain, transition=None)
    return {f.name: getattr(config, f.name) for f in fields(config)} | {
        "model": model,
        "forget_bias": config.forget_bias if config.model.has_forget_gate else None,
        "sampling": config.sampling if reads_text else "random",
        "max_tokens": config.max_tokens if reads_text else None,
        "val_tokens": config.val_tokens if reads_text else 0,
        "test_tokens": config.test_tokens if reads_text else 0,
        "init": config.init or ("torch" if as_torch else "normal"),
        "reset": reset if config.model.has_reset_gate else None,
        "bias_vectors": config.bias_vectors or (2 if as_torch else 1),
        "dropout": config.dropout if config.layers > 1 else 0.0,
        "prefixes": config.prefixes if task.has_prefixes else [],
    }
