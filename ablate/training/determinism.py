"""What deterministic=true asks for: the same bits on this machine, whatever the number of threads and however often a
sweep was stopped.

engine=auto is then decided by rule, not by what was faster today, and replicas have no company where its size decides
how something is rounded. Nothing else depends on how many programs train side by side: each has one thread, and random
streams of its own.
"""

from collections.abc import Iterable

import torch

from ablate.config.resolved import Resolved
from ablate.engines.cohort.capacity import is_derived
from ablate.training.choice import kernel
from ablate.training.loop import resolve_device


def trains_alone(config: Resolved, device: torch.device) -> bool:
    """Whether a run of this config has to be a program by itself.

    The native kernels compute one replica after the other, where they compute whole networks. torch's products and
    loops over several round as their number has it, unless the batch size is a multiple of what a vector holds
    (`ablate.engines.cohort.Cohort`); that is not relied on here.
    """
    native = is_derived(config, device) and kernel("cohort", config, device).startswith("native")
    return config.deterministic and not native


def not_promised(configs: Iterable[Resolved]) -> list[str]:
    """A line for each thing that deterministic=true cannot hold of."""
    asked = [config for config in configs if config.deterministic]
    lines = [
        f"deterministic=true is promised on a CPU; on {device} the libraries decide in which order sums are taken"
        for device in dict.fromkeys(resolve_device(config.device).type for config in asked)
        if device != "cpu"
    ]
    if any(not config.task.thing.has_network for config in asked):
        lines.append("deterministic=true does not reach into a function of your own: what that computes is its own")
    return lines
