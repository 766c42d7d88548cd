"""What the numbers of a task are called, and what is said of networks that see the future.

Functions take the frames of `analysis`: one row per run or per setting.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ablate.analysis.tasks import each_task, facts_of, of_networks, task_names
from ablate.config.metrics import DEFAULT_METRIC, METRICS, by_difference, metrics_of_test
from ablate.config.registry import FIRST_TASK

SPEED_IS = "geometric mean of process medians"
"""What a number of tokens per second is."""

DAGGER = "†"
FUTURE = "its outputs depend on later tokens, so its perplexity is no measure of prediction"
FUTURE_NOTE = f"{DAGGER} sees the future: {FUTURE}."


def task_of(frame: pd.DataFrame) -> str:
    """The one task of all rows; empty where there are several."""
    tasks = task_names(frame)
    return tasks[0] if len(tasks) == 1 else "" if tasks else FIRST_TASK


def unit_of(frame: pd.DataFrame) -> str:
    """character or word; token where there are both."""
    units = {"char": "character", "word": "word"}
    found = list(frame["unit"].unique()) if "unit" in frame else list[str]()
    return units.get(str(found[0]), "token") if len(found) == 1 else "token"


def scored(frame: pd.DataFrame) -> str:
    """Of what the perplexity is: `of the masked characters`; empty where it is that of a text, or of several tasks."""
    said: str = facts_of(frame).words.scored
    return said.format(unit=unit_of(frame))


def heading(metric: str) -> str:
    """Of a metric's column in a table."""
    return METRICS.known(metric).shown_as


def perplexity_of(frame: pd.DataFrame) -> str:
    """`Training perplexity of the answers`, as a sentence begins."""
    return capital(measure_name("perplexity", frame))


def main_metric(settings: pd.DataFrame) -> str:
    """What these settings are compared by: the foremost metric of their task that all of them were measured by.

    Where there is none, what the task is compared by if not by a metric of its own: the tail perplexity.
    """
    finished = settings[settings["n"] > 0]
    names = [*tested(settings), *own_metrics(settings)]
    return next((name for name in names if finished[name].notna().all()), DEFAULT_METRIC)


def in_files(frame: pd.DataFrame) -> bool:
    """Whether what is held out of every row lies in files of its own, and not after the training text."""
    return "in_files" in frame and bool(frame["in_files"].eq(True).all())


def held_out_words(frame: pd.DataFrame, usual: str = "right after it") -> str:
    """Where the text that is held out lies: `right after it`, the training text, or in another file."""
    return "in a file of its own" if in_files(frame) else usual


def tested(frame: pd.DataFrame) -> list[str]:
    """The metrics of the test data that some of these rows have."""
    return [name for name in metrics_of_test() if _measured(frame, name) and METRICS[name].of is None]


def training_metric(settings: pd.DataFrame) -> str:
    """Of the metrics of what a network was trained on, the one to show alone: the tail where settings are compared by
    it, else the perplexity of the last epoch."""
    return DEFAULT_METRIC if main_metric(settings) == DEFAULT_METRIC else "perplexity"


def measure_name(metric: str, frame: pd.DataFrame) -> str:
    """A metric within a sentence: `accuracy`, `training perplexity of the answers`."""
    training = {"perplexity": "training perplexity", "tail_perplexity": "tail perplexity"}
    return f"{training[metric]} {scored(frame)}".strip() if metric in training else METRICS.known(metric).title


def scale_name(metric: str, frame: pd.DataFrame) -> str:
    """On what effects add up: `accuracy`, or `the logarithm of tail perplexity`."""
    return f"{'' if by_difference(metric) else 'the logarithm of '}{measure_name(metric, frame)}"


def short_scale(metric: str) -> str:
    """The same where room is scarce: `accuracy`, `log tail perplexity`."""
    return f"{'' if by_difference(metric) else 'log '}{heading(metric)}"


def what_chose(chose: str, reports: str, frame: pd.DataFrame) -> str:
    """A sentence on the data by which something was chosen, and those by which it is reported."""
    words = facts_of(frame).words
    s = "" if words.plural else "s"
    if METRICS.known(reports).of_test:
        return f"The {measure_name(chose, frame)} chose; the test {words.data}, by which nothing was chosen, report{s}."
    return f"The same {words.data} chose and report{s}."


def capital(text: str) -> str:
    """As a sentence begins."""
    return f"{text[:1].upper()}{text[1:]}"


def own_metrics(frame: pd.DataFrame) -> list[str]:
    """The metrics, beside perplexity, that were made for the tasks of these rows and measured in some of them."""
    names = dict.fromkeys(metric for task in each_task(frame) for metric in task.own_metrics)
    return [name for name in names if _measured(frame, name) and not hidden(name, frame)]


def further_metrics(frame: pd.DataFrame) -> list[str]:
    """Metrics of a person's own that are to be shown beside those of the tasks."""
    own = {name for task in each_task(frame) for name in task.own_metrics}
    return [metric.name for metric in METRICS if metric.shown and metric.name not in own]


def hidden(metric: str, frame: pd.DataFrame) -> bool:
    """Whether a metric is the course's, and none of these settings repeats what the course did."""
    if not METRICS.known(metric).of_course or "repeats_course" not in frame:
        return False
    return not bool(frame["repeats_course"].any())


def drawn_metrics(frame: pd.DataFrame) -> list[str]:
    """Those of them that figures show, of the one task of all rows."""
    drawn = (*facts_of(frame).drawn_metrics, *further_metrics(frame))
    further = [name for name in further_metrics(frame) if _measured(frame, name)]
    return [name for name in [*own_metrics(frame), *further] if name in drawn]


def epoch_metrics(frame: pd.DataFrame) -> list[str]:
    """The metrics of these tasks that epochs have, and not only the trained network."""
    return list(dict.fromkeys(name for task in each_task(frame) for name in task.metrics))


def shown_metrics(frame: pd.DataFrame) -> list[str]:
    """All metrics that a table shows: what settings are compared by first, the published column beside it.

    The task's own, or of language models the tail; then the perplexity of the last epoch, and the held-out one where
    measured.
    """
    first = own_metrics(frame) or [DEFAULT_METRIC] * _measured(frame, DEFAULT_METRIC)
    first = [*first, *(name for name in further_metrics(frame) if _measured(frame, name))]
    if not of_networks(frame):  # all runs diverged: the columns are those of the experiment, and empty
        mains = dict.fromkeys(task.main for task in each_task(frame))
        return first or [name for name in mains if name in frame] or [DEFAULT_METRIC]
    first = [*tested(frame), *(name for name in first if not METRICS.known(name).of_test)]
    further = [name for name in ("val_perplexity", *across_texts(frame)) if _measured(frame, name)]
    return [*first, "perplexity", *further]


def across_texts(frame: pd.DataFrame) -> list[str]:
    """The measure by which language models of different texts, or of the same one in other tokens, are compared."""
    several = "corpus_sha256" in frame and frame["corpus_sha256"].nunique() > 1
    names = ["bits_per_character", "test_bits_per_character"]
    return names if several and task_of(frame) == FIRST_TASK else []


def _measured(frame: pd.DataFrame, metric: str) -> bool:
    return metric in frame and bool(frame[metric].notna().any())


def explanations(frame: pd.DataFrame) -> list[str]:
    """A sentence on each of the tasks' own metrics."""
    said = [
        str(task.explained.get(metric) or METRICS.known(metric).explained).format(unit=unit_of(frame))
        for metric in own_metrics(frame)
        for task in each_task(frame)
        if metric in task.own_metrics
    ]
    said += [
        METRICS[name].explained
        for name in (*tested(frame), *further_metrics(frame), *across_texts(frame))
        if _measured(frame, name)
    ]
    return [one for one in dict.fromkeys(said) if one]


def epoch_measure(settings: pd.DataFrame) -> str:
    """What epochs have of that by which settings are compared: the task's own or the held-out measure, else that of the
    training text. Never one of the test data."""
    names = [*epoch_metrics(settings), "val_perplexity"]
    found = (name for name in names if not METRICS.known(name).of_test and _measured(settings, name))
    return next((name for name in found if settings.loc[settings["n"] > 0, name].notna().all()), "perplexity")


def sees_future(row: pd.Series | Mapping[str, Any]) -> bool:
    """Whether a run or setting is one of a network whose outputs depend on later tokens."""
    return "sees_future" in row and row["sees_future"] is not None and row["sees_future"] == 1


def seeing(frame: pd.DataFrame) -> np.ndarray:
    """The same of each row (rows,)."""
    if "sees_future" not in frame:
        return np.zeros(len(frame), dtype=bool)
    return frame["sees_future"].eq(True).to_numpy(bool, na_value=False)


def all_seeing(settings: pd.DataFrame) -> Callable[[str, object], bool]:
    """A function: whether every setting with this value of a knob sees the future."""
    seen = seeing(settings)

    def of(knob: str, value: object) -> bool:
        own = [sees for one, sees in zip(settings[knob], seen, strict=True) if one == value] if seen.any() else []
        return bool(own) and all(own)

    return of


def marked(text: str, sees_future: bool) -> str:
    """The text, with a dagger where it names what sees the future."""
    return f"{text} {DAGGER}" if sees_future else text


def marked_source(settings: pd.DataFrame, source: str) -> str:
    """A source of variance, `model` or `model × lr`, with a dagger where a value of such a knob brings the future."""
    knobs, seen = [knob for knob in source.split(" × ") if knob in settings], all_seeing(settings)
    return marked(source, any(seen(knob, value) for knob in knobs for value in settings[knob].unique()))


def future_note(frame: pd.DataFrame) -> str:
    """The note that belongs below whatever shows these rows; empty where none of them sees the future."""
    return FUTURE_NOTE if seeing(frame).any() else ""
