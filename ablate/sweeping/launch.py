"""Run a sweep: train what is missing, keep what is done, go on after a failure, stop cleanly."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablate import results
from ablate.compose import fallback_data
from ablate.config import Config, to_dict
from ablate.sweeping.hydra_jobs import one_name
from ablate.sweeping.plan import (
    Cell,
    Plan,
    Run,
    exclusive,
    label,
    make_plan,
    varying,
    write_failure,
    write_manifest,
)
from ablate.sweeping.progress import Progress


@dataclass
class Summary:
    """What a sweep did, for the last lines on the screen and the exit status."""

    folder: Path
    trained: int = 0
    reused: int = 0
    already: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_status(self) -> int:
        return 130 if self.interrupted else 1 if self.failures else 0


def run_sweep(configs: Sequence[Config], default_name: str, command: str) -> Summary:
    """Every missing run of every cell. Raises UserError, before anything is written, for input that cannot run."""
    from ablate.training import resolve_device

    folder = Path(configs[0].results_dir).expanduser() / (one_name(configs) or default_name)
    plan = make_plan(configs, folder, fallback_data())
    for config in configs:
        resolve_device(config.device)
    summary = Summary(folder)
    with exclusive(folder):
        write_manifest(plan, command, configs)
        take_over(plan, summary)
        with Progress(plan, summary.reused + summary.already) as progress:
            for warning in plan.warnings:
                progress.say(f"[yellow]warning:[/] {warning}")
            try:
                run_cells(plan, varying(configs), progress, summary)
            except KeyboardInterrupt:
                summary.interrupted = True
    return summary


def take_over(plan: Plan, summary: Summary) -> None:
    """Copy what other sweeps hold and count what this one has."""
    for cell in plan.cells:
        for run in cell.runs:
            if run.reused_from:
                results.reuse(plan.folder, run.reused_from, run.run_id, to_dict(run.config))
                summary.reused += 1
        summary.already += len(cell.runs) - len(cell.missing) - sum(bool(run.reused_from) for run in cell.runs)


def run_cells(plan: Plan, swept: Sequence[str], progress: Progress, summary: Summary) -> None:
    """Cell after cell; what goes wrong in one is recorded and does not touch the others."""
    for cell in plan.cells:
        name = label(cell.config, swept)
        try:
            if cell.error:
                raise cell.error
            for run in cell.missing:
                train_run(plan.folder, cell, run, name, progress)
                summary.trained += 1
        except Exception as error:  # any cell may fail in any way, the others go on
            write_failure(plan.folder, cell, error)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            summary.failures.append((name, reason))
            progress.failed(name, reason, cell)
        else:
            results.failure_path(plan.folder, cell.cell_id).unlink(missing_ok=True)
            progress.finished(name, cell)


def train_run(folder: Path, cell: Cell, run: Run, name: str, progress: Progress) -> None:
    """Train and store one run."""
    from ablate.training import train

    progress.begin(name, run)
    record = train(run.config, cell.corpus, progress.epoch)
    results.save(folder, record)
    progress.done(record)


def command_line(arguments: Sequence[str]) -> str:
    """The command as a person would type it."""
    return " ".join(["python -m ablate", *map(shlex.quote, arguments)])
