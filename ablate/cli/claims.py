"""`ablate claims results/NAME …`: which claims the runs of a sweep confirm, refute or leave open."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablate.cli.command import Command, Parser, level, options_of, values_of
from ablate.cli.commands import run_command
from ablate.cli.entry import say

JSON = """\
--json prints one JSON object on standard output in the place of the tables: {"sweeps": […]}, and of each
  folder, sweep   where it is, and its name
  problems        records that were skipped, one sentence each
  claims          id, statement, source, verdict (confirmed, refuted, undecided, not testable), metric, effect,
                  evidence, n, p, p_rank, method, needed, fact, sees_future; of the comparison that decides
                  ratio, low, high and bound, or difference, difference_low, difference_high, or share, share_low,
                  share_high and share_bound
Numbers that are none are null. A folder that cannot be judged is named on standard error, and left out."""


def parser() -> Parser:
    found = Parser("claims", __doc__, epilog=JSON)
    found.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    found.add_argument(
        "--claims",
        type=Path,
        action="append",
        metavar="FILE",
        help="test the claims of this file only, whichever the preset and protocol (repeatable)",
    )
    found.add_argument("--level", type=level, default=0.95, help="confidence level of verdicts and intervals (0.95)")
    found.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    return found


def help_of(words: list[str]) -> str:
    from ablate.claims import reading

    return f"{parser().format_help()}\n{(reading.__doc__ or '').strip()}"


def claims(arguments: list[str]) -> int:
    """Exit status: 0 whatever the verdicts, 2 for wrong input."""
    given = parser().parse_args(arguments)

    from ablate.claims.choosing import claims_for
    from ablate.claims.measured import Frames
    from ablate.claims.reading import read_claims
    from ablate.claims.table import print_verdicts
    from ablate.claims.verdicts import evaluate
    from ablate.cli.as_json import print_json, verdicts_json
    from ablate.cli.help import explain
    from ablate.config import plugins
    from ablate.config.errors import UserError
    from ablate.records.results import plugins_of

    status = 0
    judged: list[dict[str, Any]] = []
    for sweep in given.sweep:
        try:
            for line in plugins.load_again(plugins_of(sweep)):
                say(line)
            frames = Frames.read(sweep)
            for problem in frames.problems:
                say(f"skipped: {problem}")
            asked = [claim for file in given.claims or () for claim in read_claims(file)]
            found = asked or claims_for(frames)
            verdicts = evaluate(frames, found, given.level, any_protocol=bool(asked))
            if given.json:
                of_sweep = {"folder": str(sweep), "sweep": frames.name, "problems": list(map(str, frames.problems))}
                judged.append({**of_sweep, "claims": verdicts_json(verdicts)})
            elif verdicts:
                print_verdicts(verdicts, title=frames.name)
            else:
                print(f"{frames.name}: no claim belongs to this sweep; write one and give it with --claims FILE")
        except (UserError, OSError) as error:  # the other sweeps are still judged
            say(f"ablate: {explain(error)}")
            status = 2
    if given.json:
        print_json({"sweeps": judged})
    return status


COMMAND = Command(
    "claims",
    "which published or own claims the runs of a sweep confirm or refute",
    claims,
    help_of,
    options=options_of(parser()),
    values=values_of(parser()),
    takes=("sweeps",),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """`ablate claims` with these arguments; its exit status."""
    return run_command(COMMAND, arguments)
