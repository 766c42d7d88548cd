"""The cohort engine: the replicas of a network trained as one batched program, by the derivative of its cell.

bptt      the layers of a minibatch, the embedding
output    the output layer and the loss, over the targets that count
weights   all parameters of a cohort in one buffer
replicas  Cohort: stacking, training, freezing, checkpoint
alike     which configs can be its replicas
padding   replicas of fewer hidden units than the others
portions, loops   many minibatches without a question to the device
graphs    the same as CUDA graphs
threads   threads to train in
native    the same minibatches by a kernel compiled for the cell
cuda      the same layers by kernels for a GPU
arrangement   what generators of kernels ask of a derivative
stacked   networks that are no plain stack, under autograd
capacity  chunks, and the memory that they take
memory    where it does not suffice
"""

from ablate.engines.cohort.capacity import chunk_size, chunks, memory_bytes
from ablate.engines.cohort.replicas import Cohort
from ablate.engines.cohort.threads import prepare_thread, training_threads

__all__ = ["Cohort", "chunk_size", "chunks", "memory_bytes", "prepare_thread", "training_threads"]
