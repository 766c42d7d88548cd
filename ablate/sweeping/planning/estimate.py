"""What a sweep would take: each of its programs trained for a moment, then laid out side by side.

Nothing is written. The probe runs as many programs at once as the sweep would, so that they share caches and memory
as they will then.
"""

import heapq
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Generator

from ablate.config.errors import counted, is_out_of_memory, own_line, reason
from ablate.config.identity import cohort_key
from ablate.config.schema import Config
from ablate.engines.cohort import memory_bytes, training_threads
from ablate.engines.cohort.graphs import WARM_UPS
from ablate.engines.precision import computing
from ablate.networks.parameters import initial
from ablate.networks.targets import loss_of
from ablate.records.engines import kept_engines
from ablate.sweeping import schedule
from ablate.sweeping.devices import devices
from ablate.sweeping.packing import packed
from ablate.sweeping.plan import Plan
from ablate.sweeping.progress import cost, duration
from ablate.sweeping.schedule import RunGroup
from ablate.tasks import task_of
from ablate.timing.kept import load_timing
from ablate.timing.lane import default_threads
from ablate.timing.process import START_S
from ablate.timing.samples import protocol_within
from ablate.training.checkpoints import reached
from ablate.training.choice import build, make_kernels
from ablate.training.loop import resolve_device
from ablate.training.trajectory import measures_held_out, train_epoch

PROBE_S = 0.5
"""Seconds of training from which the time of an update is read …"""
PROBES_S = 3.0
"""… and of all that is probed: of many programs each is trained for its share, though for a few updates at least."""
PROBE_UPDATES = 200
"""And no more updates than this."""
LONG_S = 60.0
"""A sweep that takes longer says so before it begins."""
SLOWEST = 2e8
"""Relative cost (see `progress.cost`) that the slowest engine trains in a second, on the smallest networks."""
FORWARD_SHARE = 1 / 3
"""A forward pass, as a held-out reading is, costs about this share of an update."""


@dataclass(frozen=True)
class Estimate:
    """Runs that train together: their programs, and what they take; `problem` if they cannot be computed here."""

    group: RunGroup
    programs: list[RunGroup] = field(default_factory=list)
    update_s: float = 0.0  # one update of the largest program
    seconds: list[float] = field(default_factory=list)  # of each program
    memory_bytes: int = 0  # of the largest program
    problem: str = ""

    @property
    def engine(self) -> str:
        choice = self.programs[0].choice if self.programs else None
        return choice.engine if choice else ""


def estimate(plan: Plan, side_by_side: int) -> list[Estimate]:
    """One estimate for each group of missing runs, in the order of training."""
    groups = packed(schedule.groups(plan), side_by_side)
    probes: dict[Any, float] = {}
    memories: dict[Any, int] = {}
    configs = [setting.config for setting in plan.settings]
    threads = schedule.share_of(schedule.cut_for(configs, side_by_side, len(devices(configs))), len(groups))
    each_s = share_s([group for group in groups if group.config.task.thing.has_network])
    out, engines = [], kept_engines(plan.folder)
    device = resolve_device(plan.settings[0].config.device)
    with training_threads(side_by_side, device) as pool:
        pool.submit(make_kernels, [group.config for group in groups]).result()
        for group in groups:
            try:
                # In a worker, as in a sweep: engines are timed against each other while nothing else runs.
                programs = pool.submit(schedule.programs, group, side_by_side, threads, engines).result()
                if not group.config.task.thing.has_network:
                    out.append(Estimate(group, programs))
                    continue
                largest = max(programs, key=lambda program: len(program.runs))
                at_once = side_by_side if len(groups) > 1 else min(side_by_side, len(programs))
                key = shape(largest), at_once
                if key not in probes:
                    probes[key] = max(pool.map(partial(probe, probe_s=each_s), [largest] * at_once))
                seconds = [
                    program_s(program, probes[key] * len(program.runs) / len(largest.runs), plan)
                    for program in programs
                ]
            except (Exception, SystemExit) as error:
                if not own_line(error) and not is_out_of_memory(error):
                    raise
                out.append(Estimate(group, problem=reason(error)))  # of the memory, or of a person's own code
                continue
            out.append(Estimate(group, programs, probes[key], seconds, _memory(largest, memories)))
    return out


def _memory(program: RunGroup, known: dict[Any, int]) -> int:
    """Bytes of a program, counted once for those that differ in how their weights start; see `memory_bytes`."""
    config, corpus = program.config.but(init="normal"), program.corpus
    key = cohort_key(config, corpus.sha256), len(program.runs)
    if key not in known:
        known[key] = memory_bytes(config, len(program.runs), program.extent.sizes, device=resolve_device(config.device))
    return known[key]


def what_is_ahead(plan: Plan, programs: Sequence[RunGroup], pool: Executor, side_by_side: int) -> str | None:
    """One line on what a long sweep will take; None of one that takes no longer than `LONG_S`, or where the memory
    does not suffice or a person's own code fails, which is said of their settings when they are trained.

    Read from what chose the engines, where they were timed against each other. Other programs are trained for a moment,
    and only in a sweep that may be long.
    """
    try:
        return _what_is_ahead(plan, programs, pool, side_by_side)
    except (Exception, SystemExit) as error:
        if own_line(error) or is_out_of_memory(error):
            return None
        raise


def _what_is_ahead(plan: Plan, programs: Sequence[RunGroup], pool: Executor, side_by_side: int) -> str | None:
    if any(not setting.config.task.thing.has_network for setting in plan.settings):
        return None  # how long a function takes is known once it has been called

    def by_choice(program: RunGroup) -> float:
        choice = program.choice
        ms = choice.milliseconds.get(choice.engine, math.nan) if choice else math.nan
        return program_s(program, ms / 1000 * len(program.runs), plan)

    def at_most(program: RunGroup) -> float:
        tokens = program.extent.tokens_per_epoch
        return sum(cost(run.config, tokens) for run in program.runs) / SLOWEST

    seconds = [by_choice(program) for program in programs]
    most = [at_most(program) if math.isnan(known) else known for program, known in zip(programs, seconds, strict=True)]
    timings, timings_s = 0, 0.0
    config = plan.settings[0].config
    if config.speed:
        timings, timings_s = timings_missing(plan, config.speed_s)
    if wall_s(most, side_by_side) + timings_s <= LONG_S:
        return None
    probes: dict[Any, float] = {}
    each_s = share_s([program for program, known in zip(programs, seconds, strict=True) if math.isnan(known)])
    for at, program in enumerate(programs):
        if math.isnan(seconds[at]):
            if shape(program) not in probes:
                probes[shape(program)] = pool.submit(probe, program, each_s).result()
            seconds[at] = program_s(program, probes[shape(program)], plan)
    training_s = wall_s(seconds, side_by_side)
    if training_s + timings_s <= LONG_S:
        return None
    at_once = f"{min(side_by_side, len(programs))} of {counted(len(programs), 'program')} side by side"
    for line in on_gpus([setting.config for setting in plan.settings], []):
        at_once += f" ({line})"
    said = f"training takes about {duration(training_s)}, {at_once}"
    if timings:
        said += f"; then the speed lane about {duration(timings_s)}, for {counted(timings, 'timing')}"
    return f"{said}; Ctrl-C keeps what is finished; run the same command again to resume"


def on_gpus(configs: Sequence[Config], groups: Sequence[Sequence[RunGroup]]) -> list[str]:
    """Lines on how programs train on a GPU, none on a CPU: where, how many at once, and which are filled up."""
    config = configs[0]
    if resolve_device(config.device).type != "cuda":
        return []
    places = devices(configs)
    where = f"{len(places)} GPUs, a process each" if len(places) > 1 else places[0].name
    if not config.cuda_graphs:
        launched = "no CUDA graphs (cuda_graphs=false)"
    elif config.task.thing.has_network and loss_of(config) is not None:
        launched = "no CUDA graphs (the task has a loss of its own)"
    else:
        launched = "a minibatch is the replay of a CUDA graph"
    out = [f"on {where}: up to {counted(schedule.workers(configs), 'program')} side by side on each; {launched}"]
    for number, programs in enumerate(groups, 1):
        widths = sorted({run.config.num_hiddens for program in programs for run in program.runs})
        if len(widths) > 1:
            narrower = ",".join(map(str, widths[:-1]))
            out.append(
                f"group {number}: num_hiddens={narrower} filled up to {widths[-1]} with zeros, which is faster here"
            )
    return out


def shape(program: RunGroup) -> tuple[Any, ...]:
    """What the time of an update depends on: programs of one shape are probed once."""
    assert program.choice is not None
    return kind(program), program.choice.engine, tuple(run.config.num_hiddens for run in program.runs)


def kind(program: RunGroup) -> str:
    """What of its config the time of an update depends on."""
    config = program.config.but(init="normal", epochs=1, max_tokens=None, val_tokens=0, sampling="sequential")
    return cohort_key(config, program.corpus.sha256)


def share_s(programs: Sequence[RunGroup]) -> float:
    """Seconds for which to probe each kind among these."""
    return min(PROBE_S, PROBES_S / max(1, len(set(map(kind, programs)))))


def probe(group: RunGroup, probe_s: float = PROBE_S) -> float:
    """Seconds per update of a program like this one: the median over a moment of real training, warm-up apart."""
    config, corpus, device = group.config, group.corpus, resolve_device(group.config.device)
    assert group.choice is not None
    trained, R = task_of(config, corpus, device), len(group.runs)
    generators = [Generator().manual_seed(seed) for seed in range(R)]
    configs = [run.config for run in group.runs]
    parameters = [initial(own, trained.sizes, draws) for own, draws in zip(configs, generators, strict=True)]
    updates = config.epochs * trained.epoch_updates
    program = build(group.choice.engine, configs, trained.sizes, parameters, generators, device, updates)

    @computing(config.precision)
    def seconds(updates: int) -> float:
        began = time.perf_counter()
        losses, _ = train_epoch(trained, program, generators, updates=updates)
        return (time.perf_counter() - began) / len(losses)

    for _ in range(1 if device.type == "cpu" else WARM_UPS + 1):  # on a GPU until its graphs are recorded
        last = seconds(1)
    took: list[float] = []
    end = time.perf_counter() + probe_s
    while not took or (time.perf_counter() < end and len(took) < PROBE_UPDATES):
        last = seconds(max(1, int(probe_s / 10 / last)))
        took.append(last)
    return statistics.median(took)


def program_s(program: RunGroup, update_s: float, plan: Plan) -> float:
    """Seconds that a program still has to train, its held-out readings included."""
    config = program.config
    epoch = 0 if config.fresh else reached(plan.folder, program.runs[0].run_id)[0]
    left = range(epoch + 1, config.epochs + 1)
    updates = len(left) * program.extent.updates_per_epoch
    readings = sum(measures_held_out(config, number) for number in left)
    trained = task_of(config, program.corpus)
    minibatches_held_out = trained.val_tokens * trained.epoch_updates / trained.tokens_per_epoch
    return update_s * (updates + readings * minibatches_held_out * FORWARD_SHARE)


def wall_s(seconds: Sequence[float], side_by_side: int) -> float:
    """How long programs take that start in this order, each as soon as one of the places is free."""
    busy_until = [0.0] * side_by_side
    for each in seconds:
        heapq.heapreplace(busy_until, busy_until[0] + each)
    return max(busy_until)


def timings_missing(plan: Plan, limit_s: float) -> tuple[int, float]:
    """How many timings the speed lane would take, and for how many seconds."""
    settings = [setting for setting in plan.settings if not setting.error]
    counts = default_threads([setting.config for setting in settings])
    missing = sum(
        load_timing(plan.folder, setting.setting_id, setting.config, threads) is None
        for setting in settings
        for threads in counts
    )
    protocol = protocol_within(limit_s)
    return missing, missing * (protocol.limit_s + START_S * protocol.launches)
