"""`ablate settle results/NAME [--budget 30m] [--seeds 200] ["A < B" …]`: more seeds, until the claims are decided.

Says first how long that is expected to take, judging by the time that the sweep's own runs took. Then seeds are added,
first where they are expected to decide the most claims per second. They are trained like those of any sweep: Ctrl-C
loses nothing, and the same command continues. The verdicts come from a test that is valid however often one looks, so
it is no mistake to stop as soon as a claim is decided.
"""

from argparse import ArgumentTypeError
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.cli.claims import add_options_of_the_line, check_options_of_the_line, said
from ablate.cli.command import Parser, by_parser, duration, level
from ablate.cli.commands import run_command
from ablate.cli.entry import STOPPED, say
from ablate.cli.run import concluded
from ablate.config.errors import UserError
from ablate.config.shell import command_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ablate.claims.measured import Frames
    from ablate.claims.reading import Claim

MOST = 100


def seeds(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 2:
        raise ArgumentTypeError(f"{text!r} is no number of seeds; write a whole number from 2 on, such as 200")
    return number


def parser() -> Parser:
    found = Parser("settle", __doc__)
    found.add_argument("sweep", nargs="+", metavar="FOLDER|CLAIM", help='a folder below results/; claims, "gru < lstm"')
    found.add_argument("--budget", type=duration, metavar="TIME", help="train no longer than this: 90s, 30m, 2h")
    found.add_argument(
        "--seeds", type=seeds, default=MOST, metavar="N", help=f"give no setting more seeds than this (default: {MOST})"
    )
    found.add_argument("--plan", action="store_true", help="only say what it would take; train and write nothing")
    found.add_argument(
        "--claims", type=Path, action="append", metavar="FILE", help="settle only the claims of this file (repeatable)"
    )
    add_options_of_the_line(found)
    found.add_argument("--level", type=level, default=0.95, help="confidence level of the verdicts (default: 0.95)")
    return found


def settle(arguments: list[str]) -> int:
    """Exit status: 0, 1 where a setting failed, 2 for wrong input, 130 after Ctrl-C."""
    given = parser().parse_args(arguments)

    from ablate.claims.choosing import claims_for
    from ablate.claims.reading import read_claims
    from ablate.claims.sentences import is_sentence
    from ablate.sweeping.settle.settling import Settling, ending
    from ablate.sweeping.settle.show import View

    sentences = [word for word in given.sweep if is_sentence(word) and not Path(word).is_dir()]
    folders = [Path(word) for word in given.sweep if word not in sentences]
    if len(folders) != 1:
        raise UserError(f"settle takes one folder, not {len(folders)}: {command_line('settle', 'results/NAME')}")
    check_options_of_the_line(sentences, given)
    from_files = [claim for file in given.claims or () for claim in read_claims(file)]

    def claims(frames: "Frames") -> "Sequence[Claim]":
        asked = [*from_files, *(said(sentences, frames, given) if sentences else ())]
        found = asked or claims_for(frames)
        if not found:
            raise UserError(
                f"no claim belongs to {frames.name}; say one, such as "
                f"{command_line('settle', folders[0], 'gru < lstm')}, or give --claims FILE"
            )
        return found

    settling = Settling(
        folders[0],
        claims,
        command_line("settle", *arguments),
        given.seeds,
        given.budget or float("inf"),
        given.level,
        any_protocol=bool(from_files or sentences),
    )
    view = View(given.level)
    found = settling.go(view, given.plan)
    summary = settling.summary
    if given.plan:
        return 0
    if summary.storage:
        say(f"stopped: {summary.storage}; the stored runs are kept; run the same command again to resume")
        return summary.exit_status
    drawn = 0
    if summary.trained or summary.reused:
        drawn = concluded(folders[0], not summary.interrupted, summary.report)
    view.end(found, ending(found, given.seeds, settling.out_of_budget, summary.interrupted))
    if summary.interrupted:
        say("stopped; every finished run is kept; run the same command again to resume")
        return STOPPED
    return drawn or summary.exit_status


COMMAND = by_parser("settle", "give a sweep more seeds, until its claims are decided", settle, parser)

main = partial(run_command, COMMAND)
"""`ablate settle` with these arguments; its exit status."""
