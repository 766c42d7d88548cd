"""`ablate merge results/A results/B --into results/C`: one folder of what several machines have trained and timed."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ablate.cli.entry import answer, run_program
from ablate.cli.report import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, 1 where the same run has two outcomes, or 2 with one line on standard error."""
    return answer(partial(_merge, arguments))


def _merge(arguments: Sequence[str] | None) -> int:
    from rich.console import Console

    from ablate.records.merging import merge
    from ablate.sweeping.plan import exclusive

    parser = Parser(prog="ablate merge", description=__doc__)
    parser.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    parser.add_argument("--into", required=True, type=Path, metavar="FOLDER", help="where all of it goes")
    options = parser.parse_args(arguments)
    say = partial(Console(stderr=True).print, markup=False, highlight=False, soft_wrap=True)
    with exclusive(options.into):
        done = merge(options.sweep, options.into)
    for line in done.left:
        say(f"left out: {line}")
    for line in done.conflicts:
        say(f"conflict: {line}", style="red")
    say(f"{options.into}: {done.runs} runs and {done.timings} timings added, {done.equal} runs were there already")
    return 1 if done.conflicts else 0


if __name__ == "__main__":
    run_program(main)
