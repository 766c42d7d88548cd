"""`ablate compact results/NAME …`: the records, curves and timings of sweeps, from a file each to three files."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ablate.cli.entry import answer, run_program
from ablate.cli.report import Parser
from ablate.config.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 with one line on standard error for each folder that is no sweep."""
    return answer(partial(_compact, arguments))


def _compact(arguments: Sequence[str] | None) -> int:
    from rich.console import Console

    from ablate.records.compaction import compact, sweep_folders, unpack
    from ablate.sweeping.plan import exclusive

    parser = Parser(prog="ablate compact", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    parser.add_argument("--undo", action="store_true", help="back to a file for each run")
    options = parser.parse_args(arguments)
    say = partial(Console(stderr=True).print, markup=False, highlight=False, soft_wrap=True)
    status = 0
    for sweep in sweep_folders(options.sweep):
        try:
            with exclusive(sweep):
                if options.undo:
                    say(f"{sweep}: {unpack(sweep)} runs in files of their own")
                    continue
                done = compact(sweep)
        except UserError as error:
            say(f"ablate: {error}")
            status = 2
            continue
        for line in done.left:
            say(f"left as it is: {line}")
        say(f"{sweep}: {done.runs} runs and {done.timings} timings moved into its Parquet files")
    return status


if __name__ == "__main__":
    run_program(main)
