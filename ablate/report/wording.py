"""What the numbers of a task are called, and what is said of networks that see the future.

Functions take the frames of `analysis`: one row per run or per setting.
"""

import numpy as np
import pandas as pd

from ablate.config.metrics import DEFAULT_METRIC, HELD_OUT_MASKED, HELD_OUT_WINDOW, METRICS

SPEED_IS = "geometric mean of process medians"
"""What a number of tokens per second is."""

DAGGER = "†"
FUTURE = "its outputs depend on later tokens, so its perplexity is no measure of prediction"
FUTURE_NOTE = f"{DAGGER} sees the future: {FUTURE}."

OWN = {
    "fill_in": ("accuracy",),
    "memory": ("accuracy",),
    "translation": ("bleu", "published_bleu", "published_loss", "accuracy"),
}
"""Task → the metrics that were made for it, the foremost first; a language model has its perplexity."""

DRAWN = OWN | {"translation": ("bleu", "published_bleu"), "language_model": (), "": ()}
"""Task → those of them that figures show; no task: rows of several."""

HEADINGS = {
    "bleu": "BLEU",
    "published_bleu": "published BLEU",
    "published_loss": "published loss",
    "accuracy": "accuracy",
    "perplexity": "perplexity",
    "tail_perplexity": "tail perplexity",
    "val_perplexity": "held-out",
}
"""Metric → its heading in a table."""

EXPLAINED = {
    "accuracy": {
        "fill_in": "Accuracy: the share of masked {unit}s of the held-out text that the network ranks first; that text "
        f"is read in windows of {HELD_OUT_WINDOW}, {100 * HELD_OUT_MASKED:g} % masked, whatever was trained on.",
        "memory": "Accuracy: the share of right answers on 512 held-out sequences, the same for all runs.",
        "translation": "Accuracy: the share of target words that are ranked first when the ones before them are given; "
        "of held-out pairs or, where none are held out, of those trained on.",
    },
    "bleu": {"translation": "BLEU: of the held-out pairs as a corpus, from 0 to 100."},
    "published_bleu": {
        "translation": "Published BLEU: the mean of BLEU(2) over the sample sentences as the course defines it, from 0 "
        "to 1; not comparable with the BLEU of a corpus."
    },
    "published_loss": {
        "translation": "Published loss: the cross-entropy per target word divided by num_steps, as the course reports "
        "it; the logarithm of our perplexity is the cross-entropy per word itself."
    },
}
"""Metric → task → a sentence on what it is."""

MEMORY_TASKS = {
    "copy": "repeat the symbols of a sequence once it has ended",
    "adding": "the sum of the two marked numbers of a sequence",
    "first-token": "the first symbol of a sequence, at its end",
    "skip": "the few symbols of a sequence in order, without the blanks between them",
    "reset": "a running count that starts again at each break",
}
"""What is asked in each memory task."""

ONE_OF_SYMBOLS = ("copy", "adding", "first-token", "skip")
"""Memory tasks in which the best guess without memory is right once in as many times as there are symbols."""


def task_of(frame: pd.DataFrame) -> str:
    """The one task of all rows; empty where there are several."""
    tasks = _tasks(frame)
    return tasks[0] if len(tasks) == 1 else "" if tasks else "language_model"


def unit_of(frame: pd.DataFrame) -> str:
    """character or word; token where there are both."""
    units = {"char": "character", "word": "word"}
    found = list(frame["unit"].unique()) if "unit" in frame else list[str]()
    return units.get(str(found[0]), "token") if len(found) == 1 else "token"


def scored(frame: pd.DataFrame) -> str:
    """Of what the perplexity is: `of the masked characters`; empty where it is that of a text, or of several tasks."""
    said = {"fill_in": f"of the masked {unit_of(frame)}s", "memory": "of the answers", "translation": "of target words"}
    return said.get(task_of(frame), "")


def perplexity_of(frame: pd.DataFrame) -> str:
    """`Training perplexity of the answers`, as a sentence begins."""
    return capital(measure_name("perplexity", frame))


def main_metric(settings: pd.DataFrame) -> str:
    """What these settings are compared by: the foremost metric of their task that all of them were measured by."""
    finished = settings[settings["n"] > 0]
    return next((name for name in own_metrics(settings) if finished[name].notna().all()), DEFAULT_METRIC)


def measure_name(metric: str, frame: pd.DataFrame) -> str:
    """A metric within a sentence: `accuracy`, `training perplexity of the answers`."""
    training = {"perplexity": "training perplexity", "tail_perplexity": "tail perplexity"}
    return f"{training[metric]} {scored(frame)}".strip() if metric in training else METRICS[metric].title


def scale_name(metric: str, frame: pd.DataFrame) -> str:
    """On what effects add up: `accuracy`, or `the logarithm of tail perplexity`."""
    return f"{'' if METRICS[metric].top else 'the logarithm of '}{measure_name(metric, frame)}"


def short_scale(metric: str) -> str:
    """The same where room is scarce: `accuracy`, `log tail perplexity`."""
    return f"{'' if METRICS[metric].top else 'log '}{HEADINGS[metric]}"


def capital(text: str) -> str:
    """As a sentence begins."""
    return f"{text[:1].upper()}{text[1:]}"


def guessed_accuracy(settings: pd.DataFrame) -> float | None:
    """The accuracy of the best guess without any memory in the one memory task of these settings, where it is known."""
    rules, symbols = set(settings["corpus"]), settings["symbols"].dropna().unique()
    if task_of(settings) != "memory" or len(rules) != 1:
        return None
    (rule,) = rules
    return 1 / float(symbols[0]) if rule in ONE_OF_SYMBOLS and len(symbols) == 1 else None


def own_metrics(frame: pd.DataFrame) -> list[str]:
    """The metrics, beside perplexity, that were made for the tasks of these rows and measured in some of them."""
    names = dict.fromkeys(metric for task in _tasks(frame) for metric in OWN.get(task, ()))
    return [name for name in names if name in frame and frame[name].notna().any()]


def shown_metrics(frame: pd.DataFrame) -> list[str]:
    """All metrics that a table shows: what settings are compared by first, the published column beside it.

    The task's own, or of language models the tail; then the perplexity of the last epoch, and the held-out one where
    measured.
    """
    first = own_metrics(frame) or [DEFAULT_METRIC] * _measured(frame, DEFAULT_METRIC)
    return [*first, "perplexity", *["val_perplexity"] * _measured(frame, "val_perplexity")]


def _measured(frame: pd.DataFrame, metric: str) -> bool:
    return metric in frame and bool(frame[metric].notna().any())


def explanations(frame: pd.DataFrame) -> list[str]:
    """A sentence on each of the tasks' own metrics."""
    return [
        EXPLAINED[metric][task].format(unit=unit_of(frame))
        for metric in own_metrics(frame)
        for task in _tasks(frame)
        if task in EXPLAINED[metric]
    ]


def _tasks(frame: pd.DataFrame) -> list[str]:
    return [str(task) for task in frame["task"].dropna().unique()] if "task" in frame else []


def sees_future(row: pd.Series) -> bool:
    """Whether a run or setting is one of a network whose outputs depend on later tokens."""
    return "sees_future" in row and row["sees_future"] is not None and row["sees_future"] == 1


def seeing(frame: pd.DataFrame) -> np.ndarray:
    """The same of each row (rows,)."""
    if "sees_future" not in frame:
        return np.zeros(len(frame), dtype=bool)
    return frame["sees_future"].eq(True).to_numpy(bool, na_value=False)


def all_seeing(settings: pd.DataFrame, knob: str, value: object) -> bool:
    """Whether every setting with this value of a knob sees the future."""
    own = [sees for one, sees in zip(settings[knob], seeing(settings), strict=True) if one == value]
    return bool(own) and all(own)


def marked(text: str, sees_future: bool) -> str:
    """The text, with a dagger where it names what sees the future."""
    return f"{text} {DAGGER}" if sees_future else text


def marked_source(settings: pd.DataFrame, source: str) -> str:
    """A source of variance, `model` or `model × lr`, with a dagger where a value of such a knob brings the future."""
    knobs = [knob for knob in source.split(" × ") if knob in settings]
    return marked(source, any(all_seeing(settings, knob, value) for knob in knobs for value in settings[knob].unique()))


def future_note(frame: pd.DataFrame) -> str:
    """The note that belongs below whatever shows these rows; empty where none of them sees the future."""
    return FUTURE_NOTE if seeing(frame).any() else ""
