"""`ablate run`, or no subcommand: train what is missing of a sweep, and report. Loads what it needs when it runs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.cli.command import Command, flag
from ablate.cli.commands import run_command
from ablate.cli.entry import STOPPED, loading
from ablate.cli.reporter import asleep, begin, reported, reporter
from ablate.config.errors import StorageError, counted, memory_reason
from ablate.config.shell import command_line
from ablate.config.terminal import lines

if TYPE_CHECKING:
    from threading import Event

    from ablate.config.schema import Config
    from ablate.searching.run import Found
    from ablate.searching.space import Problem
    from ablate.sweeping.launching.worker import Beacon
    from ablate.sweeping.naming import Asked
    from ablate.sweeping.summary import Summary

OPTIONS = ("--help", "--multirun", "--cfg", "--info", "--config-dir", "--config-name", "--resolve")

DETACH = "--detach"
"""Short for `hydra.launcher.detach=true`."""

MOST_NAMED = 12
"""Settings that failed and are named at the end; of more, the number."""


def run(arguments: list[str]) -> int:
    detach, words = flag(arguments, DETACH)
    return run_each([*words, "hydra.launcher.detach=true"] if detach else words, command_line)


def run_each(arguments: Sequence[str], command: Callable[..., str]) -> int:
    """One sweep for each of the presets named, one after the other; a stop ends them all.

    `command(*words)` is what a person would type for one of them. Returns the worst of their exit statuses.
    """
    with loading():
        from ablate.cli.composition import one_preset_each, say_notes

    say_notes(arguments)
    worst = 0
    with reporter(_load_reports, _up_to_date):
        for one in one_preset_each(arguments):
            worst = max(worst, train(one, command(*one)))
            if worst == STOPPED:
                break
    return worst


def help_of(words: list[str]) -> str:
    from ablate.cli.composition import folder_of_configs
    from ablate.cli.help import help_on, help_text
    from ablate.config import plugins, presets
    from ablate.config.overrides import Override, plugin_files
    from ablate.experiments.words import chosen, named_in

    config_dir = folder_of_configs(words)
    if (reference := named_in(words)) is not None:
        return help_on(chosen(reference), reference)
    plugins.load([*presets.plugins_of(words, config_dir), *plugin_files(list(map(Override.read, words)))])
    return help_text(config_dir)


def train(arguments: Sequence[str], command: str) -> int:
    """Compose, train what is missing and report; nothing where Hydra was only asked to show something.

    `command` is what a person would type to have the same again.
    """
    from ablate.cli.composition import with_configs

    summaries: list[Summary] = []
    found: list[Found] = []

    def sweep(configs: Sequence["Config"], asked: "Asked") -> None:
        if all(config.report for config in configs):
            begin()
        with loading():
            from ablate.sweeping.launch import run_sweep

        asleep()
        summaries.append(run_sweep(configs, asked.name, command, asked.preset, asked.given, cluster=asked.cluster))

    def search(problem: "Problem") -> None:
        begin()
        with loading():
            from ablate.searching.run import run_search

        asleep()
        if problem.cluster is not None:
            from ablate.searching.over_cluster import search_by_cluster

            found.append(search_by_cluster(problem, command, arguments, search_in_job))
        else:
            found.append(run_search(problem, command))

    with_configs(arguments, sweep, search)
    if found:
        return conclude_found(found[0])
    return conclude(sum(summaries[1:], start=summaries[0])) if summaries else 0


def search_in_job(order: "Mapping[str, Any]", beacon: "Beacon", stop: "Event") -> None:
    """In a job of a cluster: one process's share of the search that the order's words mean."""
    from ablate.cli.composition import with_configs
    from ablate.searching.over_cluster import share_of_job

    def no_sweep(*_: object) -> None:
        raise AssertionError("the words mean a search")

    with_configs(order["words"], no_sweep, lambda problem: share_of_job(problem, order, beacon, stop))


def conclude_found(found: "Found") -> int:
    """The report of a search, and what it found; returns the exit status."""
    from ablate.searching.run import conclude_search

    pack = found.outcome.concluded and not found.interrupted
    drawn = concluded(found.folder, pack, found.outcome.concluded and found.report)
    status = conclude_search(found)
    return drawn or status


def concluded(folder: Path, pack: bool, wanted: bool) -> int:
    """Pack the records of a sweep and bring its report up to date; 0, or the exit status where Ctrl-C, the
    disk or too little memory stopped that."""
    if not wanted:
        if pack:
            packed(folder)
        return 0
    try:
        status = reported(folder, pack)
        return _up_to_date(folder, pack) if status is None else status
    except KeyboardInterrupt:
        lines()(f"the report is skipped; {command_line('report', folder)} draws it")
        return STOPPED


def packed(folder: Path) -> None:
    """Put what a sweep left into its Parquet files."""
    with loading():
        from ablate.records.compaction import compacted

    compacted(folder)


def _up_to_date(folder: Path, pack: bool) -> int:
    """In this process, or in the one that is kept for it."""
    with loading():
        from ablate.report import refresh_report
        from ablate.sweeping.baselines import add_baselines

    if pack:
        packed(folder)
    try:
        add_baselines(folder)
        refresh_report(folder)
    except (StorageError, MemoryError) as error:
        why = memory_reason(error) if isinstance(error, MemoryError) else error
        again = f"{command_line('report', folder)} draws it"
        lines()(f"the report is not whole: {why}; {again}", style="red")
        return 1
    return 0


def _load_reports() -> None:
    """Load and read all that is the same for every report."""
    import ablate.records.compaction
    import ablate.sweeping.baselines  # noqa: F401
    from ablate.analysis.published import published
    from ablate.report import load_all
    from ablate.report.fingerprint import code
    from ablate.report.protocol import defaults

    load_all()
    code()
    published()
    defaults()


def conclude(summary: "Summary") -> int:
    """Tables and figures of the whole folder, and what the person should know; returns the exit status."""
    from ablate.records.files import entries
    from ablate.records.places import begun, failures_dir, holds_runs

    say = lines()
    parts = [f"{counted(summary.trained, 'run')} trained", f"{summary.already} already complete"]
    if summary.reused:
        parts.append(f"{summary.reused} reused from other sweeps")
    say(f"{', '.join(parts)}: {summary.folder}")
    if summary.failures:  # each was said with its reason when it happened
        names = list(dict.fromkeys(name for name, _ in summary.failures))
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        say(f"failed: {'; '.join(names[:MOST_NAMED])}{more}", style="red")
    if summary.failures and any(path.suffix == ".json" for path in entries(failures_dir(summary.folder))):
        say(f"more on what failed is in {failures_dir(summary.folder)}; the same command tries it again")
    reports = holds_runs(summary.folder)
    if summary.lost:
        say(
            f"lost: {summary.lost} of them are not in {summary.folder} any more; it was moved, or emptied, meanwhile: "
            "move it back, or run the same command again",
            style="red",
        )
    if summary.storage:
        say(f"stopped: {summary.storage}", style="red")
        say("the stored runs are kept; run the same command again to resume (no report was drawn)")
        return summary.exit_status
    if summary.interrupted:
        left = begun(summary.folder)
        kept = f", and the checkpoints of {left} that have begun" if left else ""
        say(f"stopped; every finished run is kept{kept}; run the same command again to resume")
    if summary.away:
        again = command_line("status", summary.folder)
        say(f"{counted(summary.away, 'job')} at work; {again} tells how far they are, the same command collects them")
        return summary.exit_status
    reports = reports and summary.report
    if summary.interrupted and reports:
        say("drawing the report (Ctrl-C again skips it)")
    return concluded(summary.folder, not summary.interrupted, reports) or summary.exit_status


COMMAND = Command(
    "run",
    "train the missing runs of a sweep, and report it",
    run,
    help_of,
    options=(*OPTIONS, DETACH),
    takes=("knobs",),
)

main = partial(run_command, COMMAND)
"""`ablate run` with these arguments; its exit status."""
