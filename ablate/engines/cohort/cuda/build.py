"""The kernels of a cell as functions that can be launched: their source written to the user's cache, and imported.

Triton compiles a function when it is first launched, for the sizes it is launched with, and keeps what it made.
`ABLATE_TRITON=0` switches these kernels off.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ablate.cells.derivative import Derived
from ablate.engines.cohort.cuda.code import Kernel
from ablate.engines.cohort.cuda.generate import derived_kernels, source
from ablate.engines.cohort.cuda.places import Places
from ablate.records.files import cache_folder, make_folder, write_text


@dataclass(frozen=True, eq=False)
class Kernels:
    """Those of one form of a cell, by their names, with their texts."""

    places: Places
    forward: tuple[Kernel, ...]
    backward: tuple[Kernel, ...]
    functions: Mapping[str, Any]
    path: Path
    """Of the source."""


def unavailable(device: torch.device) -> str:
    """Why there are no kernels for this device; empty where there are."""
    if device.type != "cuda":
        return "not on a CUDA device"
    if os.environ.get("ABLATE_TRITON") == "0":
        return "ABLATE_TRITON=0"
    return "" if importlib.util.find_spec("triton") else "triton is not installed"


def kernels(d: Derived, form: str, training: bool) -> Kernels:
    """Of a form: `held`, `streamed` or `stages` (`generate`). Raises Underivable for a cell that has none."""
    return _kernels(d, form, training, os.environ.get("TRITON_INTERPRET", ""))


@lru_cache(256)
def _kernels(d: Derived, form: str, training: bool, interpreted: str) -> Kernels:
    places, forward, backward = derived_kernels(d, form, training)
    text = source([*forward, *backward])
    name = f"kernels_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    path = cache_folder(writable=True) / "triton" / f"{name}.py"
    if not path.is_file():
        make_folder(path.parent)
        write_text(path, text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Kernels(places, tuple(forward), tuple(backward), vars(module), path)
