"""A native kernel for the cohort engine, compiled on first use; torch remains the engine wherever it cannot serve.

kernel.cpp  one minibatch of one replica, forward and back
build       compiler, cache, loading
program     NativeCohort: a Cohort whose minibatches the kernel computes; what it covers
"""

from ablate.engines.cohort.native.build import unavailable
from ablate.engines.cohort.native.program import NativeCohort, computed_by, memory_bytes, not_covered

__all__ = ["NativeCohort", "computed_by", "memory_bytes", "not_covered", "unavailable"]
