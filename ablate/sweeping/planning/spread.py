"""How far the seeds of a setting lie apart, read from runs that are finished: what a planned sweep can then detect."""

import math
import statistics
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ablate.config.errors import counted
from ablate.config.metrics import DEFAULT_METRIC, METRICS, by_difference, metric_of
from ablate.config.registry import TASKS, task_name
from ablate.config.schema import Config
from ablate.records import results
from ablate.records.exclusion import excluded_runs
from ablate.records.files import entries
from ablate.records.places import is_sweep
from ablate.records.reading import RecordError
from ablate.stats.power import detectable_log, least_runs
from ablate.sweeping.plan import Plan

LEAST_RUNS = 3
"""Finished runs from which a setting's spread is read."""
LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Spread:
    """The standard deviation of a metric over seeds: the median over some settings.

    That of its logarithm; of a metric that may be 0, such as an accuracy, that of the metric itself.
    """

    sd: float
    settings: int
    source: str  # which settings these are


def metrics_of(plan: Plan) -> list[str]:
    """What the settings of a plan will be compared by: the main measure of their task, or of each of their tasks."""
    return list(dict.fromkeys(main_metric(setting.config) for setting in plan.settings))


def main_metric(config: Config) -> str:
    """The foremost metric of a task that will be measured: some need held-out data."""
    main: str = TASKS[config.task.name].main_of(config)
    return main


def spread_over_seeds(plan: Plan, metric: str = DEFAULT_METRIC) -> Spread | None:
    """From finished runs of these settings, in any sweep beside this one, or else of settings like them; None without
    any.

    Alike are settings of the same task, data, model, number of units and layers; failing that, of the same task, data
    and model.
    """
    compared = [setting for setting in plan.settings if main_metric(setting.config) == metric]
    wanted = {setting.setting_id for setting in compared}
    planned = {_kind_of(setting.config) for setting in compared}
    models = {kind.without_size for kind in planned}
    scaled: dict[str, dict[str, float]] = defaultdict(dict)  # setting -> run -> what is compared
    kinds: dict[str, Kind] = {}
    folders: dict[str, set[str]] = defaultdict(set)
    for folder in sweeps_beside(plan.folder):
        excluded = frozenset[str]()
        with suppress(RecordError):
            excluded = excluded_runs(folder)
        for record in results.summaries(folder, {"model": {model for *_, model in models}}):
            if isinstance(record, RecordError) or record.get("run_id") in excluded:
                continue
            curve = partial(results.load_curve, folder, str(record.get("run_id")))
            try:
                value, kind = metric_of(record, metric, curve), _kind(record["config"])
            except (KeyError, TypeError):
                continue
            if value is None or not (by_difference(metric) or value > 0):
                continue
            setting = str(record["setting_id"])
            scaled[setting][str(record["run_id"])] = value if by_difference(metric) else math.log(value)
            kinds[setting] = kind
            folders[setting].add(folder.name)
    usable = {setting: list(runs.values()) for setting, runs in scaled.items() if len(runs) >= LEAST_RUNS}
    for what, alike in (
        ("these settings", [setting for setting in usable if setting in wanted]),
        ("settings of the same model, units and layers", [setting for setting in usable if kinds[setting] in planned]),
        ("settings of the same model", [setting for setting in usable if kinds[setting].without_size in models]),
    ):
        if alike:
            names = sorted(set[str]().union(*(folders[setting] for setting in alike)))
            sd = statistics.median(statistics.stdev(usable[setting]) for setting in alike)
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            return Spread(sd, len(alike), f"{what} in {', '.join(names[:2])}{more}")
    return None


def sweeps_beside(folder: Path) -> list[Path]:
    """The folders of the results folder, this sweep's first."""
    others = (path for path in entries(folder.parent) if is_sweep(path))
    return [folder, *(path for path in others if path != folder)]


def detectable(spread: Spread | None, seeds: int, metric: str = DEFAULT_METRIC) -> str:
    """One sentence: the smallest difference of two settings of so many seeds that will be found."""
    if seeds < (least := least_runs(LEVEL)):
        too_few = f"{counted(seeds, 'seed')} {'is' if seeds == 1 else 'are'} too few"
        return f"{too_few} to tell any two settings apart at 95 %; {least} are the least"
    times = detectable_log(math.sqrt(2), seeds, LEVEL, POWER, cost=1.0, samples=2)
    if spread is None:
        return (
            f"{seeds} seeds find a difference of {times:.2g} × the spread over seeds in four of five sweeps (how large "
            "that is, no finished run of such a setting tells yet)"
        )
    of = f"(the median of {counted(spread.settings, 'setting')}: {spread.source})"
    if by_difference(metric):
        title = METRICS[metric].shown_as
        if not spread.sd:
            return f"{seeds} seeds find any difference of {title}: over seeds it does not spread {of}"
        found = f"differences of {title} of {times * spread.sd:.2g} or more in four of five sweeps"
        return f"{seeds} seeds find {found}; the spread over seeds is {spread.sd:.2g} {of}"
    what = "perplexities" if METRICS[metric].of_loss else f"values of {METRICS[metric].title}"
    found = f"{what} that differ by {percent(times * spread.sd)} or more in four of five sweeps"
    return f"{seeds} seeds find {found}; the spread over seeds is {percent(spread.sd)} {of}"


def smallest(spread: Spread | None, seeds: int, metric: str) -> dict[str, Any]:
    """The same in numbers: of logarithms where `log`; None where too few seeds, or no finished run, tell."""
    sd = spread.sd if spread else None
    enough = seeds >= least_runs(LEVEL)
    times = detectable_log(math.sqrt(2), seeds, LEVEL, POWER, cost=1.0, samples=2) if enough else None
    return {
        "metric": metric,
        "log": not by_difference(metric),
        "sd": sd,
        "detectable": None if sd is None or times is None else times * sd,
        "of": spread.source if spread else None,
    }


def percent(log: float) -> str:
    """What a difference of logarithms multiplies by, as a percentage."""
    return f"{100 * math.expm1(log):.2g} %"


@dataclass(frozen=True)
class Kind:
    """What settings have in common whose seeds spread alike."""

    task: str
    data: str
    model: str
    num_hiddens: int
    layers: int

    @property
    def without_size(self) -> tuple[str, str, str]:
        return self.task, self.data, self.model


def _kind(config: dict[str, Any]) -> Kind:
    return Kind(
        task_name(config), config["data"]["name"], config["model"]["name"], config["num_hiddens"], config["layers"]
    )


def _kind_of(config: Config) -> Kind:
    return Kind(config.task.name, config.data.name, config.model.name, config.num_hiddens, config.layers)
