"""Runs on their way: what a stopped program needs to go on with the same trajectory, one file per run.

A checkpoint belongs to the build that wrote it: after an edit of the code, or with another torch, the rest of the run
would be computed otherwise than its beginning, so it starts again.
"""

import hashlib
import io
import math
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import torch

from ablate.config.errors import ConfigError, StorageError
from ablate.config.schema import PACKAGE_DIR
from ablate.records.files import entries, present, write_atomically
from ablate.records.kinds import fits, misfit
from ablate.records.locks import warn
from ablate.records.places import checkpoints_dir
from ablate.training.trajectory import Trajectory

INTERVAL = "ABLATE_CHECKPOINT_S"
"""Variable of the environment: seconds between two checkpoints of a program."""

NEEDED: dict[str, type | tuple[type, ...]] = {
    "build": str,
    "run_id": str,
    "engine": str,
    "kernel": str,
    "epoch": int,
    "spent_s": float,
    "program": dict,
    "order": torch.Tensor,
    "trajectory": dict,
}
"""What a checkpoint holds."""
TRAJECTORY = get_type_hints(Trajectory)

STORING = ("records", "training.checkpoints", "config.errors", "report")
"""What training imports and what decides no outcome."""


def interval_s() -> float:
    """Seconds between two checkpoints of a program. Raises ConfigError where the environment names none."""
    given = os.environ.get(INTERVAL) or "120"
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise ConfigError(f"the environment variable {INTERVAL} is {given!r:.100}; give it seconds, such as 120")
    return seconds


def check_interval() -> None:
    """Raise ConfigError where the environment names no interval: before anything is trained or written."""
    interval_s()


class Unusable(Exception):
    """A file in the place of a checkpoint from which no run can go on, and why."""


class Checkpoints:
    """Keeps the states of the runs that one program trains, below results/<sweep>/checkpoints/."""

    def __init__(
        self,
        folder: Path,
        run_ids: Sequence[str],
        every_s: float | None = None,
        say: Callable[[str], None] = warn,
    ) -> None:
        self.paths = [path_of(folder, run_id) for run_id in run_ids]
        self.every_s = interval_s() if every_s is None else every_s
        self.last = time.monotonic()
        self.say, self.failed = say, False

    @property
    def due(self) -> bool:
        return time.monotonic() - self.last >= self.every_s

    def save(self, states: Sequence[dict[str, Any]]) -> None:
        """One state per run: the `epoch` after which it was taken, its `engine`, `kernel` and what else is NEEDED.

        Where the disk does not take it, that is said once and training goes on: its outcome may still find room.
        """
        try:
            for path, state in zip(self.paths, states, strict=True):
                content = io.BytesIO()
                torch.save(state | {"build": build(), "run_id": path.stem}, content)
                write_atomically(path, content.getvalue())
        except StorageError as error:
            if not self.failed:
                self.say(f"no checkpoint could be saved ({error}); a stop loses what was trained since the last one")
            self.failed = True
        self.last = time.monotonic()

    def load(self, engine: str, kernel: str = "torch") -> list[dict[str, Any]] | None:
        """The states of all runs, if each has one and they are of the same epoch and means of computing."""
        states = []
        for path in self.paths:
            try:
                states.append(load(path))
            except Unusable:
                return None
        means = (engine, kernel)
        found = [state for state in states if state is not None and (state["engine"], state["kernel"]) == means]
        return found if len(found) == len(states) and len({state["epoch"] for state in found}) == 1 else None

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these runs only; what the others left is removed."""
        for position, path in enumerate(self.paths):
            if position not in positions:
                _remove(path)
        self.paths = [self.paths[position] for position in positions]

    def remove(self) -> None:
        for path in self.paths:
            _remove(path)


def drop_checkpoints(folder: Path, finished: Collection[str]) -> None:
    """Delete what these runs have left: who trained one was killed between its record and the end of its checkpoint."""
    for path in entries(checkpoints_dir(folder)):
        if path.stem in finished:
            _remove(path)


def path_of(folder: Path, run_id: str) -> Path:
    return checkpoints_dir(folder) / f"{run_id}.pt"


def reached(folder: Path, run_id: str, say: Callable[[str], None] = lambda _: None) -> tuple[int, str | None]:
    """The epoch from which a run can go on, and the engine that brought it there; 0 and nothing for a new run.

    `say` hears of a checkpoint that is there and cannot be used.
    """
    try:
        state = load(path_of(folder, run_id))
    except Unusable as error:
        say(f"{error}; this run starts from the beginning")
        return 0, None
    return (0, None) if state is None else (state["epoch"], state["engine"])


def load(path: Path) -> dict[str, Any] | None:
    """A state, or nothing where there is none. Raises Unusable for what this build cannot go on from."""
    if not os.path.lexists(path):
        return None
    if present(path) != "file":
        raise Unusable(f"{path} cannot be read")
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch says what it cannot read with errors of every kind
        raise Unusable(f"{path} is no checkpoint, or a damaged one ({type(error).__name__})") from error
    lacking = [
        name
        for name, kind in NEEDED.items()
        if not isinstance(state, dict) or not isinstance(state.get(name), kind) or isinstance(state.get(name), bool)
    ]
    if lacking and isinstance(state, dict) and {"epoch", "engine", "program"} <= state.keys():
        raise Unusable(f"{path} is of another version of ablate")
    if lacking or state["epoch"] < 1 or not _is_trajectory(state["trajectory"], state["epoch"]):
        raise Unusable(f"{path} is no checkpoint of ablate")
    if state["run_id"] != path.stem:
        raise Unusable(f"{path} is the checkpoint of {state['run_id']}")
    if state["build"] != build():
        raise Unusable(f"{path} was written by another build (the code or torch has changed since)")
    return dict(state)


def _is_trajectory(stored: dict[str, Any], epochs: int) -> bool:
    """Whether it is what happened in so many epochs, or in fewer to a run that has diverged or ended by a rule."""
    if stored.keys() != TRAJECTORY.keys() or misfit(stored, TRAJECTORY):
        return False
    end = epochs
    if (how := stored["divergence"] or stored["ended"]) is not None:
        if not fits(how.get("epoch"), int):
            return False
        end = how["epoch"] - bool(stored["divergence"])  # of that epoch no perplexity is kept
    return len(stored["perplexity"]) == len(stored["val_perplexity"]) == end <= epochs


@cache
def build() -> str:
    """A hash of all sources in this package that decide what training computes, and of the version of torch."""
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted(sources()):
        digest.update(str(path.relative_to(PACKAGE_DIR)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def sources(start: Path = PACKAGE_DIR / "training" / "loop.py") -> set[Path]:
    """The files of the package that a module is made of: itself, what it imports, and the C++ beside these."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _imported(path)
    return found | {source for path in found for source in path.parent.glob("*.h")}


IMPORT = re.compile(
    r"^\s*(?:from\s+(ablate[\w.]*)\s+import\s+(\([^)]*\)|[^\n#]*)|import\s+(ablate[\w.]*))", re.MULTILINE
)
"""An import of this package: `from MODULE import NAMES`, some of which may be modules, or `import MODULE`."""

QUOTED = re.compile(r"""["'](ablate(?:\.\w+)+)(?::\w+)?["']""")
"""A module that is named to be imported when it is asked for, as those of `ablate.config.registry.SHIPPED` are."""


def _imported(path: Path) -> Iterator[Path]:
    """What a file imports of this package: by its text, as ast.parse can fail in two threads at once (CPython 3.11)."""
    text = path.read_text(encoding="utf-8")
    if path == PACKAGE_DIR / "__init__.py":  # which names what others may ask for
        return
    named = QUOTED.findall(text)
    for module, names, plain in [*IMPORT.findall(text), *(("", "", name) for name in named)]:
        for name in (plain or module, *(f"{module}.{part}" for part in re.findall(r"\w+", names))):
            parts = name.split(".")[1:]
            for depth in range(len(parts) + 1) if not name.removeprefix("ablate.").startswith(STORING) else ():
                place = PACKAGE_DIR.joinpath(*parts[:depth])
                yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def _remove(path: Path) -> None:
    """A checkpoint that stays where it is costs no more than its room."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
