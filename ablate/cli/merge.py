"""`ablate merge results/A results/B --into results/C`: one folder of what several machines have trained and timed."""

from functools import partial
from pathlib import Path

from ablate.cli.command import Parser, by_parser
from ablate.cli.commands import run_command
from ablate.config.errors import counted


def parser() -> Parser:
    found = Parser("merge", __doc__)
    found.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    found.add_argument("--into", required=True, type=Path, metavar="FOLDER", help="where all of it goes")
    return found


def merge_command(arguments: list[str]) -> int:
    from ablate.config.terminal import lines
    from ablate.records.locks import exclusive
    from ablate.records.merging import merge
    from ablate.records.places import failures_dir

    options = parser().parse_args(arguments)
    say = lines()
    with exclusive(options.into):
        done = merge(options.sweep, options.into)
    for line in done.left:
        say(f"left out: {line}")
    for line in done.conflicts:
        say(f"conflict: {line}", style="red")
    if done.conflicts:
        say("what is named first is kept; to keep the other, merge into a new folder and name its folder first")
    say(
        f"{options.into}: {counted(done.runs, 'run')} and {counted(done.timings, 'timing')} added, "
        f"{counted(done.equal, 'run')} there already"
    )
    if done.failures:
        say(f"{counted(done.failures, 'setting')} could not be run: {failures_dir(options.into)} says why")
    return 1 if done.conflicts else 0


COMMAND = by_parser("merge", "one folder of what several machines have trained", merge_command, parser)

main = partial(run_command, COMMAND)
"""`ablate merge` with these arguments; its exit status."""
