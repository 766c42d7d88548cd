"""Kernels for a GPU, in Triton, from the equations of a cell: what `ablate.networks.steps` computes, on CUDA devices.

places      where the values of a step lie
pointwise   nodes of the graph as lines of Triton
code        what all kernels share
stages      one kernel for each stage of a step
whole       one kernel for all steps of a layer
generate    the kernels of a form, as source
build       their source, written and imported
steps       the steps of a layer by these kernels
choice      which of them, after a check against torch's form
"""

from ablate.engines.cohort.cuda.choice import choose, choose_for, steps
from ablate.networks.steps import MAKERS

MAKERS["cuda"] = steps

__all__ = ["choose", "choose_for"]
