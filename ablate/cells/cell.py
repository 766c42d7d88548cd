"""What a recurrent cell says of itself. Loads no torch: help, validation and identity read these facts alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.config.registry import Knob

Check = Callable[[Any], None]
"""Raises ConfigError for values of a model that mean nothing together."""


def anything_goes(model: Any) -> None:
    """Any legal values mean something together."""


@dataclass(frozen=True)
class Cell:
    """A recurrent cell by its name; `equations` are those of one step."""

    name: str
    gates: tuple[str, ...] = ()
    """What a model may hold at a constant, model.gates.NAME=."""
    states: tuple[str, ...] = ("H",)
    """What is carried from step to step; the next layer reads the first."""
    equations: Callable[..., Any] | None = None
    summary: str = ""
    source: str = ""
    """The paper, and which version of it."""
    knobs: tuple[Knob, ...] = ()
    recurrent: bool = True
    """Whether it has products with the state, and so weights W_h."""
    forget_gate: str | None = None
    """The gate whose initial bias `forget_bias` sets."""
    reset_gate: str | None = None
    """The gate that `reset` applies before or after the product with the state."""
    torch_nn: bool = False
    """Whether torch.nn has it, with its knobs at their defaults."""
    torch_nn_knobs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Other values of its knobs that torch.nn has, too."""
    check: Check = anything_goes
