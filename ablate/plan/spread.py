"""How far the seeds of a cell lie apart, read from runs that are finished: what a planned sweep can then detect."""

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate import results
from ablate.analysis.statistics import detectable_ratio
from ablate.config import Config
from ablate.sweeping.plan import Plan

LEAST_RUNS = 3
"""Finished runs from which a cell's spread is read."""


@dataclass(frozen=True)
class Spread:
    """The standard deviation over seeds of the logarithm of the perplexity: the median over some cells."""

    sd_log: float
    cells: int
    source: str  # which cells these are

    @property
    def percent(self) -> float:
        """What one standard deviation multiplies the perplexity by, as a percentage."""
        return 100 * math.expm1(self.sd_log)


def spread_over_seeds(plan: Plan) -> Spread | None:
    """From finished runs of these cells, in any sweep beside this one, or else of cells like them; None without any.

    Alike are cells of the same model, number of units and layers; failing that, of the same model.
    """
    logs: dict[str, dict[str, float]] = defaultdict(dict)  # cell -> run -> log perplexity
    kinds: dict[str, tuple[Any, ...]] = {}
    folders: dict[str, set[str]] = defaultdict(set)
    for folder in sweeps_beside(plan.folder):
        for record in results.records(folder):
            value = None if isinstance(record, results.RecordError) else record["metrics"].get("perplexity")
            if isinstance(record, results.RecordError) or not value:
                continue
            try:
                kind = _kind(record["config"])
            except (KeyError, TypeError):
                continue
            cell = str(record["cell_id"])
            logs[cell][str(record["run_id"])] = math.log(value)
            kinds[cell] = kind
            folders[cell].add(folder.name)
    usable = {cell: list(runs.values()) for cell, runs in logs.items() if len(runs) >= LEAST_RUNS}
    wanted = {cell.cell_id for cell in plan.cells}
    planned = {_kind_of(cell.config) for cell in plan.cells}
    models = {kind[0] for kind in planned}
    for what, alike in (
        ("these cells", [cell for cell in usable if cell in wanted]),
        ("cells of the same model, units and layers", [cell for cell in usable if kinds[cell] in planned]),
        ("cells of the same model", [cell for cell in usable if kinds[cell][0] in models]),
    ):
        if alike:
            names = sorted(set[str]().union(*(folders[cell] for cell in alike)))
            sd = statistics.median(statistics.stdev(usable[cell]) for cell in alike)
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            return Spread(sd, len(alike), f"{what} in {', '.join(names[:2])}{more}")
    return None


def sweeps_beside(folder: Path) -> list[Path]:
    """The folders of the results folder, this sweep's first."""
    try:
        others = sorted(path for path in folder.parent.iterdir() if results.runs_dir(path).is_dir() and path != folder)
    except OSError:
        return []
    return [folder, *others]


def detectable(spread: Spread | None, seeds: int) -> str:
    """One sentence: the smallest ratio of two cells, paired over so many seeds, that will be found."""
    # Two cells share their seeds, but hardly any of their luck: the ratio of a pair spreads √2 times as far as a run.
    ratio = detectable_ratio(math.sqrt(2) * (spread.sd_log if spread else 1.0), seeds)
    if math.isnan(ratio):
        return f"{seeds} seeds are too few to tell any two cells apart at 95 %; 6 are the least"
    if spread is None:
        return (
            f"{seeds} seeds find a difference of {math.log(ratio):.2g} × the spread over seeds (how large that is, no "
            "finished run of such a cell tells yet)"
        )
    return (
        f"{seeds} seeds find perplexities that differ by {100 * (ratio - 1):.2g} % or more; the spread over seeds is "
        f"{spread.percent:.2g} % (the median of {spread.cells} cells: {spread.source})"
    )


def _kind(config: dict[str, Any]) -> tuple[Any, ...]:
    return config["model"]["name"], config["num_hiddens"], config["layers"]


def _kind_of(config: Config) -> tuple[Any, ...]:
    return config.model.name, config.num_hiddens, config.layers
