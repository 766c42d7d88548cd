"""`ablate export results/NAME … --to FORMAT`: finished sweeps for other programs, through their own libraries."""

from functools import partial
from pathlib import Path

from ablate.cli.command import Parser, by_parser, level
from ablate.cli.commands import run_command
from ablate.cli.entry import say
from ablate.export import FORMATS
from ablate.export import export as write

WHAT = """\
csv, parquet          three tables: runs (a row for each), settings (means and intervals over seeds), curves (by epoch)
xlsx                  the same as sheets of one workbook
tensorboard, mlflow, wandb
                      a run there for each run here, with knobs, curves and metrics, in a folder; nothing is sent

Each format but csv needs a library of its own; if it is missing, the command that installs it is shown.

  ablate export results/smoke --to csv
  ablate export results/a results/b --to xlsx --out both.xlsx"""


def parser() -> Parser:
    found = Parser("export", __doc__, epilog=WHAT)
    found.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    found.add_argument("--to", required=True, choices=FORMATS, help="the format, see below")
    found.add_argument("--out", type=Path, help="folder, or file of a workbook (default: export-FORMAT in the first)")
    found.add_argument("--level", type=level, default=0.95, help="confidence level of the intervals (default: 0.95)")
    return found


def export(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    from ablate.config import plugins
    from ablate.records.manifest import plugins_of

    for sweep in options.sweep:
        for line in plugins.load_again(plugins_of(sweep)):
            say(line)
    say(f"exported: {write(options.sweep, options.to, options.out, options.level)}")
    return 0


COMMAND = by_parser("export", "write finished sweeps for other programs: CSV, Parquet, Excel, MLflow …", export, parser)

main = partial(run_command, COMMAND)
"""`ablate export` with these arguments; its exit status."""
