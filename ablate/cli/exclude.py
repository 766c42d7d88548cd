"""`ablate exclude results/NAME RUN_ID|KNOB=VALUE … --because "why"`: leave runs out of every table, test and figure.

They stay stored, are not trained again, and the page says how many there are and why. Several KNOB=VALUE choose the
runs that have all of them.

  ablate exclude results/smoke lr=4 seed=3 --because "the disk was full"
  ablate exclude results/smoke --list
  ablate exclude results/smoke lr=4 --undo
"""

from functools import partial
from pathlib import Path

from ablate.cli.command import Parser, by_parser
from ablate.cli.commands import run_command
from ablate.cli.entry import tell
from ablate.config.errors import UserError, counted


def parser() -> Parser:
    found = Parser("exclude", __doc__)
    found.add_argument("sweep", type=Path, help="a folder below results/")
    found.add_argument("what", nargs="*", default=[], help="run ids, or KNOB=VALUE")
    found.add_argument("--because", default="", metavar="TEXT", help="the reason, which the page shows")
    found.add_argument("--undo", action="store_true", help="include runs again: these, or all")
    found.add_argument("--list", action="store_true", help="list what is excluded")
    return found


def exclude_command(arguments: list[str]) -> int:
    from ablate.records.compaction import sweep_folders
    from ablate.records.exclusion import exclude, exclusions, include

    options = parser().parse_args(arguments)
    [sweep] = sweep_folders([options.sweep])
    if options.list:
        for line in [f"{one} [{', '.join(one.runs)}]" for one in exclusions(sweep)] or ["nothing is excluded"]:
            tell(line)
    elif options.undo:
        included = len(include(sweep, options.what))
        tell(f"{counted(included, 'run')} {'counts' if included == 1 else 'count'} again")
    elif not options.what:
        raise UserError("say which runs: run ids, or KNOB=VALUE; see ablate exclude --help")
    else:
        tell(str(exclude(sweep, options.what, options.because)))
    return 0


COMMAND = by_parser("exclude", "leave runs out of every table and figure, with a reason", exclude_command, parser)

main = partial(run_command, COMMAND)
"""`ablate exclude` with these arguments; its exit status."""
