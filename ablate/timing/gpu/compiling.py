"""Kernels for a card, compiled by several processes before anything is timed: Triton keeps what it made on the disk.

One after the other, in the process that needs them, they would take most of the time that there is.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

import torch

from ablate.config.errors import counted
from ablate.engines.cohort.cuda import choose_for
from ablate.engines.precision import computing
from ablate.records.environment import cores
from ablate.timing.gpu.apart import LEAST_S, Apart, limit_of
from ablate.timing.gpu.budget import Budget
from ablate.timing.gpu.commands import TUNED_H, VARIANTS
from ablate.timing.gpu.work import Sizes, config_of
from ablate.timing.process import WorkerFailed

PROCESSES = 8
"""That compile side by side, at most: each holds memory of the card."""


class Wanted(NamedTuple):
    """A layer, of which kernels are chosen."""

    model: str
    num_hiddens: int
    precision: str
    runs: int


def wanted(sizes: Sizes) -> Iterator[Wanted]:
    """Those of the table, and of the commands after it."""
    precisions = ("ieee",) if sizes.rehearsal else ("ieee", "tf32")
    for H in sorted({*sizes.hiddens, *([] if sizes.rehearsal else [TUNED_H])}):
        for model in sizes.models:
            for precision in precisions:
                yield from (Wanted(model, H, precision, runs) for runs in (sizes.few, sizes.many))
    if not sizes.rehearsal:
        yield from (Wanted(model, TUNED_H, "ieee", sizes.many) for model in VARIANTS if model not in sizes.models)


def chosen(one: Wanted, sizes: Sizes, device: torch.device) -> str:
    """The name of the kernels that take the steps of a layer, which are compiled by that; or why there are none."""
    config = config_of(one.model, one.num_hiddens, sizes, f"precision={one.precision}")
    with computing(one.precision):
        return choose_for(config, one.runs, device).name


def compiled(sizes: Sizes, device: torch.device, budget: Budget, say: Callable[[str], None]) -> dict[str, str]:
    """Layer → what takes its steps, within the time for that. What is not done is compiled when it is needed."""
    jobs: SimpleQueue[Wanted] = SimpleQueue()
    for one in wanted(sizes):
        jobs.put(one)
    count = max(1, min(PROCESSES, cores() - 1, jobs.qsize()))
    out: dict[str, str] = {}

    def work(apart: Apart) -> None:
        try:
            compile_one_by_one(apart)
        finally:
            apart.renew()  # here, so that processes end side by side

    def compile_one_by_one(apart: Apart) -> None:
        while (limit_s := limit_of(budget, "kernels")) >= LEAST_S:
            try:
                one = jobs.get_nowait()
            except Empty:
                return
            name = f"{one.model} {one.num_hiddens} R {one.runs} {one.precision}"
            try:
                out[name] = str(apart.ask({"kernels": one}, limit_s)["name"])
            except WorkerFailed as error:
                out[name] = str(error)
            apart.renew_after(out[name])

    with ExitStack() as stack:
        aparts = [stack.enter_context(Apart(str(device), sizes.rehearsal)) for _ in range(count)]
        with ThreadPoolExecutor(count) as pool:
            try:
                list(pool.map(work, aparts))
            except BaseException:  # Ctrl-C: nobody waits for what is being compiled
                with suppress(Empty):
                    while True:
                        jobs.get_nowait()
                for apart in aparts:
                    apart.kill()
                raise
    if jobs.qsize():
        budget.leave_out(f"the kernels of {counted(jobs.qsize(), 'layer')}, compiled when they are needed")
    layers, processes = counted(len(out), "layer"), counted(count, "process")
    say(f"kernels of {layers} asked for after {budget.spent_s():.0f} s, by {processes}")
    return out
