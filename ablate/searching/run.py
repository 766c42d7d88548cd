"""One process of a search of ablate, from the checked problem to what it leaves."""

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial

from ablate.config.columns import as_typed
from ablate.config.errors import CombinationError, UserError, counted, span
from ablate.config.identity import without_effect
from ablate.config.metrics import METRICS
from ablate.config.resolved import Resolved, resolve
from ablate.config.schema import FILES_OF_PARTS, Config
from ablate.config.shell import command_line
from ablate.config.terminal import lines
from ablate.config.validation import validate
from ablate.records.locks import exclusive
from ablate.records.places import is_search, is_sweep
from ablate.searching import outcome as files
from ablate.searching.finale import Outcome, conclude
from ablate.searching.progress import Counts, SearchProgress, causes
from ablate.searching.race import SeedComparison
from ablate.searching.samplers import make_pruner, make_sampler
from ablate.searching.search import Search
from ablate.searching.settings import Settings, check_produced
from ablate.searching.space import Problem
from ablate.searching.storage import location, takes_slot
from ablate.searching.study import StudyEngines, joined
from ablate.searching.trainer import Trainer
from ablate.searching.workers import Worker
from ablate.sweeping import schedule
from ablate.sweeping.labels import knobs_of
from ablate.tasks.facts import Words
from ablate.timing.machine import check_own_node
from ablate.training.checkpoints import check_interval
from ablate.training.choice import left_out
from ablate.training.loop import check_device


@dataclass
class Found:
    """How a process's share of a search ended: for the last lines on the screen and the exit status."""

    folder: Path
    settings: Settings
    trials: list[FrozenTrial]
    outcome: Outcome
    interrupted: bool = False
    runnable: bool = False  # whether there is a best.yaml
    report: bool = True  # whether one is wanted
    away: int = 0  # jobs of a cluster that go on
    words: Words = field(default_factory=Words)  # of the task

    @property
    def exit_status(self) -> int:
        if self.interrupted:
            return 130
        return 0 if self.outcome.winner or self.outcome.front or self.outcome.waits or self.away else 1


class Prepared:
    """A search that is checked, and of which nothing is written yet."""

    def __init__(
        self,
        problem: Problem,
        command: str,
        trainer: type[Trainer] = Trainer,
        side_by_side: Callable[[Config], int] = lambda base: schedule.workers([base]),
        interrupted: threading.Event | None = None,
        jobs: int = 1,
    ) -> None:
        """`side_by_side`: the programs of this process, of the config without what is searched; `jobs`: how many
        processes work on it. Raises UserError for a problem that cannot be searched.
        """
        self.problem, self.settings = problem, problem.settings
        self.base, settings = problem.compose(()), problem.settings
        validate(self.base)
        self.name = self.base.name or problem.name
        self.folder = Path(self.base.results_dir).expanduser() / self.name
        several = len(settings.objectives) > 1
        epochs = self.base.epochs if self.base.task.thing.has_network else None
        self.pruner = make_pruner(settings.pruner, settings.pruner_options, epochs, several)
        make_sampler(settings.sampler, settings.sampler_options, 0, problem.space, several)
        check_produced(settings, self.base)
        where = location(settings.storage, self.folder)
        if is_sweep(self.folder) and not is_search(self.folder) and where.kind != "memory":
            raise UserError(f"{self.folder} holds a sweep, and a search has a folder of its own; give another name=")
        self.progress = SearchProgress(settings.n_trials)
        self.trainer = trainer(
            self.folder,
            problem.compose,
            command,
            side_by_side(self.base),
            self.progress.say,
            problem.preset,
            interrupted,
        )
        self.configs = check_values(problem, self.trainer)
        for line in [*without_effect(self.configs, problem.given).values(), *left_out(map(resolve, self.configs))]:
            self.progress.warn(line)
        if self.base.deterministic and settings.parallel * jobs > 1:
            self.progress.warn(
                "deterministic=true: each run is the same, bit for bit; which configurations are tried depends on "
                "which ones end first, unless there is one process with hydra.sweeper.parallel=1"
            )
        self.design = design_of(problem, resolve(self.base))

    def search(self, study: Study, worker: Worker) -> Search:
        """Raises UserError for a study whose trials would come out differently today."""
        search = Search(self.problem.space, self.settings, self.trainer, study, worker, self.progress)
        if (number := search.tried.out_of_date(study.get_trials(deepcopy=False))) is not None:
            raise UserError(
                f"{self.folder}: trial {number} was computed from other files than those of today, a text or a file of "
                "your own; a search cannot choose between the two: give another name=, or restore them"
            )
        return search

    def keep(self, trials: list[FrozenTrial], outcome: Outcome, interrupted: bool = False) -> Found:
        """Write what has come out of it: trials.csv and, of a search that is at its end, search.json and best.yaml."""
        problem, settings, folder = self.problem, self.settings, self.folder
        words = self.base.task.thing.words
        found = Found(folder, settings, trials, outcome, interrupted, report=self.base.report, words=words)
        files.write_trials(folder, trials, problem.space, settings)
        if outcome.concluded:
            where = str(location(settings.storage, folder))
            files.write_summary(folder, settings.study or self.name, where, self.design, settings, outcome)
        best = outcome.winner or next(iter(outcome.front), None)
        if best is not None:
            config = self.trainer.config(best.overrides)
            defaults = problem.defaults(files.groups_of(config))
            files.write_best(folder, config, defaults, best, settings, self.name)
            found.runnable = True
        return found


def run_search(problem: Problem, command: str) -> Found:
    """This process's share of a search and, where it is the last one, the finale.

    Raises UserError, before anything is written, for a problem that cannot be searched.
    """
    return share(Prepared(problem, command))


def share(prepared: Prepared, heard: Callable[[Worker], None] = lambda worker: None) -> Found:
    """One process's share of a search; `heard` is told who it is in the study.

    Raises UserError, before anything is written, for a device or products that are not to be had here, and for a speed
    that cannot be measured here.
    """
    settings, folder, trainer = prepared.settings, prepared.folder, prepared.trainer
    if settings.speed:
        check_own_node()
    check_interval()
    for config in prepared.configs:
        check_device(config)
    with (
        exclusive(folder, shared=True),
        joined(settings, prepared.problem.space, folder, prepared.name, prepared.design, prepared.pruner) as at,
    ):
        study, worker = at
        heard(worker)
        with trainer, prepared.progress:
            trainer.engines = StudyEngines(study)
            if location(settings.storage, folder).kind == "database":  # by the table the folder is known as a search's
                files.write_trials(folder, study.get_trials(deepcopy=False), prepared.problem.space, settings)
            search = prepared.search(study, worker)
            outcome, interrupted = Outcome(), False
            try:
                search.run()
                outcome = conclude(search, trainer, folder)
            except KeyboardInterrupt:
                interrupted = True
        trials = study.get_trials(deepcopy=False)
    return prepared.keep(trials, outcome, interrupted)


def check_values(problem: Problem, trainer: Trainer) -> list[Config]:
    """Configs that hold every choice and both ends of each interval.

    Raises UserError for a value in the space that no run could have, or a text that cannot be had. Values that are
    fine one by one but not together make a failed trial, later.
    """
    configs = []
    for values in problem.space.corners():
        overrides = problem.space.written(values)
        configs.append(trainer.config(overrides))
        with suppress(CombinationError):
            trainer.identify(overrides)
    if problem.settings.baseline:
        trainer.identify(problem.settings.baseline)
    return configs


def design_of(problem: Problem, base: Resolved) -> dict[str, Any]:
    """What makes this search another one than a stored one: space, objectives, seeds, every knob that is fixed."""
    searched = problem.space.to_json()
    knobs = {name: value for name, value in knobs_of(base).items() if decides(name) and name not in searched}
    return {
        "objectives": [objective.name for objective in problem.settings.objectives],
        "seeds": list(problem.settings.seeds),
        "fixed": {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in knobs.items()
        },
        "space": searched,
    }


def decides(knob: str) -> bool:
    """Whether a knob that is not searched may change what comes out."""
    group, _, part = knob.partition(".")
    if group == "data":
        return part in ("", "path", *FILES_OF_PARTS, "tokens", "cleaning")
    metadata = Config.__dataclass_fields__[group].metadata
    return bool(metadata.get("identity", True)) and knob not in ("seed", "optimizer.lr")


def conclude_search(found: Found) -> int:
    """What the person should know at the end; returns the exit status."""
    say = lines()
    counts, outcome, settings = Counts.of(found.trials), found.outcome, found.settings
    say(f"{counts.ended} of {counted(settings.n_trials, 'trial')}: {counts}: {found.folder}")
    for what, reason, count in causes([trial for trial in found.trials if takes_slot(trial)]):
        if what == "failed":
            say(f"failed: {count} of {counted(counts.ended, 'trial')}: {reason}")
    for note in outcome.notes:
        say(note)
    if found.away:
        again = command_line("status", found.folder)
        say(f"{counted(found.away, 'job')} at work; {again} tells how far they are, the same command collects them")
    if found.interrupted:
        say("stopped; every finished run and trial is kept; run the same command again to resume")
    for one in outcome.front:
        say(f"on the front: {' '.join(map(as_typed, one.overrides))}: {files.result_line(one, settings)}")
    if outcome.winner is not None:
        say(f"best: {' '.join(map(as_typed, outcome.winner.overrides))}: {files.result_line(outcome.winner, settings)}")
    if outcome.confirmed and found.runnable:
        say(chosen_and_reported(settings, outcome, found.words))
    if outcome.against_baseline is not None:
        say(f"against the baseline: {comparison_text(outcome.against_baseline, outcome.compared_by)}")
    if found.runnable:
        say(f"again: {files.again_line(found.folder)}")
    return found.exit_status


def chosen_and_reported(settings: Settings, outcome: Outcome, words: Words) -> str:
    """Which seeds chose and which report; and what fresh seeds do not make fresh, in the words of the task."""
    parts = []
    if settings.choosing_seeds:
        parts.append(f"chosen on the fresh seeds {span(settings.choosing_seeds[0], settings.choosing_seeds[-1])}")
    parts.append(f"reported on the fresh seeds {span(settings.reporting_seeds[0], settings.reporting_seeds[-1])}")
    reported = files.reported(outcome, settings).values()
    if any(name in METRICS and METRICS[name].of_test for name in reported):
        test = "test set" if words.plural else f"test {words.data}"
        parts.append(f"the {words.data} of the search chose, the {test} reports")
    elif any(name in METRICS and METRICS[name].held_out for name in reported):
        parts.append(f"all of them on the held-out {words.data} by which the search chose, too")
    return "; ".join(parts)


def comparison_text(found: SeedComparison, metric: str) -> str:
    """`0.833 times its val_perplexity (0.810 to 0.860, n = 6, Welch t on logarithms, p = 0.0012)`."""
    known = math.isfinite(found.low) and math.isfinite(found.high)
    if found.kind == "ratio":
        said = f"{found.value:.3f} times its {metric}"
        reach = f"{found.low:.3f} to {found.high:.3f}, " if known else ""
    else:
        said = f"{found.value:+.4g} in {metric}"
        reach = f"{found.low:+.4g} to {found.high:+.4g}, " if known else ""
    gone = f", the baseline diverged on {counted(found.reference_diverged, 'seed')}" if found.reference_diverged else ""
    return f"{said} ({reach}n = {found.n}, {found.method}, p = {found.p:.3g}{gone})"
