"""What is measured: title, unit and direction of every number that a table may show."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

from ablate.config.columns import not_measured
from ablate.config.errors import ConfigError, check_function, counted, own_line
from ablate.config.registry import TASKS, Registry, task_name

UNSCORED = -1
"""A target that does not count: no loss, no gradient, no share in the accuracy."""

TAIL = 0.05
"""The share of the epochs, from the end, over which the tail perplexity averages."""


HELD_OUT_WINDOW = 35
"""Tokens of a sequence of held-out text, where a network starts anew with each; in training it is `num_steps`."""

HELD_OUT_MASKED = 0.15
"""The share of the held-out tokens that is masked for task=fill_in, whatever `task.masked` it is trained on."""


@dataclass(frozen=True)
class Metric:
    """A number that is measured for each run, and what tables, figures, claims and searches need to know about it."""

    name: str
    title: str
    """Its name within a sentence: `held-out perplexity`."""
    better: str  # lower, higher or neither
    unit: str = ""
    top: float | None = None
    """The largest value of a metric that may be 0; such a metric is compared by differences."""
    logs: bool | None = None
    """Whether means and comparisons are of logarithms, for positive values; None: if it has no top."""
    heading: str = ""
    """The heading of its column in a table; the title if empty."""
    axis: str = ""
    """The label of its axis in a figure; the title if empty."""
    ends: tuple[float, ...] = ()
    """Where an axis that does not reach the top may end."""
    explained: str = ""
    """A sentence for the notes of a table; a task may have its own."""
    meaning: str = ""
    """What it is, for the reference, if no table needs a note on it."""
    of_loss: bool = False
    """Whether it is computed from the losses during training, so that every task has it."""
    held_out: bool = False
    """Whether it is measured on held-out data, so that it is missing if there are none."""
    of_test: bool = False
    """Whether it is measured on test data, by which nothing may be chosen: no search, no best setting."""
    tested_as: str = ""
    """The name of the same metric on test data, which is reported for what this metric has chosen."""
    searchable: bool = True
    claimable: bool = True
    ranked: bool = True
    """Whether the best setting is named by it; not if another metric gives the same order."""
    shown: bool = False
    """Whether tables and figures show it for every task that has it, and not only for those that it was made for."""
    of_course: bool = False
    """Whether it is the course's way of measuring, shown only beside what the course published."""
    unmeasured: str = ""
    """Why a run may lack it: what follows "cannot be tested: "."""
    of: Callable[..., float | None] | None = None
    """For a metric that is computed from what a run recorded: its value from the record, or from record and curve; None
    if a run has none."""
    tasks: tuple[str, ...] = ()
    """For such a metric: the tasks whose runs have it; by default, all tasks."""
    least: float = -math.inf
    """The smallest value that there can be; 0 of a metric with a top."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a top that is none."""
        if self.top is not None and not 0 < self.top < math.inf:
            raise ConfigError(
                f"the metric {self.name}: top is {self.top:g}; give its largest value, or logs=False where it has none"
            )

    @property
    def in_logs(self) -> bool:
        return self.top is None if self.logs is None else self.logs

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that there can be."""
        return (self.least, math.inf) if self.top is None else (0.0, self.top)

    def out_of_bounds(self, value: float) -> str:
        """What is said of a value that there cannot be, `91.5, which is not from 0 to 1`; nothing of any other."""
        low, high = self.bounds
        margin = ROUNDING * (high if math.isfinite(high) else 1.0)
        if not math.isfinite(value) or low - margin <= value <= high + margin:
            return ""
        return f"{value:g}, which is not " + (
            f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
        )

    @property
    def shown_as(self) -> str:
        """The heading of its column."""
        return self.heading or self.title

    @property
    def label(self) -> str:
        """That of its axis."""
        return self.axis or self.title

    @property
    def extreme(self) -> str:
        """What the best value is: `highest accuracy`."""
        return f"{'highest' if self.better == 'higher' else 'lowest'} {self.title}"


def decimals(top: float) -> int:
    """With how many decimals values up to `top` are told apart: 3 of a share, 1 of a number up to 100."""
    return max(0, 3 - math.ceil(math.log10(top)))


ROUNDING = 1e-6
"""The share of its largest value by which a metric may be beyond it, as means of rounded numbers are."""

METRICS: Registry[Metric] = Registry(
    "metric", unknown=lambda name: Metric(name, name.replace("_", " "), "neither"), columns=not_measured
)
"""In the order in which tables have them. Those that only some tasks measure are declared with these tasks."""

OF_TEST: dict[str, Any] = {
    "of_test": True,
    "held_out": True,
    "searchable": False,
    "ranked": False,
    "unmeasured": "nothing was kept for a test (test_tokens=0, in task=classification task.val_sequences=0)",
}
"""What holds of whatever is measured on the test data."""

NOTHING_HELD_OUT = "no held-out perplexity was measured (val_tokens=0)"

for _metric in (
    Metric(
        "perplexity",
        "perplexity (last epoch)",
        "lower",
        least=1.0,
        heading="perplexity",
        of_loss=True,
        meaning="exp of the mean cross-entropy per token in the last epoch, as it is trained",
    ),
    Metric(
        "tail_perplexity",
        "tail perplexity",
        "lower",
        least=1.0,
        of_loss=True,
        meaning="the geometric mean of the training perplexity over the last 5 % of the epochs, at least one",
    ),
    Metric(
        "best_perplexity",
        "best perplexity",
        "lower",
        least=1.0,
        of_loss=True,
        meaning="the lowest training perplexity of an epoch",
    ),
    Metric(
        "val_perplexity",
        "held-out perplexity",
        "lower",
        least=1.0,
        heading="held-out",
        tested_as="test_perplexity",
        of_loss=True,
        held_out=True,
        unmeasured=NOTHING_HELD_OUT,
        meaning="the perplexity of the held-out data after the last epoch",
    ),
    Metric(
        "best_val_perplexity",
        "best held-out perplexity",
        "lower",
        least=1.0,
        tested_as="test_perplexity_at_best",
        of_loss=True,
        held_out=True,
        unmeasured=NOTHING_HELD_OUT,
        meaning="the lowest held-out perplexity of an epoch",
    ),
    Metric(
        "test_perplexity_at_best",
        "test perplexity at the best held-out epoch",
        "lower",
        least=1.0,
        heading="test, at best epoch",
        explained="Test, at best epoch: the perplexity of the test data in that epoch whose held-out perplexity is the "
        "lowest.",
        **OF_TEST,
    ),
    Metric(
        "test_perplexity",
        "test perplexity",
        "lower",
        least=1.0,
        heading="test",
        meaning="the perplexity of the test data after the last epoch",
        **OF_TEST,
    ),
    Metric(
        "accuracy",
        "accuracy",
        "higher",
        top=1.0,
        tested_as="test_accuracy",
        meaning="the share of right answers on held-out data; of which tokens, the task says",
    ),
    Metric("test_accuracy", "test accuracy", "higher", top=1.0, meaning="the same on the test data", **OF_TEST),
    Metric(
        "wall_s",
        "time",
        "lower",
        "s",
        least=0.0,
        searchable=False,
        claimable=False,
        meaning="of the training of a run; of runs that train together each has its share",
    ),
):
    METRICS.found[_metric.name] = _metric


DEFAULT_METRIC = "tail_perplexity"
"""What language models are compared by, and whatever has no measure of its own: single epochs mislead."""


def by_difference(metric: str) -> bool:
    """Whether a metric may be 0, so that its values have differences but no ratios."""
    return metric in METRICS and not METRICS[metric].in_logs


def metrics_of_test() -> tuple[str, ...]:
    """What is measured on test data, where there are any, the one that settings are compared by first."""
    return tuple(metric.name for metric in METRICS if metric.of_test)


def reported_as(metric: str) -> str:
    """The metric of the test data that is reported where this one has chosen; itself where none corresponds."""
    return METRICS.known(metric).tested_as or metric


def chosen_by(metric: str) -> str:
    """The metric by which may be chosen what this one reports: of one of the test data that of the held-out ones."""
    return next((one.name for one in METRICS if one.tested_as == metric), metric)


def loss_metrics() -> tuple[str, ...]:
    """What every task measures: the course of its loss."""
    return tuple(metric.name for metric in METRICS if metric.of_loss)


def followed() -> tuple[Metric, ...]:
    """The metrics that follow from what a run recorded: the users', and of ours those that older runs have, too."""
    return tuple(metric for metric in METRICS if metric.of is not None)


def metrics_of(
    record: Mapping[str, Any], curve: Callable[[], Any] | None = None, failed: "FailedMetrics | None" = None
) -> dict[str, float | None]:
    """Every metric of a stored run: what was measured, and what follows from it by the metrics that are loaded now.

    `curve` reads the run's curve, column → values by epoch, for a metric that asks for it. A run that diverged has none
    of them; nor has a run one that fails or gives no number, which `failed` is told of.
    """
    out: dict[str, float | None] = dict(record["metrics"])
    return out | followed_of(record, curve, failed)


def followed_of(
    record: Mapping[str, Any], curve: Callable[[], Any] | None = None, failed: "FailedMetrics | None" = None
) -> dict[str, float | None]:
    """Of these only what follows."""
    return {metric.name: _followed(metric, record, curve, failed) for metric in followed()}


def metric_of(
    record: Mapping[str, Any],
    name: str,
    curve: Callable[[], Any] | None = None,
    failed: "FailedMetrics | None" = None,
) -> float | None:
    """One metric of a stored run, as `metrics_of` has it; no other is evaluated."""
    found: float | None = record["metrics"].get(name)
    return next((_followed(metric, record, curve, failed) for metric in followed() if metric.name == name), found)


def _followed(
    metric: Metric,
    record: Mapping[str, Any],
    curve: Callable[[], Any] | None,
    failed: "FailedMetrics | None",
) -> float | None:
    """The value of such a metric. Whatever its code raises is a fault of its own, and no reason to lose the rest."""
    if record["status"] != "ok":
        return None
    assert metric.of is not None
    try:
        value = metric.of(record, curve() if curve else None) if _wants_curve(metric.of) else metric.of(record)
        if isinstance(value, Mapping | str):
            raise TypeError(f"it returns {value!r:.60}; give one number, or None")
        if value is not None and (beyond := metric.out_of_bounds(float(value))):
            raise ValueError(f"it returns {beyond}; give its largest value as top=, or logs=False in its place")
        return None if value is None else float(value)
    except Exception as error:
        if failed is not None:
            failed.add(metric, error)
        return None


@cache
def _wants_curve(function: Callable[..., Any]) -> bool:
    return len(signature(function).parameters) > 1


class FailedMetrics:
    """The users' metrics that failed on some of the runs read together: a line of each, however many runs these are."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._runs: dict[str, int] = {}

    def add(self, metric: Metric, error: Exception) -> None:
        """One more run that a metric failed on."""
        if metric.name not in self._first:
            said = " ".join(str(error).split())
            where = _named(metric, own_line(error))
            self._first[metric.name] = f"{where} fails: {type(error).__name__}: {said}"
        self._runs[metric.name] = self._runs.get(metric.name, 0) + 1

    @property
    def said(self) -> list[str]:
        """`the metric mine (mine.py:12) fails: KeyError: 'x'`, of each"""
        return list(self._first.values())

    def lines(self, runs: int, of: object) -> list[str]:
        """The same, with the runs that have none of it: `…; 4 of the 6 runs of results/a have none`"""
        return [
            f"{said}; {self._runs[name]} of the {counted(runs, 'run')} of {of} "
            f"{'has' if self._runs[name] == 1 else 'have'} none"
            for name, said in self._first.items()
        ]


def no_logarithm(metric: Metric, values: Sequence[float]) -> str:
    """What is said of a metric that is compared on logarithms, of which some runs' values (runs,) have none; or
    nothing."""
    without = [value for value in values if value <= 0] if metric.in_logs else []
    if not without:
        return ""
    return (
        f"{_named(metric)} is not above 0 in {len(without)} of {counted(len(values), 'run')} ({without[0]:g} in the "
        "first), and has no logarithm there, by which it is averaged and compared; declare it with logs=False, or with "
        "top=, its largest value"
    )


def _named(metric: Metric, place: str = "") -> str:
    """`the metric mine (mine.py:12)`"""
    code = getattr(metric.of, "__code__", None)
    place = place or (f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else "")
    return f"the metric {metric.name}" + (f" ({place})" if place else "")


def metric(
    title: str = "",
    *,
    better: str = "",
    name: str = "",
    top: float | None = None,
    unit: str = "",
    logs: bool | None = None,
    explained: str = "",
    heading: str = "",
    shown: bool = False,
) -> Callable[[Callable[..., float | None]], Callable[..., float | None]]:
    """Register a function as a metric that is computed from what a run recorded, for data frames, claims and searches.

    The function gets the run's record and, if it has a second parameter, its curve, column → values by epoch. It
    returns a number, or None if a run has none. Means are geometric and comparisons are ratios, unless there is a
    `top`, the largest value of a metric that may be 0, or `logs=False`. Tables and figures show it if `shown`.
    """
    if callable(title) or not (title and better):
        raise ConfigError('a metric needs a title and a direction; write @ablate.metric("title", better="lower")')
    if better not in ("lower", "higher", "neither"):
        raise ConfigError(f"better is {better!r}; choose lower, higher or neither")

    def register(function: Callable[..., float | None]) -> Callable[..., float | None]:
        check_function(function, "metric")
        parameters = signature(function)
        try:
            parameters.bind(*[None] * (2 if _wants_curve(function) else 1))
        except TypeError:
            own = name or function.__name__
            raise ConfigError(
                f"the metric {own} takes {parameters}; write def {own}(record), or def {own}(record, curve)"
            ) from None
        METRICS.add(
            Metric(
                name or function.__name__,
                title,
                better,
                unit,
                top,
                logs,
                explained=explained or " ".join((function.__doc__ or "").split("\n\n")[0].split()),
                heading=heading,
                shown=shown,
                of=function,
                searchable=better != "neither",
            )
        )
        return function

    return register


def perplexity(cross_entropy: float) -> float:
    """exp(mean cross-entropy per token in nats); infinite where that overflows."""
    try:
        return math.exp(cross_entropy)
    except OverflowError:
        return math.inf


def tail_perplexity(curve: Sequence[float]) -> float:
    """Geometric mean of the perplexity over the last 5 % of the epochs, at least one.

    At lr 1 the last epoch alone misleads: single epochs spike by a third and recover at once.
    """
    last = curve[-max(1, math.ceil(TAIL * len(curve))) :]
    return perplexity(sum(math.log(value) for value in last) / len(last))


def evaluation(config: Mapping[str, Any], of_old: bool = False) -> str | None:
    """How a stored config's held-out data are read, as recorded with the run; None where no rule of its own is known.

    Numbers by different rules are never pooled or ranked together. `of_old` runs are those from before rules were
    recorded.
    """
    rule: str | None = TASKS.known(task_name(config)).evaluation_rule(config, of_old)
    return rule


def evaluation_of(record: Mapping[str, Any]) -> str | None:
    """The rule by which a stored run was measured."""
    rule: str | None = record.get("evaluation")
    if task_name(record["config"]) not in TASKS:  # of a file of the user's that is not loaded
        return None
    return evaluation(record["config"], of_old=True) if rule is None else rule
