"""What a study keeps of a configuration that has been judged, and how configurations stand: the best, the front."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from ablate.analysis.trials import objective_text
from ablate.config.metrics import METRICS
from ablate.searching.evaluation import Candidate
from ablate.searching.race import Scale, estimate, interval
from ablate.searching.settings import Objective, Settings

COPIED = ("seeds", "metrics", "n", "last_epoch", "dropped", "diverged")
"""What a trial has of another one of the same configuration."""


def facts_of(candidate: Candidate) -> dict[str, Any]:
    """What the study keeps of a configuration besides its value: each metric that all of its runs have, by seed."""
    metrics = sorted({name for run in candidate.runs.values() for name in run})
    whole = [name for name in metrics if all(name in run for run in candidate.runs.values())]
    return {
        "seeds": {
            name: {str(seed): finite(value) for seed, value in candidate.results(name).items()} for name in whole
        },
        "metrics": {name: finite(estimate(candidate.results(name), scale_of(name))) for name in whole},
        "n": len(candidate.runs),
        "last_epoch": max(candidate.reported, default=None),
        "seconds": candidate.seconds,
    }


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def scale_of(metric: str) -> Scale:
    """The scale of what is measured beside the objectives, too."""
    return Scale.of(metric, METRICS[metric].better if metric in METRICS else "lower")


def seeds_of(trial: FrozenTrial, objective: Objective) -> dict[int, float]:
    """Seed → value of a told trial; the worst there is where a run diverged."""
    stored, worst = trial.user_attrs.get("seeds", {}).get(objective.name, {}), objective.scale.worst
    return {int(seed): worst if value is None else float(value) for seed, value in stored.items()}


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial came to its end and is not the repetition of another."""
    return trial.state == TrialState.COMPLETE and trial.user_attrs.get("excluded") != "duplicate"


def with_values(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that count and have a finite value of every objective."""
    return [trial for trial in trials if counts(trial) and all(map(math.isfinite, trial.values))]


def ranked(trials: Sequence[FrozenTrial], settings: Settings) -> list[FrozenTrial]:
    """Single objective: the trials with all their seeds and a finite value, best first, each configuration once."""
    sign = 1 if settings.objectives[0].better == "lower" else -1
    whole: dict[str, FrozenTrial] = {}
    for trial in trials:
        if not counts(trial):
            continue
        given = trial.user_attrs.get("n", 0)
        if math.isfinite(trial.values[0]) and (given >= len(settings.seeds) or not settings.trains):
            whole.setdefault(str(trial.user_attrs.get("key", trial.number)), trial)
    return sorted(whole.values(), key=lambda trial: sign * trial.values[0])


def front(trials: Sequence[FrozenTrial], settings: Settings) -> list[FrozenTrial]:
    """Several objectives: the trials that no other one beats in all of them, in the order of the first."""
    signs = np.array([1 if objective.better == "lower" else -1 for objective in settings.objectives])
    told_ones = [trial for trial in with_values(trials) if not trial.user_attrs.get("diverged")]
    points = [signs * np.array(trial.values) for trial in told_ones]
    kept = [
        trial
        for trial, point in zip(told_ones, points, strict=True)
        if not any((other <= point).all() and (other < point).any() for other in points)
    ]
    return sorted(kept, key=lambda trial: trial.values[0])


def best_so_far(trials: Sequence[FrozenTrial], settings: Settings) -> str:
    """`best 7.81 (7.62 to 8.01) in trial 12`, on the seeds of the search."""
    if len(settings.objectives) > 1:
        return f"{len(front(trials, settings))} on the front"
    best = next(iter(ranked(trials, settings)), None)
    if best is None:
        return ""
    low, high = interval(seeds_of(best, settings.leading), settings.leading.scale)
    if not settings.trains or math.isnan(low):
        return f"best {values_text(settings, best.values)} in trial {best.number}"
    return f"best {best.value:.4g} ({low:.4g} to {high:.4g}) in trial {best.number}"


def values_text(settings: Settings, values: Sequence[float]) -> str:
    """`9.874, 58,123`: the values of the objectives, in their order; of fewer values the first of them."""
    return ", ".join(objective_text(one.name, value) for one, value in zip(settings.objectives, values, strict=False))
