"""`ablate exclude results/NAME RUN_ID|KNOB=VALUE … --because "why"`: leave runs out of every table, test and figure.

They stay stored, are not trained again, and the page says how many there are and why. Several KNOB=VALUE choose the
runs that have all of them.

  ablate exclude results/smoke lr=4 seed=3 --because "the disk was full"
  ablate exclude results/smoke --list
  ablate exclude results/smoke lr=4 --undo
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ablate.cli.entry import answer, run_program
from ablate.cli.report import Parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 with one line on standard error."""
    return answer(partial(_exclude, arguments))


def _exclude(arguments: Sequence[str] | None) -> int:
    from ablate.config.errors import UserError
    from ablate.records.compaction import sweep_folders
    from ablate.records.exclusion import exclude, exclusions, include

    parser = Parser(prog="ablate exclude", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="a folder below results/")
    parser.add_argument("what", nargs="*", help="run ids, or KNOB=VALUE")
    parser.add_argument("--because", default="", metavar="TEXT", help="the reason, which the page shows")
    parser.add_argument("--undo", action="store_true", help="take it back, for these runs or for all")
    parser.add_argument("--list", action="store_true", help="what is excluded")
    options = parser.parse_args(arguments)
    [sweep] = sweep_folders([options.sweep])
    if options.list:
        print("\n".join(f"{one} [{', '.join(one.runs)}]" for one in exclusions(sweep)) or "nothing is excluded")
    elif options.undo:
        print(f"{len(include(sweep, options.what))} runs count again")
    elif not options.what:
        raise UserError("say which runs: run ids, or KNOB=VALUE; see ablate exclude --help")
    else:
        print(exclude(sweep, options.what, options.because))
    return 0


if __name__ == "__main__":
    run_program(main)
