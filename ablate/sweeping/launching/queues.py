"""What a launcher needs of a cluster."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from ablate.config.errors import UserError
from ablate.records.jobs import Batch
from ablate.sweeping.launching.options import Options, Slurm
from ablate.sweeping.launching.options import Ray as RayOptions

if TYPE_CHECKING:
    from ablate.sweeping.launching.worker import CarryOut

WAITING, RUNNING, LEAVING = "waiting", "running", "leaving"
IN_QUEUE = (WAITING, RUNNING, LEAVING)
"""The states of jobs of which something is to be expected; any other is the word of the cluster for how it ended. One
that is leaving was told to end, and saves its checkpoints: it is soon gone, or is queued again."""


class Queue(Protocol):
    """A cluster that runs jobs."""

    name: str
    """As sentences call it."""

    def submit(self, batch: Batch, carry_out: "CarryOut") -> list[str]:
        """The ids of the batch's jobs, each of which carries out its order so. Raises UserError."""

    def states(self, batch: Batch) -> dict[str, str] | None:
        """Id → state, of those of which something is known; None where nothing can be known now."""

    def cancel(self, batch: Batch) -> None:
        """End its jobs, each with its checkpoints saved where that can be. Raises UserError where they go on."""

    def why_waiting(self, batch: Batch) -> Mapping[str, str]:
        """Id → why it waits, with the remedy where it would for ever; of those of which that is known."""


def queue_of(options: Options) -> Queue:
    """The cluster of a launcher. Raises UserError where it cannot be reached, or its package is not installed."""
    if isinstance(options, Slurm):
        from ablate.sweeping.launching.slurm import SlurmQueue

        return SlurmQueue(options)
    from ablate.sweeping.launching.ray import RayQueue

    assert isinstance(options, RayOptions)
    return RayQueue(options)


def imports_from_here() -> bool:
    """Whether this program finds modules in its working folder, as `python -m ablate` does, and `ablate` does not.

    Jobs are begun in that folder and have to do as this program: where it is a checkout that was changed after ablate
    had been installed, they would import another ablate, and refuse, whenever the command is given.
    """
    return bool({"", os.getcwd()}.intersection(sys.path))


def not_installed(package: str, extra: str) -> UserError:
    return UserError(f"{package} is not installed, which hydra/launcher={extra} needs: pip install {package}")
