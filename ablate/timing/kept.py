"""The timings that sweeps keep: found for a setting on this machine, in one sweep or in those beside it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ablate.config.errors import UserError
from ablate.config.identity import former_setting_ids
from ablate.config.resolved import Resolved
from ablate.data.corpora import load
from ablate.records.files import entries, write_json
from ablate.records.places import holds_timings, timing_path
from ablate.records.reading import RecordError
from ablate.records.timings import read_timing
from ablate.timing.machine import fingerprint
from ablate.timing.samples import Timing
from ablate.training.loop import resolve_device


def stored(sweep: Path, setting_id: str, threads: int, machine: str, former: Sequence[str] = ()) -> Timing | None:
    """A clean timing of this setting on a machine, by its fingerprint; `former`: ids that the setting had before."""
    try:
        timing = Timing(**read_timing(sweep, setting_id, threads, machine, former))
    except (RecordError, TypeError):
        return None
    return timing if timing.clean else None


def store(sweep: Path, timing: Timing) -> None:
    write_json(timing_path(sweep, timing.setting_id, timing.threads, timing.machine), asdict(timing))


def load_timing(sweep: Path, setting_id: str, config: Resolved, threads: int) -> Timing | None:
    """A clean timing of this setting on this machine, in this sweep or in another one in the same results folder."""
    machine = machine_of(config)["id"]
    folders = [sweep, *(folder for folder in entries(sweep.parent) if folder != sweep and holds_timings(folder))]
    for older in (False, True):
        former = former_ids(config) if older else ()  # for which the whole text is read
        for folder in folders:
            timing = stored(folder, setting_id, threads, machine, former)
            if timing:
                return timing
    return None


def at_hand(sweep: Path, setting_id: str, config: Resolved, threads: int) -> bool:
    """Whether this sweep has a clean timing of a setting on this machine, if need be taken over from another sweep."""
    timing = load_timing(sweep, setting_id, config, threads)
    if timing and not stored(sweep, setting_id, threads, timing.machine):
        store(sweep, timing)
    return timing is not None


def former_ids(config: Resolved) -> tuple[str, ...]:
    """The ids that a setting could have had in older versions; none where its text cannot be had."""
    try:
        return former_setting_ids(config, load(config.data).sha256)
    except UserError:
        return ()


def machine_of(config: Resolved) -> dict[str, Any]:
    """The fingerprint of what this config is computed on. Raises ConfigError for a GPU where there is none."""
    return fingerprint(str(resolve_device(config.device)))
