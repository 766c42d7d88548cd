"""What the tasks of a frame's rows say of themselves (`ablate.tasks.facts`). Frames: one row per run or setting."""

from typing import Any

import pandas as pd

from ablate.config.registry import DATASETS, FIRST_TASK, NO_DATA, TASKS


def task_names(frame: pd.DataFrame) -> list[str]:
    """The tasks of the rows, without repeats."""
    return [str(task) for task in frame["task"].dropna().unique()] if "task" in frame else []


def facts_of(frame: pd.DataFrame) -> Any:
    """Those of the one task of all rows; of a task without any facts where there are several tasks."""
    names = task_names(frame)
    return TASKS.known(names[0] if len(names) == 1 else "" if names else FIRST_TASK)


def each_task(frame: pd.DataFrame) -> list[Any]:
    """The facts of every task of the rows."""
    return [TASKS.known(name) for name in task_names(frame)]


def says(frame: pd.DataFrame, fact: str) -> "pd.Series[Any]":
    """What the task of each row says: the value of that fact."""
    return frame["task"].map({name: getattr(TASKS.known(name), fact) for name in task_names(frame)})


def of_networks(frame: pd.DataFrame) -> bool:
    """Whether any row is of a network of ours, which has a perplexity, parameters and data."""
    return "unit" not in frame or not bool(frame["unit"].eq(NO_DATA).all())


def made_anew(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Whether the data of each row's task are new in every epoch."""
    return says(frame, "made_anew").astype(bool)


def many_questions(frame: pd.DataFrame) -> bool:
    """Whether the data sets of every row are questions of their own, of which none is compared with another."""
    return bool(says(frame, "many_questions").all())


def accuracy_by_guessing(settings: pd.DataFrame) -> float | None:
    """The accuracy of the best guess without any memory on the one data set of these settings, where it is known."""
    names = settings["corpus"].unique()
    if len(names) != 1 or names[0] not in DATASETS:
        return None
    data = DATASETS[str(names[0])]
    known = _knobs(settings) | {knob.name for knob in data.knobs}
    one = {name: settings[name].dropna().unique() for name in settings if name in known}
    alone = {name: values[0] for name, values in one.items() if len(values) == 1}
    guess: float | None = data.accuracy_by_guessing(alone)
    return guess


def _knobs(settings: pd.DataFrame) -> set[str]:
    return {name for task in each_task(settings) for name in task.options}
