"""Runs on their way: what a killed program needs to go on with the same trajectory, one file per run."""

import io
import os
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ablate.files import write_atomically

EVERY_S = float(os.environ.get("ABLATE_CHECKPOINT_S", "120"))
"""Seconds between two checkpoints of a program."""


class Checkpoints:
    """Keeps the states of the runs that one program trains, below results/<sweep>/checkpoints/."""

    def __init__(self, folder: Path, run_ids: Sequence[str], every_s: float | None = None) -> None:
        self.paths = [path_of(folder, run_id) for run_id in run_ids]
        self.every_s = EVERY_S if every_s is None else every_s
        self.last = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self.last >= self.every_s

    def save(self, states: Sequence[dict[str, Any]]) -> None:
        """One state per run, each with the `epoch` after which it was taken, its `engine` and `kernel`."""
        for path, state in zip(self.paths, states, strict=True):
            content = io.BytesIO()
            torch.save(state, content)
            write_atomically(path, content.getvalue())
        self.last = time.monotonic()

    def load(self, engine: str, kernel: str = "torch") -> list[dict[str, Any]] | None:
        """The states of all runs, if each has one and they are of the same epoch and means of computing."""
        states = [load(path) for path in self.paths]
        means = (engine, kernel)
        found = [state for state in states if state is not None and (state["engine"], state["kernel"]) == means]
        return found if len(found) == len(states) and len({state["epoch"] for state in found}) == 1 else None

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these runs only; what the others left is removed."""
        for position, path in enumerate(self.paths):
            if position not in positions:
                path.unlink(missing_ok=True)
        self.paths = [self.paths[position] for position in positions]

    def remove(self) -> None:
        for path in self.paths:
            path.unlink(missing_ok=True)


def path_of(folder: Path, run_id: str) -> Path:
    return folder / "checkpoints" / f"{run_id}.pt"


def reached(folder: Path, run_id: str) -> tuple[int, str | None]:
    """The epoch from which a run can go on, and the engine that brought it there; 0 and nothing for a new run."""
    state = load(path_of(folder, run_id))
    return (0, None) if state is None else (int(state["epoch"]), str(state["engine"]))


def load(path: Path) -> dict[str, Any] | None:
    """A state, or nothing where there is none or it cannot be read (then the run starts from the beginning)."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError):
        return None
    return state
