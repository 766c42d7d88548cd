"""The plan of a sweep on the terminal: its settings, its programs, and what they take and tell."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.table import Table

from ablate.analysis.frames import value_text
from ablate.config.choice_files import question
from ablate.config.columns import as_typed
from ablate.config.composing import fallback_data
from ablate.config.errors import counted
from ablate.config.schema import Config
from ablate.config.terminal import lines, working
from ablate.report.tables import PLAIN, print_whole
from ablate.sweeping.devices import devices
from ablate.sweeping.labels import framed, knobs_of, label, varying
from ablate.sweeping.launch import folder_of
from ablate.sweeping.naming import Asked
from ablate.sweeping.plan import Plan, Setting, make_plan
from ablate.sweeping.planning.estimate import Estimate, estimate, on_gpus, timings_missing, wall_s
from ablate.sweeping.planning.jobs import PlannedJobs, planned_jobs
from ablate.sweeping.planning.spread import detectable, metrics_of, smallest, spread_over_seeds
from ablate.sweeping.progress import duration
from ablate.sweeping.schedule import free_memory, workers
from ablate.training.loop import resolve_device


@dataclass
class Planned:
    """The plan of some settings, and what it would take."""

    plan: Plan
    configs: Sequence[Config]
    asked: Asked
    estimates: list[Estimate]
    side_by_side: int
    jobs: PlannedJobs | None = None  # where a cluster is to train, and there is something to train

    @classmethod
    def of(cls, configs: Sequence[Config], asked: Asked) -> "Planned":
        """Trains each kind of program for a moment. Raises UserError for input that cannot run."""
        plan = make_plan(configs, folder_of(configs, asked.name), fallback_data(), given=asked.given)
        each = workers(configs) if asked.cluster is None else min(workers(configs), asked.cluster.cpus)
        with working("compiling kernels and timing updates"):
            found = estimate(plan, each)
        jobs = None if asked.cluster is None else planned_jobs(found, asked.cluster)
        return cls(plan, configs, asked, found, len(devices(configs)) * each, jobs)

    @cached_property
    def swept(self) -> list[str]:
        """The knobs, other than the model, that tell the settings apart."""
        return varying(self.configs)

    @property
    def question(self) -> str | None:
        return question(self.asked.preset) if self.asked.preset else None

    @property
    def seeds(self) -> int:
        """The fewest of a setting that can run."""
        return min(len(setting.runs) for setting in self.plan.settings if not setting.error)

    def show(self) -> None:
        """Print it."""
        say = lines(stderr=False)
        complain = lines()
        plan, estimates = self.plan, self.estimates
        for note in plan.notes:
            complain(note)
        for warning in plan.warnings:
            complain(f"warning: {warning}", style="yellow")
        if self.question:
            say(self.question)
        say()
        say(str(plan.folder), style="bold")
        print_whole(settings_table(plan, self.swept, estimates))
        if estimates:
            say("")
            print_whole(programs_table(estimates))
        say("")
        for setting in plan.settings:
            if setting.error:
                name = label(setting.config, self.swept)
                say(f"cannot run: {name} ({setting.setting_id}): {setting.error}", style="red")
        for guess in estimates:
            if guess.problem:
                say(f"cannot run: {label(guess.group.config, self.swept)}: {guess.problem}", style="red")
        for line in totals(plan, estimates, self.side_by_side, self.jobs):
            say(line)
        for line in on_gpus(self.configs, [guess.programs for guess in estimates]):
            say(line)
        for metric in metrics_of(plan):
            say(detectable(spread_over_seeds(plan, metric), self.seeds, metric))

    def to_json(self) -> dict[str, Any]:
        """The same, by names that stay (see `ablate plan --help`)."""
        plan, swept = self.plan, ["model", *self.swept]
        numbers = {s.setting_id: k for k, guess in enumerate(self.estimates, 1) for s in guess.group.settings}
        names = ("runs", "done", "reused", "to_train")
        settings = [
            {
                "setting_id": setting.setting_id,
                "knobs": {as_typed(name): knobs_of(setting.config).get(name) for name in swept},
                "updates": None if setting.error else updates(setting),
                **dict(zip(names, counts(setting), strict=True)),
                "group": numbers.get(setting.setting_id),
                "error": str(setting.error) if setting.error else None,
            }
            for setting in plan.settings
        ]
        groups = [
            {
                "settings": [setting.setting_id for setting in guess.group.settings],
                "programs": [len(program.runs) for program in guess.programs],
                "num_hiddens": sorted({run.config.num_hiddens for run in guess.group.runs}),
                "engine": guess.engine or None,
                "update_s": guess.update_s if guess.programs else None,
                "memory_bytes": guess.memory_bytes if guess.programs else None,
                "seconds": guess.seconds,
                "error": guess.problem or None,
            }
            for guess in self.estimates
        ]
        config = plan.settings[0].config
        timings, timings_s = timings_missing(plan, config.speed_s) if config.speed else (0, 0.0)
        seconds, memory = training_s(self.estimates, self.side_by_side), memory_of(self.estimates, self.side_by_side)
        return {
            "folder": str(plan.folder),
            "preset": self.asked.preset,
            "question": self.question,
            "settings": settings,
            "groups": groups,
            **{name: sum(setting[name] for setting in settings) for name in names},
            "seconds": seconds,
            "side_by_side": self.side_by_side,
            "jobs": None if self.jobs is None else self.jobs.to_json(),
            "devices": [device.name for device in devices(self.configs)],
            "memory_bytes": memory,
            "free_bytes": free_memory(resolve_device(config.device)),
            "timings": timings,
            "timings_s": timings_s,
            "seeds": self.seeds,
            "detectable": [
                smallest(spread_over_seeds(plan, metric), self.seeds, metric) for metric in metrics_of(plan)
            ],
            "notes": plan.notes,
            "warnings": plan.warnings,
        }


def updates(setting: Setting) -> int:
    """How many a run of this setting has."""
    return round(setting.config.epochs * setting.extent.updates_per_epoch)


def settings_table(plan: Plan, varied: Sequence[str], estimates: Sequence[Estimate]) -> Table:
    """One row per setting: what is varied, its runs, and the group in which the missing ones train."""
    swept = ["model", *varied]
    numbers = {setting.setting_id: k for k, guess in enumerate(estimates, 1) for setting in guess.group.settings}
    table = Table(**PLAIN)
    for name in swept:
        table.add_column(as_typed(name), justify="left" if name == "model" else "right")
    for name in ("updates", "runs", "done", "reused", "to train", "group"):
        table.add_column(name, justify="right")
    for setting in plan.settings:
        values = knobs_of(setting.config)
        table.add_row(
            *(value_text(framed(values.get(name))) for name in swept),
            str(updates(setting) or "–") if not setting.error else "–",
            *(str(count) if count else "–" for count in counts(setting)),
            str(numbers.get(setting.setting_id, "–")),
        )
    return table


def counts(setting: Setting) -> tuple[int, int, int, int]:
    """A setting's runs: all, done, held by another sweep, to train."""
    reused = sum(bool(run.reused_from) for run in setting.runs)
    return len(setting.runs), len(setting.runs) - reused - len(setting.missing), reused, len(setting.missing)


def programs_table(estimates: Sequence[Estimate]) -> Table:
    """One row per group of runs that can train together: its programs, and what one of them takes."""
    table = Table(title="what trains together", **PLAIN)
    for name in ("group", "settings", "programs × runs", "engine", "ms per update", "memory", "time each"):
        table.add_column(name, justify="left" if name == "engine" else "right")
    for number, guess in enumerate(estimates, 1):
        sizes = Counter(len(program.runs) for program in guess.programs)
        table.add_row(
            str(number),
            str(len(guess.group.settings)),
            " + ".join(f"{count} × {size}" for size, count in sizes.items()) or "–",
            guess.engine or "–",
            f"{1000 * guess.update_s:.3g}" if guess.programs else "–",
            size(guess.memory_bytes) if guess.programs else "–",
            duration(max(guess.seconds)) if guess.seconds else "–",
        )
    return table


def totals(plan: Plan, estimates: Sequence[Estimate], side_by_side: int, jobs: PlannedJobs | None = None) -> list[str]:
    """Lines on the whole sweep: runs, time and memory."""
    runs, done, reused, missing = (sum(parts) for parts in zip(*map(counts, plan.settings), strict=True))
    lines = [
        f"{counted(len(plan.settings), 'setting')}, {counted(runs, 'run')}: {done:,} done, "
        f"{reused:,} reused from other sweeps, {missing:,} to train"
    ]
    config = plan.settings[0].config
    if jobs is not None:
        lines += jobs.lines()
    elif programs := sum(len(guess.seconds) for guess in estimates):
        free = free_memory(resolve_device(config.device))
        beside = f" (free: {size(free)})" if free else ""
        lines.append(
            f"training takes about {duration(training_s(estimates, side_by_side))}, {min(side_by_side, programs)} of "
            f"{counted(programs, 'program')} side by side, and {size(memory_of(estimates, side_by_side))}{beside}"
        )
    if config.speed and (timing := timings_missing(plan, config.speed_s))[0]:
        lines.append(f"the speed lane takes about {duration(timing[1])} after that, for {counted(timing[0], 'timing')}")
    return lines


def training_s(estimates: Sequence[Estimate], side_by_side: int) -> float:
    """How long all programs take, so many side by side."""
    return wall_s([own for guess in estimates for own in guess.seconds], side_by_side)


def memory_of(estimates: Sequence[Estimate], side_by_side: int) -> int:
    """Bytes of the largest programs that may train side by side."""
    return sum(sorted((g.memory_bytes for g in estimates for _ in g.programs), reverse=True)[:side_by_side])


def size(count: int) -> str:
    """`12 MiB`, `3.4 GiB`."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
