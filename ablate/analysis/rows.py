"""The rows of a frame of runs, made from records: what the runs of a kind have in common once for all of them."""

import marshal
import math
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from ablate.config.columns import added_later, columns, columns_in, common_added_later, experiment_values, own_values
from ablate.config.dependence import gates_text
from ablate.config.metrics import METRICS, FailedMetrics, followed, followed_of, loss_metrics, metrics_of
from ablate.config.registry import FIRST_TASK, NO_DATA, TASKS, task_name
from ablate.records.devices import GPU_FACTS
from ablate.records.record import outdated
from ablate.records.summaries import RunSummary

IDS = ("run_id", "setting_id", "seed", "status")
"""The first columns of every frame of runs."""


COUNTS = ("parameters", "updates_per_epoch", "tokens_per_epoch", "train_tokens")
"""What is counted of every network."""


class SettingKnobs:
    """What all runs of a setting have in common."""

    def __init__(self, knobs: Mapping[str, Any]) -> None:
        self.knobs = knobs
        self.columns = frozenset(columns())
        """All columns that may be knobs."""


class _Place(NamedTuple):
    """Where a value stands that each run has of its own."""

    column: str


ELSEWHERE = _Place("")
"""Of a value that no column of the file has."""


class Kinds:
    """Of what kind runs are, whose settings are each made once."""

    def __init__(self) -> None:
        self._settings: dict[bytes, SettingKnobs] = {}
        self._alike: dict[int, Kind] = {}  # by the first record, which the kind keeps, so that no other has its number

    def of(self, record: Mapping[str, Any]) -> "Kind":
        """That of a run, which it shares with those whose records are known to be alike."""
        if not isinstance(record, RunSummary):
            return Kind(record, self)
        if id(record.first) not in self._alike:
            self._alike[id(record.first)] = Kind(record.first, self)
        return self._alike[id(record.first)]

    def setting(self, record: Mapping[str, Any]) -> SettingKnobs:
        """That of a run. Raises KeyError or TypeError for a record that is not whole."""
        # what tells 1 from 1.0, as equality does not, and costs a third of their texts
        shared = marshal.dumps((record["config"] | {"seed": None}, record["corpus"]), 2)
        if shared not in self._settings:
            TASKS.recall(record)  # what it measures decides the names of its knobs
            self._settings[shared] = SettingKnobs(knob_values(record["config"], record["corpus"]))
        return self._settings[shared]


class Kind:
    """Runs of a setting whose records are alike but for what was measured, or a single one."""

    def __init__(self, first: Mapping[str, Any], kinds: Kinds) -> None:
        self._first, self._kinds = first, kinds
        self._made: tuple[Mapping[str, Any], list[str], list[str]] | None = None
        self.outdated = outdated(first)
        """`ablate.records.record.outdated`, of all of them."""

    @cached_property
    def setting(self) -> SettingKnobs:
        """Raises KeyError or TypeError for a record that is not whole."""
        return self._kinds.setting(self._first)

    def row(self, record: Mapping[str, Any], curve: Callable[[], Any] | None, failed: FailedMetrics) -> "Row":
        """That of one of the runs; `curve` reads its curve for metrics that follow from that, and `failed` is told of
        what fails.
        """
        if not isinstance(record, RunSummary):
            TASKS.recall(record)
            own = measured_values(record, metrics_of(record, curve, failed), self.setting.columns)
            return Row(self.setting, NOTHING, own)
        common, names, columns = self._common(record)
        own = dict(zip(names, record.in_columns(columns), strict=True))
        own |= {"run_id": record["run_id"], "seed": record["seed"]} | followed_of(record, curve, failed)
        return Row(self.setting, common, own)

    def _common(self, one: RunSummary) -> tuple[Mapping[str, Any], list[str], list[str]]:
        """What the rows of all runs have in common, with a place where each has a value of its own; the columns of
        which these are measured; and where they stand in the file.
        """
        if self._made is None:
            TASKS.recall(self._first)
            places = {part: {name: _Place(column) for name, column in own.items()} for part, own in one.own.items()}
            parts = {part: self._first[part] | own for part, own in places.items()}
            record = {**self._first, **parts, "run_id": ELSEWHERE, "seed": ELSEWHERE}
            metrics = parts["metrics"] | {metric.name: ELSEWHERE for metric in followed()}
            row = measured_values(record, metrics, self.setting.columns)
            at = {name: value.column for name, value in row.items() if isinstance(value, _Place) and value.column}
            self._made = row, list(at), list(at.values())
        return self._made


class Row(NamedTuple):
    """The columns of a run: those of its setting, others that it has in common with further runs, and its own."""

    setting: SettingKnobs
    common: Mapping[str, Any]
    own: Mapping[str, Any]


NOTHING: Mapping[str, Any] = {}
"""What a run has in common whose record was parsed."""


class _Numbers:
    """Objects that come again and again, numbered as they first come."""

    def __init__(self) -> None:
        self.of: list[Any] = []
        self._known: dict[int, int] = {}

    def number(self, one: Any) -> int:
        number = self._known.setdefault(id(one), len(self.of))
        if number == len(self.of):
            self.of.append(one)
        return number


class Rows:
    """Rows that are kept as columns, and what several have in common once: of many, rows by themselves take several
    times the memory.
    """

    def __init__(self) -> None:
        self._settings, self._commons = _Numbers(), _Numbers()
        self._setting, self._common = list[int](), list[int]()  # of each row, their numbers
        self._cells: dict[str, tuple[list[int], list[Any]]] = {}
        """Column → the rows that have a value of their own there, and these."""
        self._order: dict[str, None] = {}
        """The columns: as one row after the other brings them."""

    def __len__(self) -> int:
        return len(self._setting)

    def append(self, row: Row) -> None:
        known = len(self._settings.of), len(self._commons.of), len(self._cells)
        at = len(self._setting)
        for name, value in row.own.items():
            if name not in self._cells:
                self._cells[name] = [], []
            rows, values = self._cells[name]
            rows.append(at)
            # most columns of a long frame repeat themselves: the text of the row before is not kept again
            values.append(values[-1] if values and value.__class__ is str and values[-1] == value else value)
        self._setting.append(self._settings.number(row.setting))
        self._common.append(self._commons.number(row.common))
        if known != (len(self._settings.of), len(self._commons.of), len(self._cells)):
            self._order |= dict.fromkeys([*IDS, *row.setting.knobs, *row.common, *row.own])

    def frame(self) -> pd.DataFrame:
        """All rows; NaN where one has no such column."""
        names = {*self._cells}.union(*self._commons.of)
        own = pd.DataFrame({name: self._column(name) for name in self._order if name in names})
        settings = self._settings.of
        knobs = dict.fromkeys(name for setting in settings for name in setting.knobs if name not in names)
        values = {name: [setting.knobs.get(name, math.nan) for setting in settings] for name in knobs}
        return pd.concat([own, pd.DataFrame(values).take(self._setting).reset_index(drop=True)], axis=1)[
            list(self._order)
        ]

    def _column(self, name: str) -> list[Any]:
        rows, values = self._cells.get(name, ([], []))
        if len(values) == len(self):
            return values
        common = [one.get(name, math.nan) for one in self._commons.of]
        column = [*map(common.__getitem__, self._common)]
        for row, value in zip(rows, values, strict=True):
            column[row] = value
        return column


def measured_values(record: Mapping[str, Any], metrics: Mapping[str, Any], knobs: Collection[str]) -> dict[str, Any]:
    """The columns of one run that are none of its `knobs`; `metrics`: what was measured, and what follows from it."""
    config, corpus = record["config"], record["corpus"]
    divergence = record["divergence"] or {}
    if corpus.get("unit") == NO_DATA:  # nothing that is known of networks is known of it
        metrics = {**dict.fromkeys(loss_metrics()), **metrics}
    return {
        "run_id": record["run_id"],
        "setting_id": record["setting_id"],
        "seed": record["seed"],
        "status": record["status"],
        **{metric.name: metrics[metric.name] for metric in METRICS if metric.name in metrics},
        "wall_s": record["timing"]["wall_s"],
        "started": record["timing"].get("started"),
        "diverged_epoch": divergence.get("epoch"),
        **({"ended_by": record["ended"]["rule"]} if record.get("ended") else {}),
        **{name: math.nan for name in COUNTS if name not in record["counts"]},
        **{name: count for name, count in record["counts"].items() if name not in knobs},
        "engine": record["engine"],
        "threads": record["timing"]["threads"],
        "device": record["timing"]["device"],
        "cpu": record["environment"]["cpu"],
        **{name: _cell(record["environment"][name]) for name in GPU_FACTS if name in record["environment"]},
        **{name: _cell(record["environment"].get(name)) for name in ("cores", "platform", "python", "ablate")},
        "torch": record["environment"]["torch"],
        "git_commit": record["environment"]["git_commit"],
        "git_dirty": _cell(record["environment"].get("git_dirty")),
        "reused_from": record["reused_from"],
        "sees_future": record.get("sees_future"),
        "match": config.get("match"),
        **({"in_files": True} if corpus.get("files") else {}),
        **({"equal_updates": config["updates"]} if config.get("updates") is not None else {}),
    }


def _cell(value: Any) -> Any:
    """A value that no record has to have, and that may be anything: of several values the text."""
    return str(value) if isinstance(value, list | dict) else value


def knob_values(config: Mapping[str, Any], corpus: Mapping[str, Any]) -> dict[str, Any]:
    """What may tell two settings apart, of a stored config and its corpus; None where a knob does not apply."""
    model, task = config["model"], config.get("task", {"name": FIRST_TASK})
    schedule, data = config.get("schedule", {"name": "constant"}), config["data"]
    absent = added_later("model")
    known = {
        **common_added_later(),
        **config,
        **{name: model.get(name, value) for name, value in absent.items()},
        **own_values("model", model),
        **own_values("optimizer", config["optimizer"]),
        **own_values("schedule", schedule),
        **own_values("task", task),
        **own_values("data", data),
        "task": task_name(config),
        "model": model["name"],
        "gates": gates_text(model["gates"]),
        "readout": model["readout"],
        "write_back": model["write_back"],
        "optimizer": config["optimizer"]["name"],
        "schedule": schedule.get("name", "constant"),
        "corpus": corpus["name"],
        "corpus_sha256": corpus["sha256"],
        "unit": corpus.get("unit", data["tokens"]),
        "cleaning": data["cleaning"],
    }
    names = columns_in(known)
    if corpus.get("unit") == NO_DATA:
        known = dict.fromkeys(("corpus", "model", "task"), task["name"])
        known |= {"unit": NO_DATA, "corpus_sha256": corpus["sha256"]} | experiment_values(task)
        common = [name for name in names if not name.startswith("task.")]
        return {name: known.get(name) for name in dict.fromkeys([*common, *known])}
    return {name: known[name] for name in names}
