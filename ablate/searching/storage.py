"""The study behind a search: where it is kept, how it is opened, and what it was begun with."""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna import Study
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.trial import FrozenTrial
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)

from ablate.analysis.study import journal, sqlite, sqlite_remedy
from ablate.analysis.trials import strange_dimension
from ablate.config.errors import UserError, os_reason, short_path
from ablate.records.kinds import fits, misfit
from ablate.records.places import JOURNAL, SQLITE

PATIENCE_S = 60
"""How long to wait for a SQLite file that another process is writing."""
CONNECT_S = 10
"""How long to wait for a database that does not answer."""
ATTEMPTS = 5
"""Several processes that create the tables at once get into each other's way; the later ones try again."""
DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class StorageLost(UserError):
    """The database stopped answering in the middle of a search."""


@dataclass(frozen=True)
class Location:
    """Where a study is kept: a file, which is never put into the text of an address, or a database."""

    kind: str  # memory, sqlite, journal or database
    path: Path = Path()
    url: URL | None = None

    def __str__(self) -> str:
        """As people read it, without a password."""
        if self.url is not None:
            return self.url.render_as_string(hide_password=True)
        return short_path(self.path) if self.kind != "memory" else "memory"


def location(storage: str | None, folder: Path) -> Location:
    """Where a study is: `sqlite` is study.db, `journal` is study.journal in the search's folder; else a URL.

    `null` is the one of the two that is there, and study.db where neither is. Raises UserError for what is none.
    """
    if storage == "memory":
        return Location("memory")
    if storage is None and (folder / JOURNAL).is_file() and not (folder / SQLITE).is_file():
        storage = "journal"
    if storage in (None, "sqlite"):
        return Location("sqlite", (folder / SQLITE).resolve())
    if storage == "journal":
        return Location("journal", (folder / JOURNAL).resolve())
    text = str(storage)
    if "://" not in text:
        raise UserError(
            f"storage is {text!r}; write sqlite, journal, or a URL such as postgresql://user:password@host/database"
        )
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise UserError(f"storage {text!r} is no URL of a database: {first_line(error)}") from error
    return Location("database", url=url.set(drivername=DRIVERS.get(url.drivername, url.drivername)))


UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""What Optuna raises where what it finds is not what it has written."""


def damaged(title: str, what: str) -> UserError:
    """The error for a study in which something is not as a search writes it."""
    return UserError(
        f"{title} is damaged ({what}); move it away, or give another name=NAME: runs that are finished "
        "are not trained again"
    )


@contextmanager
def opened(where: Location) -> Iterator[BaseStorage]:
    """The storage that is there. Raises UserError, in one line, where it cannot be reached."""
    if where.kind == "memory":  # gone with the process
        yield optuna.storages.InMemoryStorage()
        return
    if where.url is None:
        try:
            where.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {os_reason(error)}") from error
    if where.kind == "journal":
        try:
            drop_half_line(where.path)
            storage = journal(where.path)  # which reads it
        except OSError as error:
            raise UserError(f"cannot use {os_reason(error)}") from error
        except UNREADABLE as error:
            raise damaged(f"the study {where}", "not all of it can be read") from error
        yield storage
        return
    backend = _database(where)
    try:
        yield optuna.storages.get_storage(backend)
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StorageLost(
            f"lost the study at {where}: {first_line(error)}; finished runs are kept; run the same command again to "
            "resume"
        ) from error
    finally:
        backend.remove_session()
        backend.engine.dispose()


def drop_half_line(path: Path) -> None:
    """Cut off what a process has left in a journal that was killed, or found no room, in the middle of a line.

    Optuna overlooks it, and appends the next line to it: then neither can be read. Raises OSError.
    """
    if _ends_whole(path):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # whoever writes holds it until the line has its end
    try:
        if not _ends_whole(path):
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _ends_whole(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


class Connection(sqlite3.Connection):
    """SQLite with a write-ahead log: readers never wait, and a commit costs no flush of the disk.

    What was committed survives the end of the process; a power failure may cost the last few trials.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("pragma journal_mode=wal")
        self.execute("pragma synchronous=normal")


def _database(where: Location) -> RDBStorage:
    for attempt in range(ATTEMPTS):
        try:
            if where.url is None:
                return sqlite(where.path, timeout=PATIENCE_S, factory=Connection)
            return RDBStorage(_address(where.url), engine_kwargs=_options(where.url))
        except ImportError as error:
            raise UserError(
                f"no driver for {where}: {first_line(error)} (for PostgreSQL: pip install 'psycopg[binary]')"
            ) from error
        except (ArgumentError, ValueError) as error:
            raise UserError(f"storage {str(where)!r} is no URL of a database: {first_line(error)}") from error
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            if attempt == ATTEMPTS - 1 or not _a_race(error):
                raise UserError(f"cannot reach the study at {where}: {first_line(error)}") from error
            time.sleep(0.2 * (attempt + 1))
        except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
            raise UserError(f"cannot use the study at {where}: {first_line(error)}") from error
    raise AssertionError


def _address(url: URL) -> str:
    """As Optuna takes it: a template, in which braces mean something."""
    return url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")


def _options(url: URL) -> dict[str, Any]:
    """What SQLAlchemy should know about a database."""
    if url.get_backend_name() == "sqlite":
        if url.database and not url.database.startswith(("file:", ":")):
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        return {"connect_args": {"timeout": PATIENCE_S, "factory": Connection}}
    if url.get_backend_name() == "postgresql":
        return {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_S}}
    return {"pool_pre_ping": True}


def _a_race(error: Exception) -> bool:
    """Whether another process created the same table at the same moment."""
    return isinstance(error, IntegrityError) or any(
        sign in str(error) for sign in ("already exists", "duplicate key", "locked")
    )


def first_line(error: BaseException) -> str:
    """The cause in one line, without SQLAlchemy's class names and links, and what can be done about it."""
    if isinstance(error, PendingRollbackError) or isinstance(error.__cause__, PendingRollbackError):
        return "its connection was broken"  # SQLAlchemy's words are about its session
    cause = error.__cause__ or error
    text = " ".join(str(cause).split("[SQL:")[0].split("(Background on")[0].split())
    if text.startswith("(") and ") " in text:
        text = text.split(") ", 1)[1]
    return text[:300].rstrip(" .") + sqlite_remedy(error)


def load_study(
    storage: BaseStorage,
    name: str,
    where: Location,
    directions: list[Any],
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
) -> Study:
    """The study of this name, created where there is none."""
    for attempt in range(ATTEMPTS):
        try:
            return optuna.create_study(
                storage=storage,
                study_name=name,
                directions=directions,
                sampler=sampler,
                pruner=pruner,
                load_if_exists=True,
            )
        except (IntegrityError, ProgrammingError, OperationalError, StorageInternalError, KeyError) as error:
            if attempt == ATTEMPTS - 1:
                raise UserError(f"cannot create the study {name!r}: {first_line(error)}") from error
            time.sleep(0.2 * (attempt + 1))
        except UNREADABLE as error:
            raise damaged(f"the study {name!r} in {where}", "not all of it can be read") from error
    raise AssertionError


DESIGN: dict[str, Any] = {"space": dict[str, dict[str, Any]], "fixed": dict[str, Any]}
"""What a study was begun with, as far as it is compared part by part."""


def stored_design(storage: BaseStorage, name: str, where: Location) -> dict[str, Any] | None:
    """What the study of this name was begun with, or None where there is none yet. Raises UserError where that cannot
    be told."""
    title = f"the study {name!r} in {where}"
    try:
        if name not in (one.study_name for one in storage.get_all_studies()):
            return None
        study_id = storage.get_study_id_from_name(name)
        design: dict[str, Any] | None = storage.get_study_user_attrs(study_id).get("design")
    except UNREADABLE as error:
        raise damaged(title, "not all of it can be read") from error
    if design is None:
        return None
    if not fits(design, dict[str, Any]) or misfit(design, DESIGN) or strange_dimension(design.get("space", {})):
        raise damaged(title, "what it was begun with")
    return design


def check_same(stored: Mapping[str, Any], design: Mapping[str, Any], where: str) -> None:
    """Raise UserError, naming the first difference, for a study that was begun with another space or objective."""
    remedy = "type the same again, or give another name=NAME"
    for part in ("objectives", "seeds"):
        if stored.get(part) != design[part]:
            was, now = (_text(one.get(part)) for one in (stored, design))
            title = "the objective" if part == "objectives" and len(stored.get(part) or ()) < 2 else f"the {part}"
            raise UserError(f"{where} was begun with {title} {was}, not {now}; {remedy}")
    space, fixed = stored.get("space", {}), stored.get("fixed", {})
    for knob in dict.fromkeys([*space, *design["space"]]):
        was, now = space.get(knob), design["space"].get(knob)
        if was != now:
            raise UserError(
                f"{where} was begun with another space: {knob} was {dimension_text(was)}, "
                f"now it is {dimension_text(now)}; {remedy}"
            )
    for knob in [knob for knob in design["fixed"] if knob in fixed]:  # a later version may have more knobs
        was, now = fixed[knob], design["fixed"][knob]
        if was != now:
            raise UserError(f"{where} was begun with {knob}={_text(was)}, not {knob}={_text(now)}; {remedy}")


def dimension_text(dimension: Mapping[str, Any] | None) -> str:
    """`choice(32, 64)`, `log interval(0.01, 2)`, `not searched`."""
    if dimension is None:
        return "not searched"
    when = "".join(
        f" where {parent} is {_text(allowed)}" for parent, allowed in dimension.get("conditions", {}).items()
    )
    if dimension["kind"] == "choice":
        return f"choice({', '.join(map(str, dimension['choices']))}){when}"
    kind = "range" if dimension["step"] else "interval"
    step = f", step {dimension['step']:g}" if dimension["step"] not in (None, 1) else ""
    log = "log " if dimension["log"] else ""
    return f"{log}{kind}({dimension['low']:g} to {dimension['high']:g}{step}){when}"


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def told(study: Study, trial: FrozenTrial | int, state: optuna.trial.TrialState, values: Any = None) -> bool:
    """Tell the study, once: False where another process has told it already."""
    number = trial if isinstance(trial, int) else trial.number
    mark(study, number, ended_at=now())
    try:
        study.tell(number, values, state)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False
    except ValueError as error:
        if "Cannot tell a" in str(error):
            return False
        raise
    return True


def mark(study: Study, number: int, **attributes: Any) -> bool:
    """Set attributes of a trial that has not been told yet; False where it has."""
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    try:
        for name, value in attributes.items():
            study._storage.set_trial_user_attr(trial_id, name, value)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False
    return True


def now() -> str:
    """This moment in UTC. Optuna stamps trials with local time and no zone, so we keep stamps of our own beside."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def takes_slot(trial: FrozenTrial) -> bool:
    """Whether a trial counts for n_trials: one that cost nothing, or was begun again, does not."""
    return "excluded" not in trial.user_attrs
