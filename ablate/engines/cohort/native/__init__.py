"""A native kernel for each cell, made from its equations and compiled on first use; torch serves wherever it cannot.

generate    the cell in C++, from its derivative; pointwise: what finishes the tiles of a product
kernel.h    products and networks of such a cell; calls.h: what Python calls
build       compiler, cache, loading
program     NativeCohort: a Cohort whose minibatches the kernel computes; what it covers
recurrence  one layer over all its steps, for networks of any other form
workspace   the memory of both
"""

from ablate.engines.cohort.native.build import make, unavailable
from ablate.engines.cohort.native.program import NativeCohort, computed_by, memory_bytes, not_covered

__all__ = ["NativeCohort", "computed_by", "make", "memory_bytes", "not_covered", "unavailable"]
