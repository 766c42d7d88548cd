"""One process of a search of ablate, from the checked problem to what it leaves."""

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from rich.console import Console

from ablate.config import Config, resolve
from ablate.errors import CombinationError
from ablate.searching import outcome as files
from ablate.searching.finale import Outcome, conclude
from ablate.searching.progress import Counts, SearchProgress
from ablate.searching.samplers import make_pruner, make_sampler
from ablate.searching.search import Search
from ablate.searching.settings import Settings, check_produced
from ablate.searching.space import Problem
from ablate.searching.storage import location, shown
from ablate.searching.study import joined
from ablate.searching.trainer import Trainer
from ablate.sweeping import schedule
from ablate.sweeping.plan import exclusive, knobs_of
from ablate.validation import validate


@dataclass
class Found:
    """How a process's share of a search ended: for the last lines on the screen and the exit status."""

    folder: Path
    settings: Settings
    trials: list[FrozenTrial]
    outcome: Outcome
    interrupted: bool = False
    runnable: bool = False  # whether there is a best.yaml

    @property
    def exit_status(self) -> int:
        if self.interrupted:
            return 130
        return 0 if self.outcome.winner or self.outcome.front or self.outcome.waits else 1


def run_search(problem: Problem, command: str) -> Found:
    """This process's share of a search and, where it is the last one, the finale.

    Raises UserError, before anything is written, for a problem that cannot be searched.
    """
    base, settings, space = problem.compose(()), problem.settings, problem.space
    validate(base)
    check_produced(settings, base)
    name = base.name or problem.name
    folder = Path(base.results_dir).expanduser() / name
    several = len(settings.objectives) > 1
    pruner = make_pruner(settings.pruner, settings.pruner_options, base.epochs, several)
    make_sampler(settings.sampler, settings.sampler_options, 0, space, several)
    progress = SearchProgress(settings.n_trials)
    trainer = Trainer(folder, problem.compose, command, schedule.workers([base]), progress.say, problem.preset)
    check_values(problem, trainer)
    design = design_of(problem, base)
    with exclusive(folder, shared=True), joined(settings, space, folder, name, design, pruner) as (study, worker):
        with trainer, progress:
            search = Search(space, settings, trainer, study, worker, progress)
            outcome, interrupted = Outcome(), False
            try:
                search.run()
                outcome = conclude(search, trainer, folder)
            except KeyboardInterrupt:
                interrupted = True
        trials = study.get_trials(deepcopy=False)
    found = Found(folder, settings, trials, outcome, interrupted)
    files.write_trials(folder, trials, space, settings)
    if outcome.finalists:
        where = shown(location(settings.storage, folder))
        files.write_summary(folder, settings.study or name, where, design, settings, outcome)
    best = outcome.winner or next(iter(outcome.front), None)
    if best is not None:
        config = trainer.config(best.overrides)
        files.write_best(folder, config, problem.defaults(files.groups_of(config)), best, settings, name)
        found.runnable = True
    return found


def check_values(problem: Problem, trainer: Trainer) -> None:
    """Raise UserError for a value in the space that no run could have, or a text that cannot be had.

    Values that are fine one by one but not together make a failed trial, later.
    """
    for values in problem.space.corners():
        overrides = problem.space.written(values)
        trainer.config(overrides)
        with suppress(CombinationError):
            trainer.identify(overrides)
    if problem.settings.baseline:
        trainer.identify(problem.settings.baseline)


def design_of(problem: Problem, base: Config) -> dict[str, Any]:
    """What makes this search another one than a stored one: space, objectives, seeds, every knob that is fixed."""
    searched = problem.space.to_json()
    knobs = {name: value for name, value in knobs_of(resolve(base)).items() if decides(name) and name not in searched}
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
        return part in ("", "path", "tokens", "cleaning")
    metadata = Config.__dataclass_fields__[group].metadata
    return bool(metadata.get("identity", True)) and knob not in ("seed", "optimizer.lr")


def conclude_search(found: Found) -> int:
    """What the person should know at the end; returns the exit status."""
    console = Console(stderr=True)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    counts, outcome, settings = Counts.of(found.trials), found.outcome, found.settings
    say(f"{counts.ended} of {settings.n_trials} trials: {counts}: {found.folder}")
    if outcome.note:
        say(outcome.note)
    if found.interrupted:
        say("stopped; every finished run and trial is kept, the same command goes on from here")
    for one in outcome.front:
        say(f"on the front: {' '.join(one.overrides)}: {files.result_line(one, settings)}")
    if outcome.winner is not None:
        say(f"best: {' '.join(outcome.winner.overrides)}: {files.result_line(outcome.winner, settings)}")
    ratio = outcome.against_baseline
    if ratio is not None:
        say(
            f"against the baseline: {ratio.ratio:.3f} times its {settings.primary} "
            f"({ratio.low:.3f} to {ratio.high:.3f}, n = {ratio.n}, Wilcoxon p = {ratio.p:.3g})"
        )
    if found.runnable:
        say(f"again: python -m ablate --config-dir {found.folder} --config-name best")
    return found.exit_status
