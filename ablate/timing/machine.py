"""The machine that is timed: what it is, what it can do at best, and whether it is doing anything else."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ablate.config.errors import UserError
from ablate.config.identity import short_hash
from ablate.records.asking import output_of
from ablate.records.devices import SAME_KIND, gpu_facts
from ablate.records.environment import cores, environment
from ablate.records.locks import InUse, held_on_machine

STAT = Path("/proc/stat")

LANE = 1
"""Raised when a change to the code alters what is timed: timings of older lanes are measured again."""


@cache
def fingerprint(device: str = "cpu") -> dict[str, Any]:
    """What must agree before two timings may be compared: processor, cores, kind of GPU if one computes, torch, lane.

    `id` is the hash of that. Which one of equal cards it was stands beside it.
    """
    known = environment()
    facts = {"cpu": known["cpu"], "cores": cores(), "torch": known["torch"], "lane": LANE}
    card = gpu_facts(device)
    facts |= {name: card[name] for name in SAME_KIND if name in card}
    return facts | {name: card[name] for name in card if name not in facts} | {"id": short_hash(facts)}


LOCK = "ablate-machine"
"""The lock that programs which train share, and that the speed lane has to itself."""


class MachineInUse(UserError):
    """Another of our programs is at work on this machine: it will end, so this is worth waiting for."""


@contextmanager
def quality_jobs() -> Iterator[None]:
    """Held while runs are trained: any number of programs at once, but never beside the speed lane.

    Raises MachineInUse.
    """
    try:
        with held_on_machine(LOCK, "a speed lane that measures meanwhile is disturbed", shared=True):
            yield
    except InUse as error:
        raise MachineInUse("the speed lane is measuring on this machine; wait until it is done") from error


@contextmanager
def speed_lane() -> Iterator[None]:
    """Held while the speed lane measures: one program on the whole machine.

    Raises MachineInUse if another one is at work, UserError in a job of SLURM that shares its node.
    """
    check_own_node()
    try:
        with held_on_machine(LOCK, "an ablate that trains meanwhile disturbs the measurement"):
            yield
    except InUse as error:
        raise MachineInUse("another ablate is training or measuring on this machine; wait until it is done") from error


def check_own_node() -> None:
    """Raise UserError in a job of SLURM that shares its node: nothing can be timed in it, however long one waits."""
    if shares_its_node():
        raise UserError(
            "this job of SLURM shares its node with others, and what is timed needs it to itself; submit it with "
            "--exclusive (hydra.launcher.exclusive=true)"
        )


def shares_its_node() -> bool:
    """Whether other jobs may run beside this one, which is SLURM's; False where SLURM does not say so."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return False
    found = re.search(r"\bOverSubscribe=(\w+)", output_of("scontrol", "show", "job", job, check=False))
    return found is not None and found[1] != "NO"


@dataclass(frozen=True)
class Load:
    """Seconds of processor time since the start of the machine, and the moment of the reading.

    None where the system does not tell (only Linux does, and not in every container): nothing is then known of what
    else the machine is doing.
    """

    at: float
    busy_s: float | None
    stolen_s: float | None

    @classmethod
    def now(cls) -> "Load":
        try:
            ticks_per_s = os.sysconf("SC_CLK_TCK")
            first = STAT.read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]
            user, nice, system, _, _, irq, softirq, steal = map(int, first)
        except (OSError, ValueError, AttributeError):
            return cls(time.monotonic(), None, None)
        return cls(time.monotonic(), (user + nice + system + irq + softirq) / ticks_per_s, steal / ticks_per_s)


def clock_mhz() -> float | None:
    """The mean clock of the cores, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    clocks = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return sum(clocks) / len(clocks) if clocks else None


def gemm_gflops(
    threads: int, device: str = "cpu", precision: str = "ieee", size: int | None = None, repeats: int = 7
) -> float:
    """The limit of what computes: GFLOP/s of a square product of float32 matrices, the best of a few.

    On a GPU the products are as `precision` says; on a CPU of float32 in any case.
    """
    import torch

    from ablate.engines.precision import computing
    from ablate.timing.clock import seconds

    size = size or (1024 if device == "cpu" else 8192)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b, out = (torch.rand(size, size, device=device) for _ in range(3))
        with computing(precision):
            best = min(seconds(lambda: torch.mm(a, b, out=out), torch.device(device)) for _ in range(repeats))
    finally:
        torch.set_num_threads(before)
    return 2 * size**3 / best / 1e9
