"""Where memory does not suffice: what is given back, and how much there is."""

import gc
import threading
import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from ablate.config.errors import is_out_of_memory, reason

Result = TypeVar("Result")

recording = threading.Lock()
"""Of CUDA graphs one is recorded at a time: beginning waits for the whole device, which another recording forbids, as
it does all that gives memory back to the device."""


def within_memory(train: Callable[[], Result], device: torch.device) -> Result:
    """What `train` computes. Raises MemoryError where it lacks memory, with all that it took given back."""
    try:
        return train()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        own = MemoryError(reason(error))
        own.add_note("".join(traceback.format_exception(error)))
    release(device)  # here, where no frame of the error's holds the program any more
    raise own


def release(device: torch.device) -> None:
    """Give back what a program that has ended kept."""
    gc.collect()
    if device.type == "cuda":
        with recording, torch.cuda.device(device):
            torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Of a GPU: what its driver has, and what torch keeps of it that no tensor has. The latter it gives back to itself
    or to the driver when there is no more."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept
