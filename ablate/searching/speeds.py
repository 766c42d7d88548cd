"""Tokens per second in a search: measured in the speed lane while none of its programs trains."""

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from ablate.records import timings as stored_timings
from ablate.records.reading import RecordError
from ablate.searching.evaluation import Timed
from ablate.sweeping.plan import Setting
from ablate.timing.kept import machine_of, stored
from ablate.timing.lane import time_missing
from ablate.timing.machine import MachineInUse, quality_jobs
from ablate.timing.samples import Protocol

WAIT_S = 2.0
"""How often to look whether the machine is free."""


def time_when_free(
    folder: Path, settings: Iterable[Setting], limit_s: float, say: Callable[[str], None], stop: threading.Event
) -> None:
    """Time what is not timed yet, once nobody else of ours trains on the machine.

    Raises MachineInUse if `stop` is set meanwhile, and at once the UserError of what no waiting mends.
    """
    configs = {setting.setting_id: setting.config for setting in settings}
    told = False
    while True:
        try:
            time_missing(folder, configs, [1], Protocol(limit_s=limit_s), say)
            return
        except MachineInUse as error:
            if not told:
                say(f"waiting for the speed lane: {error}")
            told = True
            if stop.wait(WAIT_S):
                raise


def train_when_free(held: ExitStack, stop: threading.Event) -> None:
    """Take the lock of those who train into `held`, once the speed lane of another process is done.

    Raises MachineInUse if `stop` is set meanwhile.
    """
    while True:
        try:
            held.enter_context(quality_jobs())
            return
        except MachineInUse:
            if stop.wait(WAIT_S):
                raise


def timed(folder: Path, setting: Setting) -> Timed:
    """What the lane has measured of a setting, or why there is nothing."""
    machine = machine_of(setting.config)["id"]
    timing = stored(folder, setting.setting_id, 1, machine)
    if timing is not None:
        own = timing.summary["train"]
        return Timed(own["tokens_per_s"], own["low"], own["high"])
    try:
        spoiled = stored_timings.read_timing(folder, setting.setting_id, 1, machine, setting.former_ids)
        why = spoiled["summary"]["train"]["why"]
    except (RecordError, KeyError):
        why = "it could not be timed"
    return Timed(None, why=why)
