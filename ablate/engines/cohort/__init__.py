"""The cohort engine: the replicas of a network trained as one batched program, by the derivative of its cell.

bptt      the loop over time, and the embedding, of plainly stacked layers
output    the output layer and the loss, over the targets that count
weights   all parameters of a cohort in one buffer
graphs    the same as CUDA graphs
stacked   networks of any other form: layers as here, under autograd
native    kernels in C++, made from a cell's equations
replicas  Cohort: stacking, training, freezing, checkpoint
capacity  chunks and memory
"""

from ablate.engines.cohort.capacity import chunk_size, chunks, memory_bytes
from ablate.engines.cohort.replicas import Cohort, prepare_thread, training_threads

__all__ = ["Cohort", "chunk_size", "chunks", "memory_bytes", "prepare_thread", "training_threads"]
