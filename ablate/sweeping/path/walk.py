"""A greedy ablation path (Fawcett and Hoos 2016, "Analysing differences between algorithm configurations through
ablation"): in each round every change that is left is made by itself and trained over the same seeds, and the one
that helps most is kept. Half of the seeds choose, the others report. Every run is really trained; none is predicted or
stopped early.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.tuning import choosing
from ablate.config.composing import fallback_data
from ablate.config.errors import ConfigError, UserError
from ablate.config.metrics import METRICS, FailedMetrics, metric_of, no_logarithm
from ablate.config.registry import TASKS, task_name
from ablate.config.schema import Config
from ablate.records import results
from ablate.records.exclusion import excluded_runs
from ablate.records.files import write_json
from ablate.records.reading import RecordError
from ablate.sweeping.launch import run_sweep
from ablate.sweeping.path.question import Question
from ablate.sweeping.plan import Setting, make_plan
from ablate.sweeping.summary import Summary


def choices() -> tuple[str, ...]:
    """What a path can go down: metrics of every task that are better when lower, compared by ratios."""
    return tuple(m.name for m in METRICS if m.better == "lower" and m.in_logs and (m.of_loss or m.of))


Made = frozenset[int]
"""The numbers of the changes that are made in a setting."""


@dataclass
class Step:
    """One change of the path: where it led, from where, and what else was tried instead."""

    change: str
    setting: Setting
    reference: Setting
    tried: list[tuple[str, Setting]]


@dataclass
class Walk:
    """A path as far as it has come."""

    question: Question
    metric: str
    folder: Path
    command: str
    summary: Summary
    settings: dict[Made, Setting] = field(default_factory=dict)  # all that is trained
    steps: list[Step] = field(default_factory=list)

    def go(self) -> None:
        """All rounds, or as many as nothing goes wrong in (see `summary`); path.json is written after each.

        Raises UserError where baseline or target cannot be trained, or nothing in between.
        """
        for end in (self.baseline, self.target):
            config = self.question.config(end)
            if lacking := TASKS[config.task.name].not_held_out(self.metric, config):
                raise UserError(f"--metric is {self.metric}, but {lacking}, or choose another metric")
        at = self.baseline
        while at != self.target and not self.summary.exit_status:
            tries = {at | {k}: change.after for k, change in enumerate(self.question.changes) if k not in at}
            ends = () if self.settings else (self.baseline, self.target)
            found = self.possible([*ends, *tries], must=ends) | self.settings
            tried = {made: change for made, change in tries.items() if made in found}
            if not tried:
                raise UserError("none of the changes that are left can be made by itself")
            if found[self.baseline].setting_id == found[self.target].setting_id:
                raise UserError("nothing changes: baseline and target are the same setting")
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
    def first(self) -> Config:
        """What `match` matches to, in every round."""
        return self.question.config(self.baseline)

    @property
    def target(self) -> Made:
        return Made(range(len(self.question.changes)))

    def possible(self, wanted: Sequence[Made], must: Collection[Made]) -> dict[Made, Setting]:
        """The settings of those sets of changes, not trained yet, that go together; those in `must` have to."""
        configs, settings = {}, {}
        for made in wanted:
            try:
                if made not in self.settings:
                    configs[made] = self.question.config(made)
            except ConfigError:
                if made in must:
                    raise
        plan = make_plan(list(configs.values()), self.folder, fallback_data(), first=self.first) if configs else None
        for made, setting in zip(configs, plan.asked if plan else (), strict=True):
            if not setting.error:
                settings[made] = setting
            elif made in must:
                raise setting.error
        return settings

    def train(self, settings: Mapping[Made, Setting]) -> None:
        """Those that are not trained yet, as one sweep."""
        fresh = {made: setting for made, setting in settings.items() if made not in self.settings}
        if fresh:
            configs = [self.question.config(made) for made in fresh]
            given = () if self.settings else self.question.given  # the first round has every value of every knob
            self.summary += run_sweep(configs, self.folder.name, self.command, given=given, first=self.first)
            self.settings |= fresh

    def values(self, setting: Setting) -> pd.Series:
        """The metric of a trained setting by seed; infinite for a run that diverged. Not of one that is excluded."""
        excluded = frozenset[str]()
        with suppress(RecordError):  # a damaged file, which the report names
            excluded = excluded_runs(self.folder)
        runs = [run for run in setting.runs if run.run_id not in excluded]
        return pd.Series({run.config.seed: self.value(run.run_id) for run in runs}, dtype=float)

    def choosing_values(self, setting: Setting) -> pd.Series:
        """Those of the seeds that choose: every second one, or the only one, which leaves none to report by."""
        values = self.values(setting)
        return values[values.index.isin(self.choosing_seeds)]

    @property
    def choosing_seeds(self) -> list[int]:
        seeds = [run.config.seed for run in self.settings[self.baseline].runs]
        return [int(seed) for seed in choosing(seeds)] or seeds

    def value(self, run_id: str) -> float:
        record = results.read(self.folder, run_id)
        if record["status"] == "diverged":
            return math.inf
        failed = FailedMetrics()
        value = metric_of(record, self.metric, partial(results.load_curve, self.folder, run_id), failed)
        if lines := failed.lines(1, self.folder):
            raise UserError(lines[0])
        if value is None:
            task = TASKS.known(task_name(record["config"]))
            where = f"{task.held_out.knob} is too low; raise it" if METRICS[self.metric].held_out else "choose another"
            raise UserError(f"{self.metric} is not measured here: {where}")
        if without := no_logarithm(METRICS[self.metric], [value]):
            raise UserError(without)
        return float(value)

    def as_json(self) -> dict[str, Any]:
        ends = {
            name: {"overrides": self.question.overrides(made), "setting_id": self.settings[made].setting_id}
            for name, made in (("baseline", self.baseline), ("target", self.target))
        }
        steps = [
            {
                "number": number,
                "change": step.change,
                "setting_id": step.setting.setting_id,
                "reference_id": step.reference.setting_id,
                "tried": [{"change": change, "setting_id": setting.setting_id} for change, setting in step.tried],
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


def rank(values: pd.Series) -> tuple[float, float]:
    """What makes one setting better than another: fewer diverged runs, then the lower geometric mean of the others.

    Any is better than one of which all runs are excluded.
    """
    if values.empty:
        return math.inf, math.inf
    finite = values[values < math.inf]
    return len(values) - len(finite), float(np.log(finite).mean()) if len(finite) else math.inf
