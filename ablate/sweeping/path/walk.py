"""A greedy ablation path (Fawcett and Hoos 2016, "Analysing differences between algorithm configurations through
ablation"): in each round every change that is left is made by itself and trained over the same seeds, and the one
that helps most is kept. Half of the seeds choose, the others report. Every run is really trained; none is predicted or
stopped early.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.tuning import choosing
from ablate.config.composing import fallback_data
from ablate.config.errors import ConfigError, UserError
from ablate.config.metrics import METRICS
from ablate.records import results
from ablate.records.files import write_json
from ablate.sweeping.launch import Summary, run_sweep
from ablate.sweeping.path.question import Question
from ablate.sweeping.plan import Cell, make_plan

CHOICES = tuple(name for name in METRICS if name.endswith("perplexity"))
"""What a path can go down."""

Made = frozenset[int]
"""The numbers of the changes that are made in a cell."""


@dataclass
class Step:
    """One change of the path: where it led, from where, and what else was tried instead."""

    change: str
    cell: Cell
    reference: Cell
    tried: list[tuple[str, Cell]]


@dataclass
class Walk:
    """A path as far as it has come."""

    question: Question
    metric: str
    folder: Path
    command: str
    summary: Summary
    cells: dict[Made, Cell] = field(default_factory=dict)  # all that is trained
    steps: list[Step] = field(default_factory=list)

    def go(self) -> None:
        """All rounds, or as many as nothing goes wrong in (see `summary`); path.json is written after each.

        Raises UserError where baseline or target cannot be trained, or nothing in between.
        """
        at = self.baseline
        while at != self.target and not self.summary.exit_status:
            tries = {at | {k}: change.after for k, change in enumerate(self.question.changes) if k not in at}
            ends = () if self.cells else (self.baseline, self.target)
            found = self.possible([*ends, *tries], must=ends) | self.cells
            tried = {made: change for made, change in tries.items() if made in found}
            if not tried:
                raise UserError("none of the changes that are left can be made by itself")
            if found[self.baseline].cell_id == found[self.target].cell_id:
                raise UserError("nothing changes: baseline and target are the same cell")
            self.train(found)
            if self.summary.exit_status == 0:
                best = min(tried, key=lambda made: rank(self.choosing_values(found[made])))
                others = [(change, found[made]) for made, change in tried.items()]
                self.steps.append(Step(tries[best], found[best], found[at], others))
                write_json(path_file(self.folder), self.as_json())
                at = best

    @property
    def baseline(self) -> Made:
        return Made()

    @property
    def target(self) -> Made:
        return Made(range(len(self.question.changes)))

    def possible(self, wanted: Sequence[Made], must: Collection[Made]) -> dict[Made, Cell]:
        """The cells of those sets of changes, not trained yet, that go together; those in `must` have to."""
        configs, cells = {}, {}
        for made in wanted:
            try:
                if made not in self.cells:
                    configs[made] = self.question.config(made)
            except ConfigError:
                if made in must:
                    raise
        plan = make_plan(list(configs.values()), self.folder, fallback_data()) if configs else None
        for made, cell in zip(configs, plan.asked if plan else (), strict=True):
            if not cell.error:
                cells[made] = cell
            elif made in must:
                raise cell.error
        return cells

    def train(self, cells: Mapping[Made, Cell]) -> None:
        """Those that are not trained yet, as one sweep."""
        fresh = {made: cell for made, cell in cells.items() if made not in self.cells}
        if fresh:
            configs = [self.question.config(made) for made in fresh]
            given = () if self.cells else self.question.given  # the first round has every value of every knob
            self.summary += run_sweep(configs, self.folder.name, self.command, given=given)
            self.cells |= fresh

    def values(self, cell: Cell) -> pd.Series:
        """The metric of a trained cell by seed; infinite for a run that diverged."""
        return pd.Series({run.config.seed: self.value(run.run_id) for run in cell.runs}, dtype=float)

    def choosing_values(self, cell: Cell) -> pd.Series:
        """Those of the seeds that choose: the lower half, or the only one, which leaves none to report by."""
        values = self.values(cell)
        return values[values.index.isin(self.choosing_seeds)]

    @property
    def choosing_seeds(self) -> list[int]:
        seeds = [run.config.seed for run in self.cells[self.baseline].runs]
        return [int(seed) for seed in choosing(seeds)] or seeds

    def value(self, run_id: str) -> float:
        record = results.load(results.record_path(self.folder, run_id))
        if record["status"] == "diverged":
            return math.inf
        value = record["metrics"].get(self.metric)
        if value is None:
            raise UserError(f"{self.metric} is not measured with val_tokens={record['config']['val_tokens']}; raise it")
        return float(value)

    def as_json(self) -> dict[str, Any]:
        ends = {
            name: {"overrides": self.question.overrides(made), "cell_id": self.cells[made].cell_id}
            for name, made in (("baseline", self.baseline), ("target", self.target))
        }
        steps = [
            {
                "number": number,
                "change": step.change,
                "cell_id": step.cell.cell_id,
                "reference_id": step.reference.cell_id,
                "tried": [{"change": change, "cell_id": cell.cell_id} for change, cell in step.tried],
            }
            for number, step in enumerate(self.steps, 1)
        ]
        return {
            "metric": self.metric,
            "better": METRICS[self.metric].better,
            "choosing_seeds": self.choosing_seeds,
            **ends,
            "steps": steps,
        }


def path_file(folder: Path) -> Path:
    return folder / "path.json"


def rank(values: pd.Series) -> tuple[int, float]:
    """What makes one cell better than another: fewer diverged runs, then the lower geometric mean of the others."""
    finite = values[values < math.inf]
    return len(values) - len(finite), float(np.log(finite).mean()) if len(finite) else math.inf
