"""The plan of a sweep on the terminal: its settings, its programs, and what they take and tell."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.table import Table

from ablate.config.composing import fallback_data
from ablate.config.presets import question
from ablate.config.schema import Config
from ablate.report.tables import PLAIN, print_whole, value_text
from ablate.sweeping.launch import folder_of
from ablate.sweeping.naming import Asked
from ablate.sweeping.plan import Plan, Setting, knobs_of, make_plan, updates_per_epoch, varying
from ablate.sweeping.planning.estimate import Estimate, estimate, timings_missing, wall_s
from ablate.sweeping.planning.spread import detectable, metrics_of, spread_over_seeds
from ablate.sweeping.progress import duration
from ablate.sweeping.schedule import free_memory, workers
from ablate.training.loop import resolve_device


def show(configs: Sequence[Config], asked: Asked) -> None:
    """Print the plan of these settings. Raises UserError for input that cannot run."""
    say = partial(Console().print, highlight=False, markup=False, soft_wrap=True)
    plan = make_plan(configs, folder_of(configs, asked.name), fallback_data(), given=asked.given)
    side_by_side = workers(configs)
    for note in plan.notes:
        Console(stderr=True).print(note, highlight=False, markup=False, soft_wrap=True)
    for warning in plan.warnings:
        Console(stderr=True).print(f"warning: {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if asked.preset and (asks := question(asked.preset)):
        say(asks)
    estimates = estimate(plan, side_by_side)
    say(f"\n{plan.folder}", style="bold")
    print_whole(settings_table(plan, configs, estimates))
    if estimates:
        say("")
        print_whole(programs_table(estimates))
    say("")
    for setting in plan.settings:
        if setting.error:
            say(f"cannot run: {setting.config.model.name} ({setting.setting_id}): {setting.error}", style="red")
    for guess in estimates:
        if guess.problem:
            say(f"cannot run: {guess.group.config.model.name}: {guess.problem}", style="red")
    for line in totals(plan, estimates, side_by_side):
        say(line)
    seeds = min(len(setting.runs) for setting in plan.settings if not setting.error)
    for metric in metrics_of(plan):
        say(detectable(spread_over_seeds(plan, metric), seeds, metric))


def settings_table(plan: Plan, configs: Sequence[Config], estimates: Sequence[Estimate]) -> Table:
    """One row per setting: what is varied, its runs, and the group in which the missing ones train."""
    swept = ["model", *varying(configs)]
    numbers = {setting.setting_id: k for k, guess in enumerate(estimates, 1) for setting in guess.group.settings}
    table = Table(**PLAIN)
    for name in swept:
        table.add_column(name, justify="left" if name == "model" else "right")
    for name in ("updates", "runs", "done", "reused", "to train", "group"):
        table.add_column(name, justify="right")
    for setting in plan.settings:
        values = knobs_of(setting.config)
        table.add_row(
            values["model"],
            *(value_text(values[name]) for name in swept[1:]),
            "–"
            if setting.error
            else f"{setting.config.epochs * updates_per_epoch(setting.config, setting.corpus):.0f}",
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
        sizes = Counter(len(task.runs) for task in guess.programs)
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


def totals(plan: Plan, estimates: Sequence[Estimate], side_by_side: int) -> list[str]:
    """Lines on the whole sweep: runs, time and memory."""
    runs, done, reused, missing = (sum(parts) for parts in zip(*map(counts, plan.settings), strict=True))
    lines = [
        f"{len(plan.settings)} settings, {runs} runs: {done} done, {reused} reused from other sweeps, {missing} to "
        f"train"
    ]
    seconds = [own for guess in estimates for own in guess.seconds]
    config = plan.settings[0].config
    if seconds:
        memory = sorted((guess.memory_bytes for guess in estimates for _ in guess.programs), reverse=True)
        free = free_memory(resolve_device(config.device))
        beside = f" (free: {size(free)})" if free else ""
        lines.append(
            f"training takes about {duration(wall_s(seconds, side_by_side))}, {min(side_by_side, len(seconds))} of "
            f"{len(seconds)} programs side by side, and {size(sum(memory[:side_by_side]))}{beside}"
        )
    if config.speed and (timing := timings_missing(plan, config.speed_s))[0]:
        lines.append(f"the speed lane takes about {duration(timing[1])} after that, for {timing[0]} timings")
    return lines


def size(count: int) -> str:
    """`12 MiB`, `3.4 GiB`."""
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"
