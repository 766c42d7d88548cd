"""A process joins a study: opens it, checks that it is the same search, registers, and gets a sampler of its own."""

import json
import warnings
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna import Study
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from ablate.analysis.study import strange_trial
from ablate.config.errors import UserError
from ablate.records.jobs import batches
from ablate.records.kinds import fits, misfit
from ablate.searching.samplers import ScaledValues, make_sampler, sampler_seed
from ablate.searching.settings import Settings
from ablate.searching.space import Space
from ablate.searching.storage import UNREADABLE, check_same, damaged, load_study, location, opened, stored_design
from ablate.searching.workers import FACTS, PREFIX, Worker


@contextmanager
def joined(
    settings: Settings,
    space: Space,
    folder: Path,
    name: str,
    design: Mapping[str, Any],
    pruner: optuna.pruners.BasePruner,
) -> Iterator[tuple[Study, Worker]]:
    """The study and this process in it. Raises UserError where it cannot be reached or is another search's."""
    with looked_at(settings, folder, name, design, pruner) as study, Worker(study) as worker:
        trials = len(study.get_trials(deepcopy=False))
        seed = sampler_seed(settings.sampler, settings.seed, trials, worker.others() == 0, worker.id)
        sampler = make_sampler(settings.sampler, settings.sampler_options, seed, space, len(settings.objectives) > 1)
        study.sampler = ScaledValues(sampler, [objective.scale for objective in settings.objectives])
        yield study, worker


@contextmanager
def looked_at(
    settings: Settings,
    folder: Path,
    name: str,
    design: Mapping[str, Any],
    pruner: optuna.pruners.BasePruner,
    deleted_if_refused: bool = False,
) -> Iterator[Study]:
    """The study, for a process that asks for no trials. Raises UserError as `joined` does.

    `design` is what must agree between all processes: space, objectives, seeds, and what is fixed. With
    `deleted_if_refused` a study that is made here, and that nobody uses when what is within ends with a UserError, is
    deleted: it would bind the next search of that name.
    """
    where, name = location(settings.storage, folder), settings.study or name
    design = json.loads(json.dumps(design))
    with quietly(), opened(where) as storage:
        stored = stored_design(storage, name, where)
        if stored is not None:
            check_same(stored, design, f"the study {name!r} in {where}")
        directions = [objective.direction for objective in settings.objectives]
        is_new = stored is None and not _is_stored(storage, name)
        study = load_study(storage, name, where, directions, optuna.samplers.RandomSampler(), pruner)
        check_whole(study, f"the study {name!r} in {where}", directions)
        if stored is None:
            study.set_user_attr("design", design)
        try:
            yield study
        except UserError:
            if deleted_if_refused and is_new:
                with suppress(SQLAlchemyError, StorageInternalError, KeyError):  # why it was refused counts more
                    _delete_unused(study, folder)
            raise


def _is_stored(storage: BaseStorage, name: str) -> bool:
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        return False
    return True


def _delete_unused(study: Study, folder: Path) -> None:
    """Delete a study without trials, in which no process is registered, and for which no jobs wait in the queue."""
    if not study.get_trials(deepcopy=False) and study.user_attrs.keys() <= {"design"} and not batches(folder):
        optuna.delete_study(study_name=study.study_name, storage=study._storage)


def check_whole(study: Study, title: str, directions: Sequence[str]) -> None:
    """Raise UserError for a study of which something is not as a search writes it, whatever has damaged it.

    All that goes on from it, Optuna's samplers too, takes for granted what it finds there.
    """
    try:
        trials, attributes = study.get_trials(deepcopy=False), study.user_attrs
        whole = [direction.name.lower() for direction in study.directions] == [*directions]
    except UNREADABLE as error:
        raise damaged(title, "not all of it can be read") from error
    if not whole:
        raise damaged(title, "the directions of its objectives")
    for trial in trials:
        if wrong := strange_trial(trial, len(directions)):
            raise damaged(title, f"{wrong} of trial {trial.number}")
    for key, value in attributes.items():
        if key.startswith(PREFIX) and (not fits(value, dict[str, Any]) or misfit(value, FACTS)):
            raise damaged(title, key)


class StudyEngines(MutableMapping[str, str]):
    """Shape of runs → the engine that trains them, kept in the study: for all its processes, and for resuming."""

    PREFIX = "engine:"

    def __init__(self, study: Study) -> None:
        self._study = study

    def __getitem__(self, shape: str) -> str:
        return str(self._study.user_attrs[self.PREFIX + shape])

    def __setitem__(self, shape: str, engine: str) -> None:
        self._study.set_user_attr(self.PREFIX + shape, engine)

    def __delitem__(self, shape: str) -> None:
        raise TypeError("a study forgets nothing")

    def __iter__(self) -> Iterator[str]:
        return (key.removeprefix(self.PREFIX) for key in self._study.user_attrs if key.startswith(self.PREFIX))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@contextmanager
def quietly() -> Iterator[None]:
    """Optuna's log tells what we say in one line, or keep in the study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
