"""A search as it is stored: the study itself, or trials.csv and search.json, which outlive it. Loads no torch."""

import csv
import io
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from ablate.analysis.trial_rows import YEARS, is_moment
from ablate.analysis.trials import leading, read_table, search_facts, strange_dimension, trials_frame
from ablate.config.columns import as_typed
from ablate.config.errors import RIGHTS, ROOM, UserError
from ablate.records.csv_text import as_text
from ablate.records.kinds import fits, misfit
from ablate.records.places import JOURNAL, SQLITE
from ablate.records.results import former_settings

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, JournalStorage, RDBStorage

STATES = {
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "pruned",
}
LAST = ("n", "last_epoch", "started", "ended", "seconds", "worker", "setting_id", "duplicate_of", "again", "reason")
"""Columns of the table of trials after the knobs and the metrics."""


@dataclass(frozen=True)
class StoredSearch:
    """What is known of a search from its folder."""

    trials: pd.DataFrame  # as trials_frame has them
    space: dict[str, Any]  # knob → its dimension
    objectives: list[str]
    facts: dict[str, Any]  # search.json: finalists, winner, baseline; empty where the search has not concluded
    skipped: list[str] = field(default_factory=list)  # damaged trials and missing columns, a line on each

    @property
    def several(self) -> bool:
        return len(self.objectives) > 1

    @property
    def primary(self) -> str:
        """The objective by which configurations are ranked, pruned and raced."""
        return leading(self.objectives)

    def reported(self, objective: str) -> str:
        """The metric that reports what an objective has chosen: the same on the test data, where there are any."""
        return str((self.facts.get("reported") or {}).get(objective, objective))

    @property
    def compared_by(self) -> str:
        """The metric by which the winner is compared with the baseline."""
        return str(self.facts.get("compared_by") or self.primary)


def stored_search(folder: Path) -> StoredSearch | None:
    """The search in this folder; None where there is none.

    trials.csv and search.json are written at the end of a search: a study in the folder that is newer, or that has
    not come to an end, is read itself. Raises UserError for what is there and cannot be read.
    """
    table, summary = folder / "trials.csv", folder / "search.json"
    facts = search_facts(folder) if summary.is_file() else {}
    changed = max((_changed(folder / f"{name}{end}") for name in (SQLITE, JOURNAL) for end in ("", "-wal")), default=0)
    if facts and _changed(table) >= changed:
        objectives = [str(objective["name"]) for objective in facts["settings"]["objectives"]]
        frame, skipped = trials_frame(folder, facts["space"], objectives)
        return _of_today(folder, _of_columns(table, frame, facts["space"], objectives, facts, skipped))
    if not changed:
        return None
    trials, design = read_study(folder)
    if not design:
        return None  # begun, and stopped before it knew what to search
    path = _study_path(folder)
    space, objectives = _designed(path, design)
    whole, skipped = _whole(trials, len(objectives))
    text = trial_table(whole, list(space), objectives)
    try:
        frame, more = read_table(text, space, objectives)
    except ValueError as error:
        raise UserError(f"the study {path} cannot be read: {str(error).splitlines()[0]}") from error
    skipped = [f"the study {path}, {problem}" for problem in skipped + more]
    return _of_today(folder, _of_columns(path, frame, space, objectives, facts, skipped))


def _of_columns(
    path: Path,
    trials: pd.DataFrame,
    space: Mapping[str, Any],
    objectives: list[str],
    facts: dict[str, Any],
    skipped: list[str],
) -> StoredSearch:
    """A search of the knobs that its trials have."""
    lacking = [f"{path} lacks the column {name}" for name in space if name not in trials]
    there = {name: one for name, one in space.items() if name in trials}
    return StoredSearch(trials, there, objectives, facts, [*lacking, *skipped])


def _designed(path: Path, design: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The space and the objectives that a study was begun with. Raises UserError where these are none."""
    wrong = next((name for name in DESIGN if not design.get(name)), "") or misfit(design, DESIGN)
    if not wrong and (knob := strange_dimension(design["space"])):
        wrong = f"space.{knob}"
    if wrong:
        raise UserError(f"the study {path} is not as a search writes it ({wrong})")
    return dict(design["space"]), list(design["objectives"])


DESIGN: dict[str, Any] = {"space": dict[str, dict[str, Any]], "objectives": list[str]}
"""What a study was begun with, as far as its report needs it, each with its type."""
ATTRIBUTES: dict[str, Any] = {
    "n": int,
    "metrics": dict[str, float | None],
    "readings": dict[str, float],
    "seeds": dict[str, dict[str, float | None]],
    "tries": int,
    **dict.fromkeys(("last_epoch", "duplicate_of", "again"), int | None),
    **dict.fromkeys(("worker", "key", "reason", "excluded", "began_at", "ended_at"), str | None),
    "seconds": float | None,
}
"""What a search notes of a trial, each with its type."""


def _whole(trials: Sequence[FrozenTrial], objectives: int) -> tuple[list[FrozenTrial], list[str]]:
    """The trials that are as a search notes them, and a line on each of the others."""
    wrong = {trial.number: strange_trial(trial, objectives) for trial in trials}
    whole = [trial for trial in trials if not wrong[trial.number]]
    return whole, [f"trial {number}: {what} is not as a search writes it" for number, what in wrong.items() if what]


def strange_trial(trial: FrozenTrial, objectives: int) -> str:
    """What of a trial is of another type than its attribute; empty where nothing is."""
    if found := misfit(trial.user_attrs, ATTRIBUTES):
        return found
    for name in ("began_at", "ended_at"):
        if (moment := trial.user_attrs.get(name)) and not is_moment(moment):
            return name
    for name, at in (("its start", trial.datetime_start), ("its end", trial.datetime_complete)):
        if at is not None and at.year not in YEARS:
            return name
    if not all(epoch.isdecimal() for epoch in trial.user_attrs.get("readings", {})):
        return "readings"
    if not fits([*trial.intermediate_values.values()], list[float]):
        return "a reading"
    values = list(trial.values or ())
    whole = fits(values, list[float]) and (len(values) == objectives or trial.state != TrialState.COMPLETE)
    return "" if whole else "values"


def _of_today(folder: Path, found: StoredSearch) -> StoredSearch:
    """Settings by the ids that they have now, so that a trial finds its runs; knobs by the names that are typed."""
    if "setting_id" in found.trials and found.trials["setting_id"].notna().any():
        now = former_settings(folder)
        ids = found.trials["setting_id"].map(lambda one: now.get(one, one))
        found = replace(found, trials=found.trials.assign(setting_id=ids))
    return _by_bare_names(found)


def _by_bare_names(found: StoredSearch) -> StoredSearch:
    """The knobs of a function as they are typed: `lr` for `task.lr`."""
    names = {name: bare for name in found.space if (bare := as_typed(name)) not in found.trials}
    space = {names.get(name, name): facts for name, facts in found.space.items()}
    return replace(found, trials=found.trials.rename(columns=names), space=space)


def _changed(path: Path) -> float:
    """When a file was last written, in seconds; 0 where there is none."""
    return path.stat().st_mtime if path.is_file() else 0.0


def sqlite(path: Path, **connect: Any) -> "RDBStorage":
    """The studies in a SQLite file; `connect` is for sqlite3.connect.

    The path is handed over as it is: in the text of an address a `?`, `#`, `%` or `{` would mean something.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.pool import QueuePool

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(path, **{"check_same_thread": False} | connect)

    return RDBStorage("sqlite://", engine_kwargs={"creator": opened, "poolclass": QueuePool})


SQLITE_REMEDIES = {
    sqlite3.SQLITE_FULL: ROOM,
    sqlite3.SQLITE_IOERR: "check the disk and the room on it, or use another folder",
    sqlite3.SQLITE_READONLY: RIGHTS,
    sqlite3.SQLITE_PERM: RIGHTS,
    sqlite3.SQLITE_CANTOPEN: "check that its folder is there and may be written to",
    sqlite3.SQLITE_BUSY: "another program holds it: end that one, or try again later",
    sqlite3.SQLITE_LOCKED: "another program holds it: end that one, or try again later",
    sqlite3.SQLITE_CORRUPT: "move it away; the same command then begins anew, with all runs that are finished",
    sqlite3.SQLITE_NOTADB: "move it away; the same command then begins anew, with all runs that are finished",
}
"""What can be done about an error of SQLite, by its primary code."""


def sqlite_remedy(error: BaseException) -> str:
    """`; free some space there, …` for an error that SQLite raised, or that was raised because of one; else nothing."""
    seen: BaseException | None = error
    while seen is not None:
        cause = getattr(seen, "orig", None) or seen  # SQLAlchemy keeps it there
        remedy = SQLITE_REMEDIES.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
        if remedy is not None:
            return f"; {remedy}"
        seen = seen.__cause__
    return ""


def journal(path: Path) -> "JournalStorage":
    """The studies in a journal."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


def _study_path(folder: Path) -> Path:
    return folder / SQLITE if (folder / SQLITE).is_file() else folder / JOURNAL


def read_study(folder: Path) -> tuple[list[FrozenTrial], dict[str, Any]]:
    """The trials of the study in a search's folder, and what it was begun with.

    Raises UserError where it cannot be read: of another version of Optuna, damaged, or in a folder without the right
    to write, which SQLite needs even for reading.
    """
    path = _study_path(folder)
    storage: BaseStorage | None = None
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = sqlite(path.resolve()) if path.name == SQLITE else journal(path)
        names = optuna.get_all_study_names(storage)
        if not names:
            return [], {}
        name = folder.resolve().name if folder.resolve().name in names else names[0]
        study = optuna.load_study(study_name=name, storage=storage)
        return study.get_trials(deepcopy=False), dict(study.user_attrs.get("design", {}))
    except Exception as error:  # Optuna, SQLAlchemy and SQLite each have errors of their own
        raise UserError(
            f"the study {path} cannot be read: {str(error).splitlines()[0]}{sqlite_remedy(error)}"
        ) from error
    finally:
        optuna.logging.set_verbosity(before)
        if isinstance(storage, optuna.storages.RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


# --- trials as rows -------------------------------------------------------------------------------------


def trial_table(trials: Sequence[FrozenTrial], knobs: Sequence[str], objectives: Sequence[str]) -> str:
    """The text of trials.csv; a knob that was chosen to be null says so, one that did not exist is empty."""
    rows = trial_rows(trials, knobs, objectives)
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in LAST]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*(columns or ["number", "state", *knobs, *objectives]), *LAST], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: as_text(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def trial_rows(trials: Sequence[FrozenTrial], knobs: Sequence[str], objectives: Sequence[str]) -> list[dict[str, Any]]:
    """One row per trial: number, state, the knobs, the objectives, seeds, times, process, reason."""
    rows = []
    for trial in trials:
        attributes, readings = trial.user_attrs, readings_of(trial)
        started, ended, seconds = times(trial)
        values: dict[str, Any] = dict.fromkeys(objectives)
        if trial.state == TrialState.COMPLETE:
            values = dict(zip(values, trial.values, strict=True))
        elif trial.state == TrialState.PRUNED and readings:
            values[leading(objectives)] = readings[max(readings)]
        others = {name: value for name, value in attributes.get("metrics", {}).items() if name not in values}
        rows.append(
            {
                "number": trial.number,
                "state": state_of(trial),
                **{name: _written(trial.params, name) for name in knobs},
                **values,
                **others,
                "n": attributes.get("n", 0),
                "last_epoch": attributes.get("last_epoch"),
                "started": _stamp(started),
                "ended": _stamp(ended),
                "seconds": seconds,
                "worker": attributes.get("worker"),
                "setting_id": attributes.get("key"),
                "duplicate_of": attributes.get("duplicate_of"),
                "again": attributes.get("again"),
                "reason": attributes.get("reason"),
            }
        )
    return rows


def state_of(trial: FrozenTrial) -> str:
    """done, dropped, pruned, diverged, failed, running, waiting; duplicate and reused for those that took no slot."""
    excluded = trial.user_attrs.get("excluded")
    if excluded:
        return str(excluded)
    if trial.state != TrialState.COMPLETE:
        return STATES[trial.state]
    return next((word for word in ("diverged", "dropped") if trial.user_attrs.get(word)), "done")


def readings_of(trial: FrozenTrial) -> dict[int, float]:
    """Epoch → primary metric, as reported to the pruner; of several objectives Optuna keeps none, so we do."""
    kept: Mapping[str, float] = trial.user_attrs.get("readings", {})
    return dict(trial.intermediate_values) or {int(epoch): float(value) for epoch, value in kept.items()}


def _written(params: Mapping[str, Any], name: str) -> Any:
    """A chosen value; null is a choice, and not the same as none."""
    return "null" if name in params and params[name] is None else params.get(name)


def times(trial: FrozenTrial) -> tuple[datetime | None, datetime | None, float | None]:
    """When a trial began and ended, in UTC, and how many seconds it took.

    Searches stamp their trials in UTC and measure how long they take on a clock that only goes forwards. A study that
    is older has what Optuna notes: local time without its zone, taken for that of this machine; the hour that comes
    twice when clocks go back then makes no trial end before it began.
    """
    attributes = trial.user_attrs
    started = _utc(attributes.get("began_at")) or _of_local(trial.datetime_start)
    ended = _utc(attributes.get("ended_at")) or _of_local(trial.datetime_complete)
    seconds = attributes.get("seconds")
    if started is None or ended is None:
        return started, ended, seconds
    if "ended_at" not in attributes and seconds is not None:  # the stamps of an older study may be an hour off
        ended = started + timedelta(seconds=float(seconds))
    if seconds is None:
        seconds = round(max(0.0, (ended - started).total_seconds()), 3)
    return started, max(started, ended), float(seconds)


def _utc(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written).astimezone(UTC) if written else None


def _of_local(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None


def _stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment is not None else None
