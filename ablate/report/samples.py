"""What the trained networks wrote, as it stands on the page."""

from typing import Any

import pandas as pd

from ablate.analysis.tasks import facts_of
from ablate.config.registry import FIRST_TASK, TASKS
from ablate.records import results
from ablate.report.answer import best_setting
from ablate.report.blocks import Block, Sample, Samples
from ablate.report.material import Material
from ablate.report.sections import Made, Section
from ablate.report.tables import setting_name
from ablate.report.wording import heading, shown_metrics, task_of

MOST_SAMPLES = 8
"""Settings whose texts are shown one by one; of more, only the best of each model."""


def samples(m: Material) -> list[Sample]:
    """What the networks wrote: of each setting, or of the best of each model, the run with the median of the metric
    that its task was made for, and what that is."""
    first = shown_metrics(m.settings)[0]
    finished = m.runs[m.runs["status"] == "ok"]
    shown = []
    for setting in _few(m.settings[m.settings["n"] > 0], first)[: 3 * MOST_SAMPLES]:
        own = finished[finished["setting_id"] == setting["setting_id"]].sort_values(first)
        shown.append((setting, own.iloc[(len(own) - 1) // 2]))
    records = results.read_some(m.folder, [str(run["run_id"]) for _, run in shown])
    found = []
    for setting, run in shown:
        pairs = _told(records.get(str(run["run_id"]), {}), str(setting["task"]))
        if pairs:
            reached = f"{heading(first)} {run[first]:.3g}" if pd.notna(run[first]) else "–"
            who = f"{setting_name(setting, m.swept)} (seed {run['seed']}, {reached})"
            found.append(Sample(who, pairs))
    return found


def _few(settings: pd.DataFrame, metric: str) -> list[pd.Series]:
    """Each setting; where they are many, the best of each model by this metric."""
    if len(settings) <= MOST_SAMPLES:
        return [setting for _, setting in settings.iterrows()]
    best = (best_setting(own, metric) for _, own in settings.groupby(["corpus", "model"], sort=False))
    return [setting for setting in best if setting is not None]


def _told(record: dict[str, Any], task: str) -> list[tuple[str, str]]:
    """What was given to a network, and what it made of it, as it stands on the page."""
    texts, references = record.get("text") or {}, record.get("references") or {}
    if TASKS.known(task).words.continues:
        return [(str(prefix), str(text).removeprefix(str(prefix))) for prefix, text in texts.items()]
    pairs = []
    for given, text in texts.items():
        right = references.get(given)
        meant = "" if not right else " (as the reference)" if right == text else f" (reference: {right})"
        pairs.append((str(given), f" → {str(text).strip().removeprefix('→').strip()}{meant}"))
    return pairs


def _words(m: Material) -> Any:
    """The words of the task; of several tasks, those of the first that there was."""
    return facts_of(m.settings).words if task_of(m.settings) else TASKS[FIRST_TASK].words


def _blocks(m: Material, made: Made) -> list[Block]:
    told = samples(m)
    note = f"Of each setting shown, the run with the median {heading(shown_metrics(m.settings)[0])}: {_words(m).sample}"
    return [Samples(told, note)] if told else []


TEXTS = Section("texts", lambda m: str(_words(m).samples), lambda m: not m.runs.empty, blocks=_blocks)
