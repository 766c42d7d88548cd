"""What a person sees while a sweep runs: one live line on a terminal, a line per finished setting in a log."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Protocol, Self

from rich.console import RenderableType
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from ablate.cells.cell import live_gates
from ablate.config.resolved import Resolved
from ablate.config.terminal import console
from ablate.networks.parameters import directions
from ablate.records.record import Record
from ablate.sweeping.plan import Plan
from ablate.sweeping.schedule import RunGroup


def cost(config: Resolved, tokens_per_epoch: int) -> float:
    """Relative training time of a run: multiplications, plus what a time step costs however small it is."""
    gates = len(live_gates(config)) * len(directions(config))
    per_token = gates * config.layers * (config.num_hiddens * (2 * config.num_hiddens + 30) + 5_000)
    return float(config.epochs * tokens_per_epoch * per_token)


class Listener(Protocol):
    """What hears of programs that train. Called from several threads."""

    def say(self, text: str) -> None: ...

    def warn(self, line: str) -> None: ...

    def preparing(self, what: str) -> None: ...

    def epoch(self, program: RunGroup, name: str, epoch: int, perplexity: float) -> None: ...

    def ended(self, program: RunGroup) -> None: ...

    def dropped(self, program: RunGroup) -> None: ...

    def done(self, program: RunGroup, records: Sequence[Record], names: Mapping[str, str]) -> None: ...

    def failed(self, name: str, reason: str) -> None: ...


class _Bar(Bar):
    """The live line, and what stands above it."""

    above: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.above is not None:
            yield self.above
        yield from super().get_renderables()


class Progress:
    """Runs done, what is training now, time left by the speed so far, failures. Called from several threads.

    A live line on a terminal, and in a notebook that has ipywidgets, without which rich would warn at every update;
    anywhere else a line per finished setting. `quiet`: nothing.
    """

    def __init__(self, plan: Plan, done_before: int, quiet: bool = False, above: RenderableType | None = None) -> None:
        self.console = console(stderr=True, quiet=quiet)
        in_notebook = self.console.is_jupyter and find_spec("ipywidgets") is not None
        self.live = not quiet and (self.console.is_terminal or in_notebook)
        self.total = sum(len(setting.runs) for setting in plan.settings)
        self.finished_runs = done_before
        self.failures = 0
        self.missing = {setting.setting_id: len(setting.missing) for setting in plan.settings}
        self.outstanding = {
            run.run_id: cost(run.config, setting.extent.tokens_per_epoch)
            for setting in plan.settings
            for run in setting.missing
        }
        self.cost_done, self.cost_left = 0.0, sum(self.outstanding.values())
        self.running: dict[str, tuple[float, int]] = {}  # first run of a program -> share done, how many runs
        self.began = time.monotonic()
        self.lock = threading.Lock()
        self.bar = _Bar(
            TextColumn("{task.fields[finished]}/{task.total:.0f} runs", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12, table_column=Column(min_width=12)),
            TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
            TextColumn("[red]{task.fields[failures]}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[now]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=self.console,
            transient=True,
            expand=True,
            disable=not self.live,
        )
        self.bar.above = above
        # The bar moves with every epoch; the number beside it is that of the runs that are on disk.
        self.task = self.bar.add_task(
            "", total=self.total, completed=done_before, finished=done_before, now="", left="", failures=""
        )

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=True, highlight=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        self.say(f"[yellow]warning:[/] {escape(line)}")

    def preparing(self, what: str) -> None:
        """What goes on before the first program trains; nothing any more where `what` is empty."""
        self.bar.update(self.task, now=what)

    def epoch(self, program: RunGroup, name: str, epoch: int, perplexity: float) -> None:
        """Called after every epoch of a program."""
        if not self.live:
            return
        epochs, runs = program.config.epochs, len(program.runs)
        seeds = f"{runs} seeds" if runs > 1 else f"seed {program.config.seed}"
        with self.lock:
            self.running[program.runs[0].run_id] = epoch / epochs, runs
            shares = sum(share * count for share, count in self.running.values())
            self.bar.update(
                self.task,
                completed=self.finished_runs + shares,
                now=f"{escape(name)}, {seeds}: epoch {epoch}/{epochs}, perplexity {perplexity:.2f}",
                left=self.time_left(),
            )

    def time_left(self) -> str:
        """`2 min left`, from the cost of what is done and the time that it took."""
        partly = sum(
            share * count * self.outstanding.get(run_id, 0.0) for run_id, (share, count) in self.running.items()
        )
        done, elapsed = self.cost_done + partly, time.monotonic() - self.began
        if done <= 0 or elapsed < 1:
            return ""
        return f"{duration(elapsed * (self.cost_left - partly) / done)} left"

    def ended(self, program: RunGroup) -> None:
        """A program is no longer running; its runs may still be to train."""
        with self.lock:
            self.running.pop(program.runs[0].run_id, None)

    def dropped(self, program: RunGroup) -> None:
        """A program has ended, well or not."""
        self.ended(program)
        with self.lock:
            for run in program.runs:
                self.cost_left -= self.outstanding.pop(run.run_id, 0.0)

    def done(self, program: RunGroup, records: Sequence[Record], names: Mapping[str, str]) -> None:
        """The runs of a program are on disk; in a log, say so when that completes a setting."""
        self.cost_done += sum(self.outstanding.get(run.run_id, 0.0) for run in program.runs)
        self.dropped(program)
        self.finished_runs += len(records)
        self.bar.update(self.task, completed=self.finished_runs, finished=self.finished_runs)
        for record in records:
            name = escape(names[record.setting_id])
            if record.divergence:
                self.say(f"[yellow]diverged:[/] {name} seed {record.seed} in epoch {record.divergence['epoch']}")
            self.missing[record.setting_id] -= 1
            if self.missing[record.setting_id] == 0 and not self.live:
                took = duration(time.monotonic() - self.began)
                self.say(f"{self.finished_runs}/{self.total} runs after {took}: {name} done ({record.engine})")

    def failed(self, name: str, reason: str) -> None:
        self.failures += 1
        self.bar.update(self.task, failures=f"{self.failures} failed")
        self.say(f"[red]failed:[/] {escape(name)}: {escape(reason)}")


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
