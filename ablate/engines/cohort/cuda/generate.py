"""The kernels of a cell in Triton, from its equations and their derivative, as the source of a module."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.cells.derivative import Derived
from ablate.engines.cohort.cuda.code import Kernel
from ablate.engines.cohort.cuda.places import Places
from ablate.engines.cohort.cuda.stages import stage_kernels
from ablate.engines.cohort.cuda.whole import whole_kernels


def source(kernels: Sequence[Kernel]) -> str:
    """A module of Python."""
    return "\n\n".join(["import triton\nimport triton.language as tl\n", *(kernel.text for kernel in kernels)])


def derived_kernels(d: Derived, form: str, training: bool) -> tuple[Places, list[Kernel], list[Kernel]]:
    """Places and kernels forward and back of a form: `held`, `streamed`, or `stages`. Raises Underivable."""
    places = Places(d, training, whole_steps=form != "stages")
    if form == "stages":
        return places, *stage_kernels(places)
    kernels = whole_kernels(places, form == "held")
    return places, kernels[:1], kernels[1:]
