"""The verdicts on a terminal: a table that fits 80 columns, and a line of evidence for each claim."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.claims.verdicts import VERDICTS, Verdict, family, needed_text, p_text
from ablate.config.terminal import console as terminal
from ablate.config.terminal import one_line, print_table

STYLES = dict(zip(VERDICTS, ("green", "red", "yellow", "dim"), strict=True))


def print_verdicts(verdicts: Sequence[Verdict], title: str, level: float, console: Console | None = None) -> None:
    """The table, what is in it, and the evidence line by line; level is that at which the verdicts were reached."""
    console = console or terminal()
    print_table(console, verdicts_table(verdicts, title))
    console.print()
    for verdict in verdicts:
        line = Text(one_line(f"{verdict.id}: "), style="bold", overflow="fold")
        console.print(line.append(one_line(verdict.evidence), style="not bold"), highlight=False)
    console.print()
    console.print(footnote(verdicts, level), style="dim", highlight=False)


def verdicts_table(verdicts: Sequence[Verdict], title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    table.title_style = table.header_style = "bold"
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", ratio=3, min_width=17)
    table.add_column("effect", ratio=2, min_width=14)
    for name in ("n", "p", "ranks", "needed"):
        table.add_column(name, justify="right", no_wrap=True)
    for verdict in verdicts:
        table.add_row(
            Text(verdict.verdict, style=STYLES[verdict.verdict]),
            Text(one_line(verdict.statement) + " †" * verdict.sees_future),
            Text(one_line(verdict.effect or "–")),
            str(verdict.n) if verdict.n else "–",
            "fact" if verdict.fact else p_text(verdict.p),
            p_text(verdict.p_rank),
            needed_text(verdict.needed, (verdict.needed_low, verdict.needed_high), short=True),
        )
    return table


def footnote(verdicts: Sequence[Verdict], level: float) -> str:
    """How the verdicts came about."""
    counts = ", ".join(
        f"{count} {name}" for name in VERDICTS if (count := sum(verdict.verdict == name for verdict in verdicts))
    )
    methods = "; ".join(dict.fromkeys(verdict.method for verdict in verdicts if verdict.method))
    return (
        f"{counts}. effect: of the comparison that decides, with its interval; n: seeds, or processes for "
        "tokens per second; p: two-sided, corrected over the parts of a claim, not over claims, and 1/e where it is "
        "always valid; ranks: p of the rank test of that comparison alone, a check; needed: about how large an n "
        f"settles it in four of five sweeps, with its 80 % interval{f'. {methods}' if methods else ''}. "
        f"{family(verdicts, level)}"
        + " † rests on settings that see the future."
        * any(verdict.sees_future for verdict in verdicts)
    )
