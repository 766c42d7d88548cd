"""The cohort engine: the replicas of a cell trained as one batched program, without autograd.

steps     each cell's step forward and back, by hand
bptt      the loop over time, and the embedding
output    the output layer and the loss, over the targets that count
weights   all parameters of a cohort in one buffer
products  the recurrent product, with packed weights where that pays
graphs    the same as CUDA graphs
updates   clipping and update rules
replicas  Cohort: stacking, training, freezing, checkpoint
capacity  chunks and memory
"""

from ablate.engines.cohort.capacity import chunk_size, chunks, memory_bytes
from ablate.engines.cohort.replicas import Cohort, prepare_thread, training_threads

__all__ = ["Cohort", "chunk_size", "chunks", "memory_bytes", "prepare_thread", "training_threads"]
