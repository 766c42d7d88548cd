"""The cohort engine: the replicas of a cell trained as one batched program, without autograd.

steps     each cell's step forward and back, by hand
bptt      the loop over time, the embedding and output layers
weights   all parameters of a cohort in one buffer
products  the recurrent product, with packed weights where that pays
graphs    the same as CUDA graphs
updates   clipping and update rules
replicas  Cohort: stacking, training, freezing, checkpoint; chunks and memory
"""

from ablate.cohort.replicas import Cohort, chunk_size, chunks, memory_bytes, prepare_thread

__all__ = ["Cohort", "chunk_size", "chunks", "memory_bytes", "prepare_thread"]
