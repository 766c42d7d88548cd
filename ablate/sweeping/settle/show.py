"""What a person sees while claims are settled: on a terminal a table that stays above the progress of the runs, in a
log a line for each look."""

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.claims.table import STYLES
from ablate.claims.verdicts import needed_text
from ablate.config.errors import counted
from ablate.config.terminal import console, one_line, print_table
from ablate.sweeping.progress import duration
from ablate.sweeping.settle.standing import Standing

BAR = 12
"""Characters of the bar of evidence."""


class View:
    """The claims and their evidence: the last table on standard output, what goes before on standard error."""

    def __init__(self, level: float, quiet: bool = False) -> None:
        self.level, self.quiet = level, quiet
        self.console, self.results = console(stderr=True, quiet=quiet), console(quiet=quiet)
        self.live = not quiet and self.console.is_terminal
        self.table: Table | None = None

    def say(self, text: str) -> None:
        self.console.print(Text(one_line(text)), soft_wrap=True)

    def stand(self, out: Console, found: Sequence[Standing]) -> None:
        """The table, and why a claim cannot be tested."""
        print_table(out, evidence_table(found, self.level))
        for one in found:
            if one.verdict.verdict == "not testable" and one.verdict.evidence:
                self.say(f"{one.claim.id}: {one.verdict.evidence}")

    def begin(self, found: Sequence[Standing], ahead: tuple[int, float], plan_only: bool = False) -> None:
        self.stand(self.results if plan_only else self.console, found)
        runs, seconds = ahead
        open_ = sum(one.is_open for one in found)
        if open_:
            time = f", about {duration(seconds)}" if seconds else ""
            more = f"{counted(open_, 'claim')} to decide: {counted(runs, 'run')} more"
            too_many = sum(one.is_open and (one.verdict.needed or 0) > one.wanted for one in found)
            if too_many:
                of_them = f"{too_many} of them" if open_ > 1 else "it"
                need = "need" if too_many > 1 else "needs"
                self.say(f"{more}{time}; if all is as it seems, {of_them} {need} more seeds than that")
            else:
                self.say(f"{more} if all is as it seems{time}")

    def batch(self, chosen: Standing, n: int, found: Sequence[Standing]) -> None:
        self.table = evidence_table(found, self.level) if self.live else None
        self.say(
            f"{chosen.claim.id}: {chosen.there} → {counted(n, 'seed')} of {counted(len(chosen.settings), 'setting')}"
        )

    def looked(self, found: Sequence[Standing]) -> None:
        self.table = evidence_table(found, self.level) if self.live else None
        for one in found if not self.live else ():
            if one.settings or one.is_decided:
                self.say(f"  {one.claim.id}: {one.verdict.verdict}{_told(one)}")

    def end(self, found: Sequence[Standing], sentence: str) -> None:
        self.stand(self.results, found)
        self.say(sentence)


def evidence_table(found: Sequence[Standing], level: float) -> Table:
    """A row per claim: verdict, evidence, seeds, and those that it would take."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", ratio=1, min_width=20)
    table.add_column("evidence", no_wrap=True)
    for name in ("n", "needed"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        verdict = one.verdict
        table.add_row(
            Text(verdict.verdict, style=STYLES[verdict.verdict]),
            Text(one_line(verdict.statement)),
            Text(bar(one, level)),
            str(verdict.n) if verdict.n else "–",
            needed_text(verdict.needed, (verdict.needed_low, verdict.needed_high), short=True),
        )
    return table


def bar(one: Standing, level: float) -> str:
    """`█████░░░░░░░ e 3.1`: on the logarithm, full where the claim is decided; p where n was fixed."""
    verdict = one.verdict
    if not verdict.always_valid:
        return "" if math.isnan(verdict.p) else f"p {verdict.p:.2g}"
    full = -math.log(1 - level)
    share = min(1.0, max(0.0, math.log(max(verdict.e, 1e-9)) / full))
    filled = round(BAR * share)
    return f"{'█' * filled}{'░' * (BAR - filled)} e {verdict.e:.3g}"


def _told(one: Standing) -> str:
    verdict = one.verdict
    evidence = f", e {verdict.e:.3g}" if verdict.always_valid else ""
    needed = needed_text(verdict.needed, (verdict.needed_low, verdict.needed_high))
    return f", n = {verdict.n}{evidence}{'' if needed == '–' else f'; about {needed} needed'}"
