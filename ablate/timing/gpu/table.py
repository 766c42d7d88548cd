"""µs per minibatch and run, models × sizes, by each way of training: medians over epochs."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ablate.timing.gpu.apart import LEAST_S, Apart, limit_of
from ablate.timing.gpu.budget import Budget
from ablate.timing.gpu.work import Sizes, Way, config_of, corpus_of, reason_of, trained, ways
from ablate.timing.process import WorkerFailed

WARM_UPS = 2
LEAST, MOST = 3, 50
"""Epochs that are timed."""
MOST_S = 1.0
"""Seconds of timed epochs for each number."""


@dataclass
class Cell:
    """One number of the table, or why there is none."""

    model: str
    num_hiddens: int
    way: str
    precision: str
    runs: int
    us: float | None = None
    low: float | None = None
    high: float | None = None
    """Quartiles over epochs."""
    epochs: int = 0
    computed: str = ""
    """What computed the steps, in words."""
    why: str = ""


def measured(
    sizes: Sizes, device: torch.device, apart: Apart, budget: Budget, say: Callable[[str], None]
) -> list[Cell]:
    """The table: row by row, smaller sizes first; what there is no time for is left out, and it is said.

    In a process of its own: a number that ends it, or hangs, costs that number.
    """
    plan = list(cells(sizes, device))
    out = []
    for number, (cell, _) in enumerate(plan):
        left, limit_s = budget.left_s("table"), limit_of(budget, "table")
        if limit_s < LEAST_S:
            budget.leave_out(f"{len(plan) - number} of {len(plan)} numbers of the table")
            break
        try:
            cell = Cell(**apart.ask({"cell": number, "for_s": min(MOST_S, left / (len(plan) - number))}, limit_s))
        except WorkerFailed as error:
            cell.why = str(error)
        apart.renew_after(cell.why)
        out.append(cell)
        took = f"{cell.us:,.0f} µs" if cell.us is not None else cell.why
        say(f"{cell.model} {cell.num_hiddens} {cell.way}: {took}")
    return out


def timed(number: int, sizes: Sizes, device: torch.device, for_s: float) -> Cell:
    """A number of the table, from about so many seconds of training, or why there is none."""
    cell, way = list(cells(sizes, device))[number]
    try:
        measure(cell, way, sizes, device, for_s)
    except Exception as error:  # a card has more ways to fail than can be named; the others are still measured
        cell.why = reason_of(error)
    return cell


def cells(sizes: Sizes, device: torch.device) -> Iterator[tuple[Cell, Way]]:
    for H in sizes.hiddens:
        for model in sizes.models:
            for way in ways(sizes, device):
                yield Cell(model, H, way.name, way.precision, way.runs), way


def measure(cell: Cell, way: Way, sizes: Sizes, device: torch.device, for_s: float) -> None:
    """Fill in one number. Raises whatever the device does."""
    config = config_of(cell.model, cell.num_hiddens, sizes)
    with trained(config, way, corpus_of(sizes.characters), device) as program:
        for _ in range(WARM_UPS):
            last = program.microseconds()
        per_epoch = last * program.task.epoch_updates * program.runs / 1e6
        times = [program.microseconds() for _ in range(max(LEAST, min(MOST, int(for_s / per_epoch))))]
        cell.computed = program.means
    quartiles = statistics.quantiles(times, n=4)
    cell.us, cell.low, cell.high, cell.epochs = statistics.median(times), quartiles[0], quartiles[2], len(times)
