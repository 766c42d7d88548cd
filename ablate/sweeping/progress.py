"""What a person sees while a sweep runs: one live line on a terminal, one line per cell in a log."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from ablate.results import Record
from ablate.sweeping.plan import Cell, Plan, Run


def cost(run: Run) -> float:
    """Relative training time of a run: multiplications per epoch plus a fixed share per time step."""
    c = run.config
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[c.model.cell]
    tokens = c.max_tokens or 100_000
    per_token = gates * c.layers * c.num_hiddens * (2 * c.num_hiddens + 30) + 20_000 * gates * c.layers
    return float(c.epochs * tokens * per_token)


class Progress:
    """Runs done, what is training now, time left by the speed so far, failures."""

    def __init__(self, plan: Plan, done_before: int) -> None:
        self.console = Console(stderr=True)
        self.live = self.console.is_terminal
        self.total = sum(len(cell.runs) for cell in plan.cells)
        self.finished_runs = done_before
        self.failures = 0
        self.outstanding = {run.run_id: cost(run) for cell in plan.cells for run in cell.missing}
        self.cost_done = 0.0
        self.began = time.monotonic()
        self.cell_began = self.began
        self.current: Run | None = None
        self.name = ""
        self.bar = Bar(
            TextColumn("{task.completed:.0f}/{task.total:.0f} runs"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[now]}"),
            TextColumn("{task.fields[left]}"),
            TextColumn("[red]{task.fields[failures]}"),
            console=self.console,
            transient=True,
            disable=not self.live,
        )
        self.task = self.bar.add_task(
            "sweep", total=self.total, completed=self.finished_runs, now="", left="", failures=""
        )

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def begin(self, name: str, run: Run) -> None:
        self.name, self.current = name, run
        self.bar.update(self.task, now=f"{escape(name)} seed {run.config.seed}")

    def epoch(self, epoch: int, perplexity: float) -> None:
        """Called after every epoch of the current run."""
        assert self.current is not None
        config = self.current.config
        share = epoch / config.epochs
        self.bar.update(
            self.task,
            completed=self.finished_runs + share,
            now=f"{escape(self.name)} seed {config.seed}, epoch {epoch}/{config.epochs}, perplexity {perplexity:.2f}",
            left=self.time_left(share * cost(self.current)),
        )

    def time_left(self, current_cost: float) -> str:
        """`2 min left`, from the cost of what is done and the time that it took."""
        done = self.cost_done + current_cost
        elapsed = time.monotonic() - self.began
        if done <= 0 or elapsed < 1:
            return ""
        return f"{duration(elapsed * (sum(self.outstanding.values()) - current_cost) / done)} left"

    def done(self, record: Record) -> None:
        """The current run is on disk."""
        assert self.current is not None
        self.finished_runs += 1
        self.cost_done += self.outstanding.pop(self.current.run_id)
        self.bar.update(self.task, completed=self.finished_runs)
        if record.divergence:
            self.say(
                f"[yellow]diverged:[/] {escape(self.name)} seed {record.seed} in epoch {record.divergence['epoch']}"
            )

    def finished(self, name: str, cell: Cell) -> None:
        """In a log, one line per cell that took any training."""
        took = time.monotonic() - self.cell_began
        self.cell_began = time.monotonic()
        if not self.live and cell.missing:
            self.say(f"{self.finished_runs}/{self.total} runs: {escape(name)} done in {duration(took)}")

    def failed(self, name: str, reason: str, cell: Cell) -> None:
        self.failures += 1
        for run in cell.missing:
            self.outstanding.pop(run.run_id, None)
        self.bar.update(self.task, failures=f"{self.failures} failed")
        self.say(f"[red]failed:[/] {escape(name)}: {escape(reason)}")


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
