"""`ablate claims results/NAME … ["A < B" …]`: which claims the runs of a sweep confirm, refute or leave open.

A claim can be given in the command, in quotes: "gru < lstm" says that gru has the lower metric, all else being equal;
"lr=0.5 ~ lr=1" says that both are the same within a margin; "32 > 64 > 128" orders more than two. The terms are values
of one knob that the sweep varies.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.cli.command import Parser, by_parser, level, margin
from ablate.cli.commands import run_command
from ablate.cli.entry import say, tell
from ablate.config.errors import UserError
from ablate.config.shell import command_line

if TYPE_CHECKING:
    from ablate.claims.measured import Frames
    from ablate.claims.reading import Claim

JSON = """\
--json prints one JSON object on standard output instead of the tables: {"sweeps": […]}, and for each
  folder, sweep   where it is, and its name
  problems        records that were skipped, one sentence each
  warnings        metrics that fail, or cannot be compared, in some runs, one sentence each
  claims          id, statement, source, verdict (confirmed, refuted, undecided, not testable), metric, effect,
                  evidence, n, p, p_rank, method, needed, needed_low, needed_high, fact, sees_future; always_valid,
                  design and e (see docs/claims.md), p_page (corrected over these claims); for what decides,
                  ratio, low, high and bound, or difference, difference_low, difference_high, or share, share_low,
                  share_high and share_bound
Numbers that do not exist are null. A folder that cannot be judged is named on standard error, and left out."""


def parser() -> Parser:
    found = Parser("claims", __doc__, epilog=JSON)
    found.add_argument("sweep", nargs="+", metavar="FOLDER|CLAIM", help='folders below results/; claims, "gru < lstm"')
    found.add_argument(
        "--claims",
        type=Path,
        action="append",
        metavar="FILE",
        help="test only the claims of this file, whatever the preset and protocol (repeatable)",
    )
    add_options_of_the_line(found)
    found.add_argument(
        "--level", type=level, default=0.95, help="confidence level of verdicts and intervals (default: 0.95)"
    )
    found.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    return found


def add_options_of_the_line(found: Parser) -> None:
    """What claims that stand on the command line are about."""
    found.add_argument("--metric", help="what the given claims compare (default: the main metric of the task)")
    found.add_argument("--by", metavar="KNOB", help="the knob whose values they name, if that is not clear")
    found.add_argument(
        "--where", metavar="KNOB=VALUE", action="append", default=[], help="only these settings (repeatable)"
    )
    found.add_argument(
        "--margin", type=margin, help="margin of A ~ B, of the ratio or of the difference (default: 0.05)"
    )
    found.add_argument(
        "--most", action="store_true", help="a claim has to hold in most settings of the other knobs, not in all"
    )


def check_options_of_the_line(sentences: Sequence[str], given: Namespace) -> None:
    """Raise UserError where they are about no claim."""
    if not sentences and (given.metric or given.by or given.where or given.margin is not None or given.most):
        raise UserError('--metric, --by, --where, --margin and --most are of a claim on the line, such as "gru < lstm"')


def help_of(words: list[str]) -> str:
    from ablate.claims import reading

    return f"{parser().format_help()}\n{(reading.__doc__ or '').strip()}"


def claims(arguments: list[str]) -> int:
    """Exit status: 0 whatever the verdicts, 2 for wrong input."""
    given = parser().parse_args(arguments)

    from ablate.claims.choosing import claims_for
    from ablate.claims.measured import Frames
    from ablate.claims.reading import read_claims
    from ablate.claims.sentences import is_sentence, sides
    from ablate.claims.table import print_verdicts
    from ablate.claims.verdicts import evaluate
    from ablate.cli.as_json import print_json, verdicts_json
    from ablate.cli.help import explain
    from ablate.config import plugins
    from ablate.records.manifest import plugins_of

    sentences = [word for word in given.sweep if is_sentence(word) and not Path(word).is_dir()]
    sweeps = [Path(word) for word in given.sweep if word not in sentences]
    for sentence in sentences:
        sides(sentence)  # before any folder is read
    if not sweeps:
        raise UserError(f"give the folder of a sweep, too: {command_line('claims', 'results/NAME', sentences[0])}")
    check_options_of_the_line(sentences, given)
    status = 0
    judged: list[dict[str, Any]] = []
    for sweep in sweeps:
        try:
            for line in plugins.load_again(plugins_of(sweep)):
                say(line)
            frames = Frames.read(sweep)
            for problem in frames.problems:
                say(f"skipped: {problem}")
            for line in frames.warnings:
                say(f"warning: {line}")
            asked = [claim for file in given.claims or () for claim in read_claims(file)]
            asked += said(sentences, frames, given) if sentences else []
            found = asked or claims_for(frames)
            verdicts = evaluate(frames, found, given.level, any_protocol=bool(asked))
            if given.json:
                of_sweep = {"folder": str(sweep), "sweep": frames.name, "problems": list(map(str, frames.problems))}
                judged.append({**of_sweep, "warnings": frames.warnings, "claims": verdicts_json(verdicts)})
            elif verdicts:
                print_verdicts(verdicts, frames.name, given.level)
            else:
                tell(
                    f"{frames.name}: no claim belongs to this sweep; "
                    'say one, such as "gru < lstm", or give --claims FILE'
                )
        except (UserError, OSError) as error:  # the other sweeps are still judged
            say(f"ablate: {explain(error)}")
            status = 2
    if given.json:
        print_json({"sweeps": judged})
    return status


def said(sentences: Sequence[str], frames: "Frames", given: Namespace) -> "list[Claim]":
    """The claims on the line, about the settings of a sweep. Raises UserError for what cannot be read of them."""
    from ablate.analysis.aggregate import aggregate
    from ablate.analysis.frames import swept_knobs
    from ablate.claims.sentences import claim_of
    from ablate.report.wording import main_metric

    if frames.runs.empty:
        return []
    metric = given.metric or main_metric(aggregate(frames.runs, given.level))
    where = dict(map(condition, given.where))
    swept = swept_knobs(frames.runs)
    return [claim_of(one, frames.runs, swept, metric, given.by, where, given.margin, given.most) for one in sentences]


def condition(text: str) -> tuple[str, Any]:
    """`num_hiddens=32`"""
    import yaml

    knob, equals, value = text.partition("=")
    if not (knob and equals and value):
        raise UserError(f"--where is {text!r}; write KNOB=VALUE, such as --where num_hiddens=32")
    try:
        return knob, yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that is none, a thousand brackets
        return knob, value


COMMAND = by_parser(
    "claims", "say which claims, published or your own, a sweep confirms or refutes", claims, parser, help=help_of
)

main = partial(run_command, COMMAND)
"""`ablate claims` with these arguments; its exit status."""
