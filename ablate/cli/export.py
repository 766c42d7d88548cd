"""`ablate export results/NAME … --to FORMAT`: finished sweeps for other programs, through their own libraries."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from ablate.cli.entry import answer, run_program, say
from ablate.export import FORMATS, export


class Parser(argparse.ArgumentParser):
    """One clear line and status 2 for what cannot be understood."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ablate: {message}; see ablate export --help\n")


def _export(arguments: Sequence[str] | None) -> int:
    parser = Parser(prog="ablate export", description=__doc__)
    parser.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    parser.add_argument("--to", required=True, choices=FORMATS, help="csv, parquet: three files; xlsx: one workbook")
    parser.add_argument("--out", type=Path, help="folder, or file of a workbook (default: export-FORMAT in the first)")
    options = parser.parse_args(arguments)
    say(f"exported: {export(options.sweep, options.to, options.out)}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 with one line on standard error."""
    return answer(partial(_export, arguments))


if __name__ == "__main__":
    run_program(main)
