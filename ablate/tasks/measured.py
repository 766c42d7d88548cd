"""What a task's code measures, held against what the task declares: a name that nobody declared has no direction, no
title and no column, so that its numbers would be lost in silence."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from ablate.config.errors import ConfigError, nearest, place
from ablate.config.metrics import METRICS
from ablate.tasks.task import Task


def scores(task: Task, parameters: Mapping[str, Tensor]) -> dict[str, float]:
    """What `task.scores` gives of a network. Raises ConfigError for what the task does not declare as `metrics`."""
    return _measured(task, "metrics", task.scores, parameters)


def final_scores(task: Task, parameters: Mapping[str, Tensor], perplexity: float) -> dict[str, float]:
    """What `task.final_scores` gives of a trained network, as `scores`, of its `final_metrics`."""
    return _measured(task, "final_metrics", task.final_scores, parameters, perplexity)


def _measured(task: Task, where: str, measure: Callable[..., Any], *arguments: Any) -> dict[str, float]:
    facts = task.config.task.thing
    said = f"{measure.__name__}() of the task {facts.name} ({place(measure)})"
    values = measure(*arguments)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{said} returns {values!r:.60}; it must be a dictionary, metric → number")
    other, by = {"metrics": ("final_metrics", "final_scores"), "final_metrics": ("metrics", "scores")}[where]

    def remedy(name: str) -> str:
        if name in getattr(facts, other):
            return f"it is among the {other}, which {by}() measures: move it there, or declare it among the {where}"
        return f'declare it in the decorator: {where}=[…, ablate.Metric("{name}", title, "lower" or "higher")]'

    return numbers(said, values, getattr(facts, where), remedy)


def numbers(
    said: str, values: Mapping[Any, Any], declared: Iterable[str], remedy: Callable[[str], str]
) -> dict[str, float]:
    """Metric → number, of what a person's code measures. `said` is what it is called, with its place.

    Raises ConfigError, with a remedy, for a metric that is not among the declared ones and for what is no number.
    """
    names, out = list(declared), {}
    for name, value in values.items():
        if name not in names:
            known = f"declared: {', '.join(names)}{nearest(str(name), names)}" if names else "no metric is declared"
            raise ConfigError(f"{said} measures {name!r}, which is not declared ({known}); {remedy(name)}")
        if value is None:  # not measured this time
            continue
        try:
            out[name] = float(value)
        except (TypeError, ValueError, RuntimeError) as error:  # of a tensor with several numbers the last
            raise ConfigError(f"{said}: {name} is {value!r:.60}, which is no number") from error
        if beyond := METRICS.known(name).out_of_bounds(out[name]):
            raise ConfigError(f"{said}: {name} is {beyond}; scale it, or measure it by another name")
    return out
