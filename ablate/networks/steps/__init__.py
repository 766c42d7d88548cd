"""The steps of a layer, forward and back, for many replicas at once: torch's form of a cell's derivative.

Axes: R replicas, T steps, B sequences, H hidden units, K blocks of H columns. Two layouts:

    (R, T, B, …)  what enters a product over all steps at once, one `bmm` over (R, T·B, …): states, gradients `D`
    (T, R, B, …)  what a step's product is added to, because torch batches only products whose result is
                  contiguous: pre-activations, gradients at the states

Everything follows from a `Derived` (`ablate.cells.derivative`), with nothing of any cell in particular:

    forward    products with a state are added to the shares of the input, in place; the pointwise functions behind
               them are computed there too, for neighbours at once
    after it   every gradient is a sum of coefficients times few others (what comes in at a state or an output, and
               through an inner product). The coefficients depend on kept values alone: all steps at once
    back       per step, these sums, and the products with the transposed weights
    after it   gradients of weights, one product each over all steps; those of vectors as sums

Buffers and the views of each step are made once: a step of a small network costs as much as calling torch does.

    sums        gradients as sums of coefficients times others
    buffers     what is computed in what, by name; lines of code bound to it
    forward, backward   the lines of each way
    steps       what others call
"""

from ablate.networks.steps.buffers import Shape, replicas_first, runs
from ablate.networks.steps.steps import MAKERS, LayerSteps, Steps, steps_for, take

__all__ = ["MAKERS", "LayerSteps", "Shape", "Steps", "replicas_first", "runs", "steps_for", "take"]
