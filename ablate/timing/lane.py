"""The protocol of the speed lane.

Each setting is timed in fresh processes of its own, one sample at a time on the whole machine. Samples are taken in
rounds that go through all settings in turn, so that drift meets all alike; they go on until the 95 % interval of the
speed is narrow enough or the time is up. A sample taken while something else was running is kept, marked, and counts
for nothing; where the system does not tell what else was running, a sample is not checked, and is never called clean.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from ablate.config.errors import counted, listing
from ablate.config.resolved import Resolved
from ablate.config.schema import to_dict
from ablate.records.environment import cores
from ablate.timing.kept import at_hand, machine_of, store, stored
from ablate.timing.machine import gemm_gflops, speed_lane
from ablate.timing.process import START_S, Processes, WorkerFailed, WorkerHung
from ablate.timing.samples import SUBJECTS, Protocol, Timing, conclude, enough, sample
from ablate.training.loop import resolve_device


def default_threads(configs: Iterable[Resolved]) -> list[int]:
    """The numbers of threads with which these are timed where none are given: one, and all cores; where a GPU computes,
    one, since the CPU does no more than tell it what to do."""
    on_gpu = all(resolve_device(config.device).type == "cuda" for config in configs)
    return [1] if on_gpu else sorted({1, cores()})


TOGETHER = 12
"""Settings whose rounds are interleaved; more would only hold memory."""


def time_missing(
    sweep: Path,
    settings: Mapping[str, Resolved],
    threads: Sequence[int],
    protocol: Protocol,
    say: Callable[[str], None],
    again: bool = False,
) -> bool:
    """Time every setting that has no clean timing on this machine (`again`: every setting) and keep the timings.

    A clean timing that another sweep in the same results folder has of a setting is copied; one that is there already
    is not replaced by one that is not clean. Takes the whole machine.
    What cannot be timed is said once for each reason; False where that is all there was to time. Raises UserError
    where another ablate trains or measures on it.
    """
    timed = 0
    failed: dict[str, list[Timing]] = {}
    hung: dict[str, list[int]] = {}
    """Setting whose process hung → the numbers of threads with which it is not tried again."""
    with speed_lane():
        for n in threads:
            missing = {
                setting: config
                for setting, config in settings.items()
                if again or not at_hand(sweep, setting, config, n)
            }
            for setting in hung.keys() & missing.keys():
                hung[setting].append(n)
                del missing[setting]
            if not missing:
                continue
            minutes = math.ceil(len(missing) * (protocol.limit_s + START_S * protocol.launches) / 60)
            say(f"timing {counted(len(missing), 'setting')} with {counted(n, 'thread')}, about {minutes} min")
            for timing in measure(missing, [n], protocol, say):
                if timing.failure:
                    failed.setdefault(timing.failure, []).append(timing)
                    hung |= {timing.setting_id: []} if timing.facts.get("hung") else {}
                elif not timing.clean and stored(sweep, timing.setting_id, n, timing.machine):
                    name = f"{timing.config['model']['name']} ({timing.setting_id})"
                    say(escape(f"kept the earlier timing of {name}: of the new one {timing.summary['train']['why']}"))
                else:
                    store(sweep, timing)
                    timed += 1
    for why, timings in failed.items():
        first = f"{timings[0].config['model']['name']} ({timings[0].setting_id})"
        settings_of_it = len({timing.setting_id for timing in timings})
        which = first if settings_of_it == 1 else f"{settings_of_it} settings, the first {first}"
        threads_left = sorted({n for timing in timings for n in hung.get(timing.setting_id, ())})
        untried = f"; not tried with {listing(map(str, threads_left))} threads" if threads_left else ""
        say(escape(f"cannot time {which}: {why}{untried}"))
    return bool(timed or not failed)


def measure(
    settings: Mapping[str, Resolved],
    threads: Sequence[int],
    protocol: Protocol,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Timing]:
    """Time each setting (setting_id → config) with each number of threads; yields timings as they are finished or fail.

    The caller holds the machine (`ablate.timing.machine.speed_lane`).
    """
    where = {one: (str(resolve_device(config.device)), config.precision) for one, config in settings.items()}
    limits = {(n, *each): gemm_gflops(n, *each) for n in threads for each in dict.fromkeys(where.values())}
    jobs = [(setting_id, config, n) for n in threads for setting_id, config in settings.items()]
    for start in range(0, len(jobs), TOGETHER):
        timings = [
            Timing(
                setting_id, machine_of(config)["id"], n, to_dict(config), machine_of(config), protocol=asdict(protocol)
            )
            for setting_id, config, n in jobs[start : start + TOGETHER]
        ]
        with Processes(protocol.answer_s) as processes:
            for launch in range(protocol.launches):
                say(
                    f"settings {start + 1}–{start + len(timings)} of {len(jobs)}, process {launch + 1} of "
                    f"{protocol.launches}"
                )
                here = sum(not timing.failure for timing in timings)
                processes.prepare(here, here * (protocol.launches - 1 - launch))
                run_rounds(timings, launch, protocol, processes)
        for timing in timings:
            if not timing.failure:
                conclude(timing, protocol, limits[timing.threads, *where[timing.setting_id]])
            yield timing


def run_rounds(timings: Sequence[Timing], launch: int, protocol: Protocol, processes: Processes) -> None:
    """One fresh process per setting, and rounds of one sample per subject until all are precise or out of time."""
    with ExitStack() as stack:
        open_ended = []
        for timing in timings:
            if timing.failure:
                continue
            try:
                task = {"config": timing.config, "setting_id": timing.setting_id, "threads": timing.threads}
                task["count"] = "flops_per_token" not in timing.facts
                ask, facts = stack.enter_context(processes.take(task))
            except WorkerFailed as error:
                _failed(timing, error)
                continue
            readings = timing.facts.get("last_epoch_readings", [])
            timing.facts |= facts | {"last_epoch_readings": [*readings, facts["last_epoch_tokens_per_s"]]}
            open_ended += [(timing, ask, name) for name in SUBJECTS]
        while open_ended:
            for timing, ask, name in open_ended:
                if timing.failure:  # in this round, of a subject before: its process has ended
                    continue
                began = time.monotonic()
                try:
                    timing.samples[name].append(sample(timing, ask, name, launch, protocol))
                except WorkerFailed as error:
                    _failed(timing, error)
                timing.spent_s += time.monotonic() - began
            open_ended = [
                (timing, ask, name)
                for timing, ask, name in open_ended
                if not timing.failure and not enough(timing, name, launch, protocol)
            ]


def _failed(timing: Timing, error: WorkerFailed) -> None:
    timing.failure = str(error)
    timing.facts |= {"hung": True} if isinstance(error, WorkerHung) else {}
