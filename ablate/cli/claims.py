"""`python -m ablate.claims results/NAME …`: which claims the runs of a sweep confirm, refute or leave open."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ablate.claims import reading
from ablate.claims.choosing import claims_for
from ablate.claims.measured import Frames
from ablate.claims.reading import read_claims
from ablate.claims.table import print_verdicts
from ablate.claims.verdicts import evaluate
from ablate.cli.entry import answer, run_program
from ablate.cli.help import explain
from ablate.config.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 whatever the verdicts, 2 for wrong input."""
    return answer(partial(_claims, arguments))


def _claims(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ablate.claims",
        description=__doc__,
        epilog=reading.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    parser.add_argument(
        "--claims",
        type=Path,
        action="append",
        metavar="FILE",
        help="test the claims of this file only, whichever the preset and protocol (repeatable)",
    )
    parser.add_argument("--level", type=level, default=0.95, help="confidence level of verdicts and intervals (0.95)")
    given = parser.parse_args(arguments)
    status = 0
    for sweep in given.sweep:
        try:
            frames = Frames.read(sweep)
            for problem in frames.problems:
                print(f"skipped: {problem}", file=sys.stderr)
            asked = [claim for file in given.claims or () for claim in read_claims(file)]
            claims = asked or claims_for(frames)
            if claims:
                verdicts = evaluate(frames, claims, given.level, any_protocol=bool(asked))
                print_verdicts(verdicts, title=frames.name)
            else:
                print(f"{frames.name}: no claim belongs to this sweep; write one and give it with --claims FILE")
        except (UserError, OSError) as error:  # the other sweeps are still judged
            print(f"ablate: {explain(error)}", file=sys.stderr)
            status = 2
    return status


def level(text: str) -> float:
    value = float(text)
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"level is {text}; it must lie between 0.5 and 1, such as 0.95")
    return value


if __name__ == "__main__":
    run_program(main)
