"""Tokens per second of settings: those of a finished sweep, or any given by overrides."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from ablate.analysis.throughput import speed_frame
from ablate.config import plugins
from ablate.config.composing import compose_all, fallback_data, from_dict
from ablate.config.errors import StorageError, UserError
from ablate.config.presets import given_knobs
from ablate.config.resolved import Resolved
from ablate.config.terminal import lines
from ablate.config.validation import validate
from ablate.records.manifest import plugins_of
from ablate.records.places import is_sweep
from ablate.records.reading import RecordError
from ablate.records.results import records
from ablate.report import write_report
from ablate.report.throughput import write_speed
from ablate.sweeping.naming import folder_name
from ablate.sweeping.plan import make_plan
from ablate.timing.lane import default_threads, time_missing
from ablate.timing.samples import Protocol
from ablate.training.loop import check_device


def run(what: Sequence[str], options: argparse.Namespace) -> bool:
    """Time the settings of each folder, or those of `settings knob=value …`; False where none of one of them could be.

    Raises UserError for what is neither.
    """
    if what[0] == "settings":
        folder, settings = settings_of_overrides(what[1:])
        return time_and_show(folder, settings, options)
    timed = [time_and_show(Path(name), settings_of_sweep(Path(name)), options) for name in what]
    return all(timed)


def settings_of_sweep(sweep: Path) -> dict[str, Resolved]:
    """setting_id → config of every setting that a sweep has records of. Raises UserError where there is none."""
    plugins.load(plugins_of(sweep))
    found = {r["setting_id"]: from_dict(r["config"]) for r in records(sweep) if not isinstance(r, RecordError)}
    for config in found.values():  # of a file that anybody may have written
        try:
            validate(config)
        except UserError as error:
            raise UserError(f"{sweep} has settings that no run can have: {error}") from error
    if not found:
        raise UserError(f"{sweep} holds no finished run; give engines, settings knob=value …, or a folder of a sweep")
    return found


def settings_of_overrides(overrides: Sequence[str]) -> tuple[Path, dict[str, Resolved]]:
    """Where their timings go, and setting_id → config of every combination of the overrides' values."""
    configs = compose_all(overrides)
    folder = Path(configs[0].results_dir).expanduser() / (configs[0].name or f"speed_{folder_name(overrides)}")
    plan = make_plan(configs, folder, fallback_data(), given=given_knobs(overrides))
    say = lines(markup=True)
    for warning in plan.warnings:
        say(f"[yellow]warning:[/] {escape(warning)}")
    for setting in plan.settings:
        if setting.error:
            say(f"[yellow]left out:[/] {escape(str(setting.error))}")
    return folder, {setting.setting_id: setting.config for setting in plan.settings if not setting.error}


def time_and_show(folder: Path, settings: dict[str, Resolved], options: argparse.Namespace) -> bool:
    """Measure what has no clean timing on this machine, store it below `folder`, and show all that is there.

    False, and nothing is shown, where nothing that lacked a timing could be measured.
    """
    for config in settings.values():
        check_device(config)
    protocol = Protocol(precision=options.precision, limit_s=options.limit)
    say, threads = lines(markup=True), options.threads or default_threads(settings.values())
    try:
        if not time_missing(folder, settings, threads, protocol, say, options.again):
            return False
        write_speed(folder, speed_frame(folder))
    except OSError as error:
        raise StorageError.of(error) from error
    if is_sweep(folder):
        write_report(folder)
    return True
