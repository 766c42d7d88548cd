"""A config in which every knob has the value that counts: what is behind the door takes no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Self

from ablate.config.errors import ConfigError
from ablate.config.schema import Config, ModelConfig
from ablate.config.stopping import Rule, as_seconds, seconds_of


class Resolved(Config):
    """A config with every default that depends on another knob filled in; only `resolve` makes one.

    It cannot be assigned to, and `dataclasses.replace` refuses it (TypeError): another value of one knob may decide
    what others are, so that `but` resolves anew what was given.
    """

    given: Config
    forget_bias: float | str | None
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
    model = _model(config)
    between = config.dropout if config.layers > 1 else 0.0
    drops = max(between, config.dropout_in, config.dropout_out) > 0
    init = config.init or ("torch" if as_torch else "normal")
    forget_bias = _forget_bias(config)
    return {f.name: getattr(config, f.name) for f in fields(config)} | {
        "model": model,
        "init_scale": config.init_scale if init in ("identity", "orthogonal") else 1.0,
        "forget_bias": forget_bias,
        "t_max": (config.t_max or usual_t_max(config.num_steps)) if forget_bias == CHRONO else None,
        "clip_by": config.clip_by if config.clip is not None else "norm",
        "until": _in_one_way(config.until, lambda text: str(Rule.read(text))),
        "budget": _in_one_way(config.budget, lambda text: as_seconds(seconds_of("budget", text))),
        "sampling": config.sampling if reads_text else "random",
        "max_tokens": config.max_tokens if reads_text else None,
        "val_tokens": config.val_tokens if reads_text else 0,
        "test_tokens": config.test_tokens if reads_text else 0,
        "init": init,
        "reset": reset if config.model.has_reset_gate else None,
        "bias_vectors": config.bias_vectors or (2 if as_torch else 1),
        "dropout": between,
        "dropout_mask": config.dropout_mask if drops else "step",
        "prefixes": config.prefixes if task.has_prefixes else [],
    }


def _in_one_way(text: str | None, written: Callable[[str], str]) -> str | None:
    """A text as it is always written; one that means nothing, which `validate` refuses, as it is."""
    try:
        return None if text is None else written(text)
    except ConfigError:
        return text


CHRONO = "chrono"
"""As `forget_bias`: biases by the lengths of time that are to be remembered (`ablate.networks.parameters`)."""


def usual_t_max(num_steps: int) -> int:
    """The longest time that is to be remembered where nobody names one: that of a sequence, at least of two steps."""
    return max(2, num_steps)


def _forget_bias(config: Config) -> float | str | None:
    """What sets a bias in this model; None where nothing does."""
    value = config.forget_bias
    if isinstance(value, str):
        return value if config.model.timescales else None
    return float(value) if value is not None and config.model.has_forget_gate else None


def _model(config: Config) -> ModelConfig:
    """The model without what its layers, or its task, cannot have; with the width of an embedding that is tied."""
    model, task = config.model, config.task.thing
    if config.layers == 1:  # nothing stands below the only layer
        plain = "plain" if model.connection == "residual" else model.connection
        model = replace(model, connection=plain, transition=None)
    if task.network != "sequence" or task.real_inputs:
        return replace(model, embedding=None, tied=False)
    if model.tied and model.embedding is None:
        return replace(model, embedding=config.num_hiddens)
    return model
