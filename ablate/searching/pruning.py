"""What is measured of a configuration while it trains, kept in the study, and whether that is reason to stop it.

Optuna has intermediate values for one objective only, and some samplers fail on them where there are several: of
those they are kept as an attribute, `readings`, and shown to pruners as intermediate values of the primary metric.
"""

import copy
import math
from collections.abc import Container
from typing import Any

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from ablate.analysis.study import readings_of
from ablate.searching.settings import Objective, Settings


def store_reading(trial: Trial, settings: Settings, step: int, value: float) -> None:
    """Keep a value of the primary metric, after an epoch or of a seed; nothing of one that is not finite."""
    if not math.isfinite(value):
        return
    if len(settings.objectives) == 1:
        trial.report(value, step)
    else:
        trial.set_user_attr("readings", trial.user_attrs.get("readings", {}) | {str(step): value})


def should_prune(trial: Trial, settings: Settings) -> bool:
    """What the study's pruner says of a trial by its readings."""
    if len(settings.objectives) == 1:
        return trial.should_prune()
    study = trial.study
    view: Any = _PrimaryView(study, settings.leading)
    return study.pruner.prune(view, view.with_readings(study._storage.get_trial(trial._trial_id)))


class _PrimaryView:
    """A study of several objectives as pruners know one: with intermediate values, of its primary metric."""

    def __init__(self, study: Study, objective: Objective) -> None:
        self._study = study
        self.direction = StudyDirection.MINIMIZE if objective.better == "lower" else StudyDirection.MAXIMIZE

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return [self.with_readings(trial) for trial in self._study.get_trials(deepcopy=False, states=states)]

    @staticmethod
    def with_readings(trial: FrozenTrial) -> FrozenTrial:
        seen = copy.copy(trial)
        seen.intermediate_values = readings_of(trial)
        return seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)
