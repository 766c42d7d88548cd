"""The records of a sweep as samples of one metric, and the tests between the settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ablate.analysis.aggregate import metric_warnings
from ablate.analysis.curves import StoredCurves, late_change
from ablate.analysis.frames import curves_frame, runs_frame, setting_name, swept_knobs
from ablate.analysis.samples import SPEED_COLUMNS, samples, speed_samples
from ablate.analysis.tuning import JUDGES, roles, tuned
from ablate.claims.comparison import Comparison, DifferenceComparison, RatioComparison
from ablate.claims.settings import NotTestable, settings_of
from ablate.config.errors import UserError, counted, listing
from ablate.config.metrics import DEFAULT_METRIC, METRICS, FailedMetrics, by_difference, no_logarithm
from ablate.config.registry import TASKS
from ablate.records.design import Designs
from ablate.records.files import encodable
from ablate.records.places import no_run
from ablate.stats import (
    DifferenceTest,
    RatioTest,
    always_valid_difference,
    always_valid_ratio,
    difference,
    difference_contrast,
    ratio,
    ratio_contrast,
)

SPEED = "tokens_per_s"
TOGETHER = pd.Timedelta(hours=1)
"""What lies farther apart was not timed by one command that takes its settings in turn."""
ROUGHNESS = "roughness"
LATE_CHANGE = "late_change"
SEES_FUTURE = "sees_future"
UNMEASURED = {
    SPEED: "no clean timing with one thread; the same command with speed=true measures it",
    ROUGHNESS: "no curve of three epochs or more",
    LATE_CHANGE: "no curve of two epochs or more",
    SEES_FUTURE: "no run records whether its outputs depend on later tokens",
}
"""Of what is no metric of a run: why there may be none."""


def claimable() -> tuple[str, ...]:
    """The metrics of which a claim may speak."""
    return (*(metric.name for metric in METRICS if metric.claimable), SPEED, ROUGHNESS)


def unmeasured(metric: str) -> str:
    """Why there may be no value of it."""
    said = UNMEASURED.get(metric) or (METRICS[metric].unmeasured if metric in METRICS else "")
    by = [task.name for task in TASKS if metric in (*task.metrics, *task.final_metrics)]
    if not said and by:
        name = METRICS[metric].title
        article = "an" if name[0] in "aeio" else "a"
        return f"no run measured {article} {name}; those of task={listing(by)} do"
    return said or f"no run holds {metric}"


@dataclass(frozen=True)
class Samples:
    """The values of one metric, setting by setting: by seed, or by process for tokens per second.

    A metric that may be 0 is compared by differences, every other by ratios.
    """

    values: Mapping[str, pd.Series]
    level: float = 0.95
    metric: str = DEFAULT_METRIC
    unit: str = "seeds"
    halved: bool = False
    """Whether as many seeds again chose the settings, so that a claim that needs n needs twice as many in all."""
    always_valid: bool = False
    """Whether somebody could look before the last runs were asked for (see `claims.designs`)."""
    design: str = ""
    """What the verdict says of that."""

    @property
    def kind(self) -> type[Comparison]:
        """How two values of the metric are compared."""
        return DifferenceComparison if by_difference(self.metric) else RatioComparison

    def compare(self, a: str, b: str) -> RatioTest | DifferenceTest:
        """Setting a against setting b."""
        if self.always_valid:
            return self.contrast({a: 1.0, b: -1.0})
        test = difference if self.kind is DifferenceComparison else ratio
        return test(self.values[a], self.values[b], self.level)

    def contrast(self, weights: Mapping[str, float]) -> RatioTest | DifferenceTest:
        """The product of the settings' values, each to the power of its weight; of differences, the weighted sum."""
        used = {setting: weight for setting, weight in weights.items() if weight}
        if self.kind is DifferenceComparison:
            of_differences = always_valid_difference if self.always_valid else difference_contrast
            return of_differences(used, self.values, self.level)
        of_ratios = always_valid_ratio if self.always_valid else ratio_contrast
        return of_ratios(used, self.values, self.level)

    def part(
        self, text: str, where: str, test: RatioTest | DifferenceTest, bound: float | None = None, below: bool = True
    ) -> Comparison:
        """The statement that what is tested lies below, or above, a bound; without one, below or above equality."""
        bound = self.kind.beyond(0) if bound is None else bound
        if isinstance(test, DifferenceTest):
            return DifferenceComparison(text, where, test, bound, below, self.metric)
        return RatioComparison(text, where, test, bound, below, self.metric)


@dataclass
class Frames:
    """What is known of a sweep. What is None is read from its folder when a claim first asks for it."""

    runs: pd.DataFrame
    curves: pd.DataFrame | StoredCurves | None = None
    speed: pd.DataFrame | None = None
    sweep: Path | None = None
    problems: list[str] = field(default_factory=list)
    """Records that were skipped, a line each."""
    warnings: list[str] = field(default_factory=list)
    """Metrics that fail, or cannot be compared, in some runs, a line each."""
    halved: bool = False
    """Whether these are the runs of the seeds that judge, beside as many that chose the settings."""
    designs: Designs | None = None
    """What was declared, of a sweep that has no folder."""

    @classmethod
    def read(cls, sweep: Path) -> "Frames":
        """Raises UserError for a folder without a finished run."""
        failed = FailedMetrics()
        runs, problems = runs_frame(sweep, failed)
        if runs.empty:
            raise no_run(sweep, problems)
        return cls(runs, sweep=sweep, problems=problems, warnings=metric_warnings(failed, runs, sweep))

    @property
    def name(self) -> str:
        return encodable(self.sweep.resolve().name) if self.sweep else ""

    @cached_property
    def settings(self) -> pd.DataFrame:
        return settings_of(self.runs)

    @cached_property
    def declared(self) -> Designs | None:
        """With how many seeds the settings were declared; None where there is nothing to read it from."""
        if self.designs is None and self.sweep:
            return Designs.read(self.sweep, set(self.runs["setting_id"]))
        return self.designs

    def of(self, settings: pd.DataFrame) -> pd.DataFrame:
        """The runs of these settings."""
        return self.runs[self.runs["setting_id"].isin(settings["setting_id"])]

    def samples(self, metric: str, settings: pd.DataFrame, level: float) -> Samples:
        """The values of a metric in each of these settings that has any. Raises NotTestable where none has."""
        if metric == SPEED:
            values = self.processes(settings)
        elif metric in (ROUGHNESS, LATE_CHANGE):
            values = samples(self.with_curves(self.of(settings), metric), "perplexity")
        elif metric == SEES_FUTURE:
            values = self.probed(self.of(settings))
        else:
            values = samples(self.of(settings), metric) if metric in self.runs else {}
        values = {setting: one for setting, one in values.items() if len(one)}
        if not values:
            raise NotTestable(unmeasured(metric))
        if metric in METRICS and (why := no_logarithm(METRICS[metric], np.concatenate(list(values.values())).tolist())):
            raise NotTestable(why)
        return Samples(values, level, metric, "processes" if metric == SPEED else "seeds", self.halved)

    def probed(self, runs: pd.DataFrame) -> dict[str, pd.Series]:
        """1 for each run whose outputs depend on later tokens, 0 for one whose outputs do not; by seed."""
        if SEES_FUTURE not in runs:
            return {}
        known = runs[runs[SEES_FUTURE].notna()].set_index("seed")
        return {
            str(setting): own.astype(float) for setting, own in known.groupby("setting_id", sort=False)[SEES_FUTURE]
        }

    def with_curves(self, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
        """The runs, where `perplexity` is replaced by a measure of its curve; NaN without one."""
        curves = self.curves
        if curves is None:
            curves = curves_frame(self.sweep, runs[runs["status"] == "ok"]) if self.sweep else pd.DataFrame()
        if isinstance(curves, StoredCurves):
            curves = curves.of(runs["run_id"])
        if curves.empty:
            return runs.assign(perplexity=np.nan)
        curves = curves[curves["run_id"].isin(runs["run_id"])]
        found = 1 + late_change(curves) if metric == LATE_CHANGE else roughness(curves)
        return runs.assign(perplexity=runs["run_id"].map(found))

    def processes(self, settings: pd.DataFrame) -> dict[str, pd.Series]:
        """Tokens per second of each process with one thread, on the machine that timed most of these settings."""
        alone = self._timed_alone(settings)
        return {str(setting): values for setting, values in alone.groupby("setting_id")["tokens_per_s"]}

    def timed_apart(self, settings: pd.DataFrame) -> list[str]:
        """What a reader must know of how these settings were timed: that not the settings alone may be what differs."""
        notes = list[str]()
        alone = self._timed_alone(settings).drop_duplicates("setting_id").reindex(columns=list(SPEED_COLUMNS))
        if len(engines := alone["engine"].value_counts().sort_index()) > 1:
            each = " and ".join(f"{counted(n, 'setting')} by {engine}" for engine, n in engines.items())
            notes.append(f"timed with different engines, {each}: the engine is part of what differs")
        when = pd.to_datetime(alone["measured_at"], utc=True, format="ISO8601", errors="coerce")
        if (apart := when.max() - when.min()) > TOGETHER:
            hours = apart / pd.Timedelta(hours=1)
            span = f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
            notes.append(
                f"not timed in turn, but up to {span} apart: what changed on the machine meanwhile differs, too"
            )
        return notes

    def _timed_alone(self, settings: pd.DataFrame) -> pd.DataFrame:
        if self.speed is None:
            self.speed = speed_samples(self.sweep) if self.sweep else pd.DataFrame()
        if self.speed.empty:
            return pd.DataFrame(columns=list(SPEED_COLUMNS))
        alone = self.speed[(self.speed["threads"] == 1) & self.speed["setting_id"].isin(settings["setting_id"])]
        if alone.empty:
            return alone
        timed = alone.groupby("machine")["setting_id"].nunique()
        return alone[alone["machine"] == timed.idxmax()]

    def tuned(self, knob: str, metric: str, settings: pd.DataFrame) -> tuple["Frames", list[str]]:
        """Each setting at its best value of a knob, chosen on half of the seeds, judged on the other; and what a
        reader must know: which seeds and data did what, which settings could not be tuned, and where the first
        value stands for all, since every run that should choose diverged.

        Raises NotTestable where the knob was not swept.
        """
        runs = self.of(settings)
        try:
            chosen = tuned(runs, knob, metric)
        except UserError as error:
            raise NotTestable(str(error)) from error
        fresh = (roles(runs, knob) == JUDGES) & runs["setting_id"].isin(chosen["setting_id"])
        frames = replace(self, runs=runs[fresh].assign(**{knob: None}), halved=True)
        common = " that all settings have" if runs.groupby("seed").size().nunique() > 1 else ""
        text = ", and by the test data" if METRICS.known(metric).of_test else ""
        by = f"{knob} chosen on half of the seeds{common}, judged on the others{text}"
        return frames, [by, *_untuned(runs, knob, chosen), *_without_best(knob, chosen[~chosen["any_best"]])]


def _untuned(runs: pd.DataFrame, knob: str, chosen: pd.DataFrame) -> Iterator[str]:
    others = [name for name in swept_knobs(runs) if name != knob]
    settings = runs.drop_duplicates(others) if others else runs[:1]
    judged = set(chosen.loc[chosen["n"] + chosen["diverged"] > 0, "at"])
    names = [setting_name(setting, others) for _, setting in settings.iterrows()]
    if left := [name or "the only setting" for name in names if name not in judged]:
        yield f"left out {', '.join(left)}, with too few seeds to choose {knob} by some and judge by others"


def _without_best(knob: str, settings: pd.DataFrame) -> Iterator[str]:
    if len(settings):
        at = "; ".join(one for one in settings["at"] if one)
        where = f"where every run that should choose diverged{f' ({at})' if at else ''}"
        yield f"no {knob} is the best {where}: the first {knob} is judged there"


def roughness(curves: pd.DataFrame) -> pd.Series:
    """run_id → the mean absolute second difference of the logarithm of the perplexity: 0 for a straight curve."""
    curves = curves[curves["perplexity"] > 0].sort_values(["run_id", "epoch"], kind="stable")
    logs = np.log(curves["perplexity"])
    bends = logs.groupby(curves["run_id"]).diff().groupby(curves["run_id"]).diff().abs()
    # A floor far below the digits that a curve is stored with: a straight one has a logarithm too.
    means: pd.Series = bends.groupby(curves["run_id"]).mean()
    return means.clip(lower=1e-9)
