"""How many replicas make a cohort, and the memory it takes."""

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

from ablate.cells.derivative import derivative_of, why_underivable
from ablate.config.registry import TASKS
from ablate.config.schema import Config, resolve
from ablate.engines.cohort import stacked
from ablate.engines.cohort.bptt import Program
from ablate.engines.cohort.weights import Layout
from ablate.engines.updates import Update
from ablate.networks import scan
from ablate.networks.families import reads_tokens
from ablate.networks.parameters import Sizes, Vocabulary

Item = TypeVar("Item")

CHUNK_COLUMNS = 512
"""Columns of pre-activations, over all replicas of a chunk, that still share the cache."""
CHUNK_LIMIT = 8


STACKED_COLUMNS = 1024
"""Hidden units, over all replicas, of a cohort under autograd."""
STACKED_LIMIT = 20
"""Replicas that a cohort under autograd may have: its steps cost calls to torch more than anything else."""


def is_derived(config: Config, device: str | torch.device = "cpu") -> bool:
    """Whether `ablate.engines.cohort.bptt` computes this network: a plain stack of a cell that has a derivative.

    It takes one step after the other, so not where a linear recurrence is better scanned.
    """
    plain = config.model.stacks_plainly and not why_underivable(config)
    plain = plain and reads_tokens(config) and TASKS[config.task.name].loss is None
    return plain and not scan.scans(derivative_of(config), config.num_steps, torch.device(device))


def chunk_size(config: Config, device: str | torch.device = "cpu") -> int | None:
    """How many replicas one cohort should hold at most to keep its working set in cache; None: all of them.

    Measured (see `ablate bench engines`): up to 64 hidden units replicas gain from company, because a
    step costs as much as calling torch does; larger ones only lose their cache. A GPU wants all at once.
    """
    if torch.device(device).type != "cpu":
        return None
    if not is_derived(config):
        return max(1, min(STACKED_LIMIT, STACKED_COLUMNS // config.num_hiddens))
    if config.num_hiddens > 64:
        return 1
    d = derivative_of(config)
    gradients = {getattr(end, "index", None) for end in (*d.d_inputs.values(), *d.d_products.values())}
    return min(CHUNK_LIMIT, max(1, CHUNK_COLUMNS // (config.num_hiddens * max(1, len(gradients)))))


def chunks(items: Sequence[Item], config: Config, device: str | torch.device = "cpu") -> Iterator[Sequence[Item]]:
    """Replicas (configs, seeds, …) in portions, as equal as can be, that each make a cohort."""
    count = math.ceil(len(items) / (chunk_size(config, device) or len(items) or 1))
    for number in range(count):
        yield items[number * len(items) // count : (number + 1) * len(items) // count]


def memory_bytes(
    config: Config,
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
        return stacked.memory_bytes(resolve(config), R, vocabulary_size)
    assert isinstance(vocabulary_size, int)
    layout = Layout(resolve(config), vocabulary_size)
    with torch.inference_mode():
        parameters = torch.empty(R, layout.size, dtype=dtype, device="meta")
        grads = torch.empty_like(parameters)
        update = Update([config] * R, parameters, updates=1)
        size = (config.num_steps, config.batch_size)
        training = Program(layout, parameters, grads, *size, vocabulary_size)
        held_out = Program(layout, parameters, None, *size, vocabulary_size)
    buffers = [parameters, grads, *update.moments.values()]
    kept = sum(buffer.numel() * buffer.element_size() for buffer in buffers)
    return kept + training.allocated_bytes + held_out.allocated_bytes
