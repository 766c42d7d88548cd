"""A search by jobs of a cluster: each job is one of its processes, which share the study and train side by side.

A job is handed the words of the search, composes them anew, and joins the study, which takes it only where it means the
same search. What it trains, keeps and leaves when it has to go is what any process of a search does. The program that
submits trains nothing: it waits, tells the study of a job that was killed that its trials are free, so that the others
take them over at once, and concludes from what is on disk.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.analysis.trials import SPEED
from ablate.config.columns import as_typed
from ablate.config.errors import ConfigError, UserError, counted
from ablate.config.overrides import Override
from ablate.config.schema import Config
from ablate.records.failures import failures
from ablate.records.jobs import DONE
from ablate.records.locks import exclusive
from ablate.records.places import JOURNAL
from ablate.records.refused import undone_if_refused
from ablate.searching.evaluation import Failed
from ablate.searching.finale import Outcome, conclude
from ablate.searching.run import Found, Prepared, share
from ablate.searching.search import Search
from ablate.searching.settings import Settings
from ablate.searching.space import Problem
from ablate.searching.standings import best_so_far, values_text
from ablate.searching.storage import location, takes_slot
from ablate.searching.study import looked_at
from ablate.searching.trainer import Trainer
from ablate.searching.workers import PREFIX, Worker
from ablate.sweeping import schedule
from ablate.sweeping.launching import follower
from ablate.sweeping.launching.following import Followed
from ablate.sweeping.launching.options import Options
from ablate.sweeping.launching.orders import code
from ablate.sweeping.launching.queues import Queue, queue_of
from ablate.sweeping.launching.worker import Beacon, CarryOut

ROUNDS = 4
"""Each place of a job gets so many trials one after the other, where there are so many: what is tried at the same time
learns nothing from each other."""


class Missing(UserError):
    """A run that is not on disk, where nothing is trained."""


class Reader(Trainer):
    """An evaluator for what others have trained. Raises Missing for anything else."""

    def _dispatch(self) -> None:
        known = {failure.setting_id: failure.error for failure in failures(self.folder)} if self.pending else {}
        for ticket, setting in list(self.pending.items()):
            if setting.missing and setting.setting_id not in known:
                self.pending.clear()  # the next attempt asks again, for what may be there by then
                self.asked.clear()
                raise Missing(f"not all runs of {setting.setting_id} are there yet")
            if setting.missing:
                self.abandon(ticket)
                self.asked.pop(ticket)
                self.ready.append(Failed(ticket, known[setting.setting_id]))


def search_by_cluster(problem: Problem, command: str, words: Sequence[str], carry_out: CarryOut) -> Found:
    """Have a search done by the cluster of its problem: collect the jobs of before, or submit some, and wait.

    `words` mean the search, and `carry_out` has a job do what they mean (`share_of_job`). Raises UserError for what
    cannot be searched, or not by several machines, and where the cluster cannot be had or refuses.
    """
    options = problem.cluster
    assert options is not None
    problem = shared(problem)
    most = jobs_for(problem.settings.n_trials, problem.settings, options)
    prepared = Prepared(problem, command, Reader, lambda base: 1, jobs=most)
    folder, settings = prepared.folder, prepared.settings
    queue = queue_of(options)
    with (
        undone_if_refused(folder, JOURNAL),
        exclusive(folder, shared=True),
        looked_at(settings, folder, prepared.name, prepared.design, prepared.pruner, deleted_if_refused=True) as study,
    ):
        search = prepared.search(study, Worker(study))
        jobs = SearchJobs(folder, search)
        outcome, interrupted = Outcome(), False
        with prepared.trainer, prepared.progress:
            try:
                ended = None if jobs.jobs else concluded(search, prepared)
                if not jobs.jobs and ended is None:
                    order = order_of(folder, words, settings, command, options)
                    many = jobs_for(settings.n_trials - search.counted(), settings, options)
                    jobs.submit([order] * many, queue, options, carry_out)
                jobs.clear()
                if not options.detach:
                    jobs.wait()
                if not jobs.jobs:
                    outcome = ended or at_end(search, prepared)
            except KeyboardInterrupt:
                interrupted = True
                prepared.progress.say(follower.ENDING)
                jobs.cancel()
        trials = study.get_trials(deepcopy=False)
    found = prepared.keep(trials, outcome, interrupted)
    found.away = len(jobs.jobs)
    return found


def share_of_job(problem: Problem, order: Mapping[str, Any], beacon: Beacon, stop: threading.Event) -> None:
    """In a job: one process's share of a search, until `stop` is set."""

    def side_by_side(base: Config) -> int:
        most = schedule.workers([base])
        return most if base.device.startswith("cuda") else min(most, base.threads or order["cpus"])

    def heard(worker: Worker) -> None:
        beacon.state.worker = worker.id
        beacon.beat()

    share(Prepared(problem, order["command"], side_by_side=side_by_side, interrupted=stop), heard)


def shared(problem: Problem) -> Problem:
    """The problem, with a journal where it names no storage.

    Raises ConfigError for a storage that several machines cannot share, and for an objective that is measured on one.
    """
    settings = problem.settings
    if settings.speed:
        raise ConfigError(f"{SPEED} is compared on one machine; leave hydra/launcher out, or this objective")
    if settings.storage is None:
        return replace(problem, settings=replace(settings, storage="journal"))
    where = location(settings.storage, Path())
    if where.kind in ("memory", "sqlite") or (where.url is not None and where.url.get_backend_name() == "sqlite"):
        raise ConfigError(
            f"storage={settings.storage} is for the processes of one machine; give storage=journal, or a database that "
            "all machines reach: storage=postgresql://…"
        )
    return problem


def jobs_for(trials: int, settings: Settings, options: Options) -> int:
    """How many jobs so many trials are for, one at least."""
    return max(1, min(options.jobs, trials // (ROUNDS * settings.parallel)))


def order_of(folder: Path, words: Sequence[str], settings: Settings, command: str, options: Options) -> dict[str, Any]:
    """What a job is told: the words of the search, but that it trains by itself."""
    own = {
        "hydra/launcher": "local",
        "hydra.sweeper.parallel": settings.parallel,
        "hydra.sweeper.storage": settings.storage,
    }
    keys = {word: Override.read(word).key for word in words}
    kept = [word for word in words if not keys[word].startswith("hydra.launcher.") and keys[word] not in own]
    return {
        "folder": os.path.abspath(folder),
        "cwd": os.getcwd(),
        "code": code(),
        "cpus": options.cpus,
        "words": [*kept, *(f"{key}={value}" for key, value in own.items())],
        "command": command,
        "settings": [],
    }


def concluded(search: Search, prepared: Prepared) -> Outcome | None:
    """What has come of a search whose trials and final runs are all on disk; None where some are missing."""
    if search.counted() < search.settings.n_trials and not search.has_tried_all():
        return None
    try:
        outcome = conclude(search, prepared.trainer, prepared.folder)
    except Missing:
        return None
    return None if outcome.waits else outcome


def at_end(search: Search, prepared: Prepared) -> Outcome:
    """What has come of a search once its jobs have ended; a file system may take some time to show all of it."""
    search.worker.release_orphans()
    deadline = time.monotonic() + follower.LATE_S
    while (outcome := concluded(search, prepared)) is None and time.monotonic() < deadline:
        time.sleep(follower.LOOK_S)
    if outcome is not None:
        return outcome
    done = f"{search.counted()} of {counted(search.settings.n_trials, 'trial')}"
    note = f"the jobs have ended, and the search is not done ({done} begun); the same command submits the rest"
    return Outcome(notes=[note])


class SearchJobs(follower.Follower):
    """The jobs that work on a search, until they have ended."""

    def __init__(self, folder: Path, search: Search) -> None:
        self.search, self.study = search, search.study
        self.cancelled = False
        self.told: set[int] | None = None
        super().__init__(folder, search.progress)

    def submit(self, orders: Sequence[Mapping[str, Any]], queue: Queue, options: Options, carry_out: CarryOut) -> None:
        """Raises UserError."""
        batch = follower.hand_over(self.folder, orders, queue, options, carry_out)
        self.add(batch, queue)
        self.progress.say(f"{queue.name}: {counted(batch.jobs, 'job')}: {batch.span}")

    def closed(self, one: Followed, how: str, first: bool) -> None:
        """A job has ended: what it has begun of a search that is not done is for others."""
        if how == DONE:
            return
        if one.state.worker and not one.state.stopped:
            key = PREFIX + one.state.worker
            self.study.set_user_attr(key, self.study.user_attrs.get(key, {}) | {"left": True})
        if not self.cancelled:
            self.progress.warn(one.why(how))
            self.lost.append(one.batch)

    def looked(self) -> None:
        """Show the trials that have ended since the last time."""
        search = self.search
        trials = [trial for trial in search.trials() if trial.state.is_finished()]
        before = {trial.number for trial in trials} if self.told is None else self.told
        new = [trial for trial in trials if trial.number not in before and takes_slot(trial)]
        self.told = before | {trial.number for trial in trials}
        for trial in new:
            values = " ".join(map(as_typed, search.space.written(trial.params)))
            reason = trial.user_attrs.get("reason")
            news = reason or values_text(search.settings, trial.values or ())
            best = best_so_far(trials, search.settings)
            search.progress.show(search.trials(), best, f"trial {trial.number}: {values}: {news}")

    def cancel(self) -> None:
        self.cancelled = True
        super().cancel()
