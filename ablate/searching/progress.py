"""What a person sees while a search runs: trials done, dropped, pruned, failed; the best so far; the time left."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from ablate.analysis.study import state_of
from ablate.config.terminal import console as terminal
from ablate.config.terminal import one_line
from ablate.searching.storage import takes_slot
from ablate.sweeping.progress import duration


@dataclass
class Counts:
    """How the trials of a study stand; what took no slot is counted apart."""

    done: int = 0
    dropped: int = 0
    pruned: int = 0
    diverged: int = 0
    failed: int = 0
    running: int = 0
    reused: int = 0
    duplicate: int = 0

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> "Counts":
        out = cls()
        for trial in trials:
            if not takes_slot(trial):
                out.reused += state_of(trial) == "reused"
                out.duplicate += state_of(trial) == "duplicate"
            elif trial.state in (TrialState.RUNNING, TrialState.WAITING):
                out.running += 1
            elif trial.state == TrialState.FAIL:
                out.failed += 1
            elif trial.state == TrialState.PRUNED:
                out.pruned += 1
            elif trial.user_attrs.get("diverged"):
                out.diverged += 1
            elif trial.user_attrs.get("dropped"):
                out.dropped += 1
            else:
                out.done += 1
        return out

    @property
    def ended(self) -> int:
        return self.done + self.dropped + self.pruned + self.diverged + self.failed

    def __str__(self) -> str:
        parts = [f"{self.done} done"]
        parts += [
            f"{count} {name}"
            for name, count in (
                ("dropped", self.dropped),
                ("pruned", self.pruned),
                ("diverged", self.diverged),
                ("failed", self.failed),
                ("reused", self.reused),
                ("duplicate", self.duplicate),
            )
            if count
        ]
        return ", ".join(parts)


MOST_CAUSES = 3


def causes(trials: Sequence[FrozenTrial]) -> list[tuple[str, str, int]]:
    """Why trials came to nothing: state, reason and number of trials, the commonest first; the rest as one.

    Of pruned and dropped ones, which all differ in when, there is no reason.
    """
    told = ("failed", "diverged")
    found = Counter(
        (state, str(trial.user_attrs.get("reason") or "") if state in told else "")
        for trial, state in ((trial, state_of(trial)) for trial in trials)
        if state in (*told, "pruned", "dropped")
    )
    out = [(state, reason, count) for (state, reason), count in found.most_common(MOST_CAUSES)]
    others = found.total() - sum(count for _, _, count in out)
    return [*out, ("others", "", others)] if others else out


class SearchProgress:
    """One live line on a terminal, a line per finished trial in a log."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.total = total
        self.console = console or terminal(stderr=True)
        self.live = Live(console=self.console, transient=True, auto_refresh=False) if self.console.is_terminal else None
        self.began = time.monotonic()
        self.ended_before: int | None = None

    def __enter__(self) -> "SearchProgress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=True, highlight=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        self.say(f"[yellow]warning:[/] {escape(line)}")

    def time_left(self, counts: Counts) -> str:
        """From the trials that ended since this process began."""
        if self.ended_before is None:
            self.ended_before = counts.ended
        ended, elapsed = counts.ended - self.ended_before, time.monotonic() - self.began
        left = self.total - counts.ended
        return f"{duration(elapsed / ended * left)} left" if ended > 0 and left > 0 else ""

    def show(self, trials: Sequence[FrozenTrial], best: str, news: str = "") -> None:
        """After each change: the state of the search, and in a log what has just ended."""
        counts = Counts.of(trials)
        line = "; ".join(
            part for part in (f"{counts.ended}/{self.total} trials: {counts}", best, self.time_left(counts)) if part
        )
        if self.live:
            self.live.update(Text(one_line(line)), refresh=True)
        elif news:
            self.say(escape(f"{news}   [{line}]"))
