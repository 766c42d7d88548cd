"""How many replicas make a cohort, and the memory it takes."""

import itertools
import math
from collections.abc import Sequence
from typing import TypeVar

import torch

from ablate.cells.derivative import derivative_of, why_underivable
from ablate.config.registry import TASKS
from ablate.config.resolved import Resolved
from ablate.engines.cohort import stacked
from ablate.engines.cohort.bptt import Embedding, Program
from ablate.engines.cohort.native.build import unavailable
from ablate.engines.cohort.weights import Layout
from ablate.engines.updates import Update
from ablate.networks import scan
from ablate.networks.families import family
from ablate.networks.parameters import Sizes, Vocabulary

Item = TypeVar("Item")

CHUNK_COLUMNS = 512
"""Columns over all replicas of a chunk: of pre-activations in the torch form, where they share the cache; of states in
the native form, where replicas follow each other and share what a step costs beside the kernel."""
CHUNK_LIMIT = 8

STACKED_COLUMNS = 1024
"""Hidden units, over all replicas, of a cohort under autograd."""
STACKED_LIMIT = 20
"""Replicas that a cohort under autograd may have: its steps cost calls to torch more than anything else."""


def is_derived(config: Resolved, device: str | torch.device = "cpu") -> bool:
    """Whether `ablate.engines.cohort.bptt` computes this network: a plain stack of a cell that has a derivative, of
    which nothing is dropped but between layers.

    It takes one step after the other, so not where a linear recurrence is better scanned.
    """
    plain = config.model.stacks_plainly and config.dropout_in == config.dropout_out == 0 and not why_underivable(config)
    plain = plain and family(config).steps and TASKS[config.task.name].loss is None
    return plain and not scan.scans(derivative_of(config), config.num_steps, torch.device(device))


def chunk_size(config: Resolved, device: str | torch.device = "cpu") -> int | None:
    """How many replicas one cohort should hold at most; None: all of them, as a GPU wants them.

    Measured (see `ablate bench engines`): up to 64 hidden units replicas gain from company in the torch form, because
    a step costs as much as calling torch does; larger ones only lose their cache.
    """
    if torch.device(device).type != "cpu":
        return None
    if not is_derived(config):
        return max(1, min(STACKED_LIMIT, STACKED_COLUMNS // config.num_hiddens))
    columns = config.num_hiddens
    if unavailable(config.precision):
        if config.num_hiddens > 64:
            return 1
        d = derivative_of(config)
        gradients = {getattr(end, "index", None) for end in (*d.d_inputs.values(), *d.d_products.values())}
        columns *= max(1, len(gradients))
    return min(CHUNK_LIMIT, max(1, CHUNK_COLUMNS // columns))


def chunks(items: Sequence[Item], size: int | None, threads: int = 1) -> list[Sequence[Item]]:
    """Replicas (configs, seeds, …) in portions, each of which makes a cohort of `size` at most; None: one portion.

    As many for each thread, as equal as can be, and the larger ones first: threads that take one after the other end
    together.
    """
    if not items:
        return []
    count = math.ceil(len(items) / (size or len(items)))
    count = min(len(items), math.ceil(count / threads) * threads)
    least, larger = divmod(len(items), count)
    ends = [number * least + min(number, larger) for number in range(count + 1)]
    return [items[start:end] for start, end in itertools.pairwise(ends)]


def memory_bytes(
    config: Resolved,
    R: int,
    vocabulary_size: Vocabulary | Sizes,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> int:
    """Bytes that a cohort of R replicas keeps for training and held-out evaluation.

    Counted on a program without storage. What torch allocates for the length of one call comes on top: an
    update's temporary parameters, and with dropout the masks.
    """
    if not is_derived(config, device):
        return stacked.memory_bytes(config, R, vocabulary_size)
    assert not isinstance(vocabulary_size, Sizes)
    layout = Layout(config, vocabulary_size)
    with torch.inference_mode():
        parameters, grads = (torch.empty(R, layout.size, dtype=dtype, device="meta") for _ in range(2))
        update = Update([config] * R, parameters, updates=1)
        size = (config.num_steps, config.batch_size)
        training = Program(layout, parameters, grads, *size, vocabulary_size)
        if torch.device(device).type == "cuda" and isinstance(training.first, Embedding):
            training.first.use_one_hot()
        held_out = Program(layout, parameters, None, *size, vocabulary_size)
    buffers = [parameters, grads, *update.moments.values()]
    kept = sum(buffer.numel() * buffer.element_size() for buffer in buffers)
    return kept + training.allocated_bytes + held_out.allocated_bytes
