"""`ablate compact results/NAME …`: moves records, curves and timings from a file for each run into three files."""

from functools import partial
from pathlib import Path

from ablate.cli.command import Parser, by_parser
from ablate.cli.commands import run_command
from ablate.config.errors import UserError, counted
from ablate.config.terminal import lines


def parser() -> Parser:
    found = Parser("compact", __doc__)
    found.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    found.add_argument("--undo", action="store_true", help="move them back into a file for each run")
    return found


def compact_command(arguments: list[str]) -> int:
    from ablate.records.compaction import compact, sweep_folders, unpack
    from ablate.records.locks import exclusive
    from ablate.sweeping.launching.following import refuse_beside_jobs

    options = parser().parse_args(arguments)
    say = lines()
    status = 0
    for sweep in sweep_folders(options.sweep):
        try:
            with exclusive(sweep):
                refuse_beside_jobs(sweep)  # a job that is begun again looks for the files of its runs
                if options.undo:
                    say(f"{sweep}: {counted(unpack(sweep), 'run')} in files of their own")
                    continue
                done = compact(sweep)
        except UserError as error:
            say(f"ablate: {error}")
            status = 2
            continue
        for line in done.left:
            say(f"left as it is: {line}")
        say(f"{sweep}: {counted(done.runs, 'run')} and {counted(done.timings, 'timing')} moved into its Parquet files")
    return status


COMMAND = by_parser(
    "compact", "move the records of a sweep into three Parquet files, and back", compact_command, parser
)

main = partial(run_command, COMMAND)
"""`ablate compact` with these arguments; its exit status."""
