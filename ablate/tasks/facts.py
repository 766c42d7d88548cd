"""What a task says of itself, without its code: its data, its knobs, what it measures.

Loads no torch: help, validation, analysis and reports read these facts alone. The code of a task, which makes
minibatches and measures, is a class (`ablate.tasks.task.Task`) that the facts name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.config.registry import DATASETS, TASKS, Knob, resolved


@dataclass(frozen=True)
class Task:
    """A task by its name; `implementation` is the class that trains it, or `module:Class`."""

    name: str
    summary: str
    implementation: Any
    knobs: tuple[Knob, ...] = ()
    reads_text: bool = False
    """Whether it reads a text, of which max_tokens and val_tokens are taken, in the order of `sampling`."""
    has_prefixes: bool = True
    """Whether a person may give texts to try the trained network on."""
    brings: Mapping[str, Any] = field(default_factory=dict)
    """Other knobs that choosing it sets, by the names that are typed: `{"optimizer": "adam", "epochs": 100}`."""

    @property
    def code(self) -> Any:
        """The class, imported now."""
        return resolved(self.implementation)

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the data sets that it can be trained on."""
        return tuple(one.name for one in DATASETS if self.name in one.tasks)


def unknown(name: str) -> Task:
    """What stands for a task whose file isn't loaded: its stored runs can be read and reported, not trained."""
    return Task(name, "a task that is not loaded", "ablate.tasks.task:Task")


TASKS.unknown = unknown
