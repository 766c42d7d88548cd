"""Run a sweep: train what is missing, keep what is done, go on after a failure, stop cleanly."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.markup import escape

from ablate.config.composing import fallback_data
from ablate.config.errors import StorageError, UserError, reason
from ablate.config.schema import Config, to_dict
from ablate.config.terminal import lines
from ablate.records import results, weights
from ablate.records.files import entries
from ablate.records.locks import exclusive
from ablate.records.neighbours import reuse
from ablate.records.reading import RecordError
from ablate.records.refused import undone_if_refused
from ablate.sweeping import schedule
from ablate.sweeping.hydra_jobs import one_name
from ablate.sweeping.labels import label, varying
from ablate.sweeping.launching.collect import over_queue
from ablate.sweeping.launching.following import refuse_beside_jobs
from ablate.sweeping.launching.options import Options
from ablate.sweeping.manifest import check_same_question, write_manifest
from ablate.sweeping.plan import Plan, look_again, make_plan
from ablate.sweeping.planning.estimate import what_is_ahead
from ablate.sweeping.programs import Programs, drop_older
from ablate.sweeping.progress import Listener, Progress
from ablate.sweeping.summary import Summary
from ablate.timing.lane import default_threads, time_missing
from ablate.timing.machine import quality_jobs
from ablate.timing.samples import protocol_within
from ablate.training.checkpoints import check_interval, drop_checkpoints
from ablate.training.loop import check_device, resolve_device


def run_sweep(
    configs: Sequence[Config],
    default_name: str,
    command: str,
    preset: str | None = None,
    given: Sequence[str] = (),
    quiet: bool = False,
    cluster: Options | None = None,
    above: RenderableType | None = None,
    first: Config | None = None,
) -> Summary:
    """Every missing run of every setting. Raises UserError, before anything is written, for input that cannot run.

    `given` are the knobs that the command line or the preset sets. `quiet` says nothing of its progress; `above`
    stands over it on a terminal. `cluster` is what trains it, this machine without. `first`: see `make_plan`.
    """
    folder = folder_of(configs, default_name)
    plan = make_plan(configs, folder, fallback_data(), given=given, first=first)
    check_interval()
    for config in configs if cluster is None else ():
        check_device(config)
    summary = Summary(folder, report=all(config.report for config in configs))
    # A cluster may refuse what this machine has looked at before anything is written.
    around = quality_jobs() if cluster is None else undone_if_refused(folder)
    with around, exclusive(folder):
        look_again(plan)
        if cluster is None:
            refuse_beside_jobs(folder)
        plan.warnings += check_same_question(plan, command, preset, given)
        write_manifest(plan, command, preset)
        take_over(plan, summary)
        drop_checkpoints(folder, finished(plan))
        summary.notes += [*plan.notes, *plan.warnings]
        with Progress(plan, summary.reused + summary.already, quiet, above) as progress:
            for note in plan.notes:
                progress.say(escape(note))
            for warning in plan.warnings:
                progress.warn(warning)
            try:
                run_settings(plan, configs, progress, summary, cluster)
            except KeyboardInterrupt:
                summary.interrupted = True
            except StorageError as error:
                summary.storage = str(error)
        count_lost(plan, summary)
    if configs[0].speed and cluster is None and not summary.interrupted and not summary.storage:
        time_settings(plan, configs[0].speed_s, summary, quiet)
    return summary


def folder_of(configs: Sequence[Config], default_name: str) -> Path:
    """Where a sweep is kept. Raises ConfigError where its settings have several names."""
    return Path(configs[0].results_dir).expanduser() / (one_name(configs) or default_name)


def time_settings(plan: Plan, limit_s: float, summary: Summary, quiet: bool) -> None:
    """The speed lane, once no run of ours is training any more."""
    settings = {setting.setting_id: setting.config for setting in plan.settings if not setting.error}
    say = lines(quiet=quiet, markup=True)
    try:
        if not time_missing(plan.folder, settings, default_threads(settings.values()), protocol_within(limit_s), say):
            summary.failures.append(("speed lane", "no setting could be timed"))
    except KeyboardInterrupt:
        summary.interrupted = True
    except StorageError as error:
        summary.storage = str(error)
    except (UserError, RuntimeError) as error:  # the runs are safe; the settings stay without a timing
        say(f"[red]failed:[/] speed lane: {escape(reason(error))}")
        summary.failures.append(("speed lane", reason(error)))


def take_over(plan: Plan, summary: Summary) -> None:
    """Copy what other sweeps hold and count what this one has; a run that cannot be copied any more is missing."""
    for setting in plan.settings:
        for run in setting.runs:
            if run.reused_from:
                try:
                    if run.config.keep:
                        weights.copy(run.reused_from, plan.folder, run.run_id)
                    reuse(
                        plan.folder,
                        run.reused_from,
                        run.run_id,
                        to_dict(run.config),
                        {"name": setting.corpus.name},
                        run.former,
                    )
                    drop_older(plan.folder, [run])
                    summary.reused += 1
                except RecordError:
                    run.reused_from = None
                    setting.missing.append(run)
        summary.already += len(setting.runs) - len(setting.missing) - sum(bool(run.reused_from) for run in setting.runs)


def finished(plan: Plan) -> set[str]:
    """The runs of a plan that are there."""
    planned = [setting for setting in plan.settings if not setting.error]
    missing = {run.run_id for setting in planned for run in setting.missing}
    return {run.run_id for setting in planned for run in setting.runs} - missing


def count_lost(plan: Plan, summary: Summary) -> None:
    """What is on disk at the end counts: somebody may have moved or deleted the folder while its runs were trained."""
    wanted = [run for setting in plan.settings if not setting.error for run in setting.runs]
    stored = sum(results.holds(plan.folder, run.run_id, run.former) for run in wanted)
    summary.lost = max(0, summary.trained + summary.reused + summary.already - stored)


def run_settings(
    plan: Plan, configs: Sequence[Config], progress: Progress, summary: Summary, cluster: Options | None
) -> None:
    """Train what is missing, here or by a cluster; what goes wrong in a setting does not touch the others."""
    swept = varying(configs)
    names = {setting.setting_id: label(setting.config, swept) for setting in plan.settings}
    programs = Programs(plan, names, progress, summary)
    failed_before = bool(entries(plan.folder / "failures"))
    for setting in plan.settings:
        if setting.error:
            programs.failed([setting], setting.error)
        elif failed_before:
            programs.clear_failure(setting)
    if cluster is not None:
        over_queue(plan, names, progress, summary, cluster, configs[0].speed_s if configs[0].speed else None)
        return
    side_by_side = schedule.workers(configs)
    programs.train_all(side_by_side, lambda tasks, pool, at_once: what_is_ahead(plan, tasks, pool, at_once))


def train_job(
    plan: Plan, names: Mapping[str, str], progress: Listener, summary: Summary, stop: threading.Event, cores: int
) -> None:
    """In a job of a cluster, on so many cores: what is missing of its part of a sweep, until `stop` is set."""
    configs = [setting.config for setting in plan.settings]
    on_cpu = resolve_device(configs[0].device).type == "cpu"
    side_by_side = schedule.workers(configs)
    programs = Programs(plan, names, progress, summary, stop)
    programs.train_all(min(side_by_side, configs[0].threads or cores) if on_cpu else side_by_side)
