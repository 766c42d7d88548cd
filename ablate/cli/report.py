"""`python -m ablate.report results/NAME …`: tables, figures and a page about finished sweeps, from their records."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from ablate.cli.entry import answer, run_program
from ablate.report import write_reports


class Parser(argparse.ArgumentParser):
    """One clear line and status 2 for what cannot be understood."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ablate: {message}; see python -m ablate.report --help\n")


def _report(arguments: Sequence[str] | None) -> int:
    parser = Parser(prog="python -m ablate.report", description=__doc__)
    parser.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    parser.add_argument(
        "--out", type=Path, help="folder of the page about several sweeps (default: report/ beside the first)"
    )
    parser.add_argument("--title", help="title of the page (default: the sweep's own, or its folder)")
    parser.add_argument("--level", type=level, default=0.95, help="of all intervals and verdicts (default: 0.95)")
    options = parser.parse_args(arguments)
    return write_reports(options.sweep, options.out, options.title, options.level)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 with one line on standard error for each folder that is no sweep."""
    return answer(partial(_report, arguments))


def level(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no level from 0.5 up to, not including, 1, such as 0.95")
    return value


if __name__ == "__main__":
    run_program(main)
