"""`ablate report results/NAME …`: tables, figures and a page about finished sweeps, from their records."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.cli.command import Parser, by_parser, level
from ablate.cli.commands import run_command
from ablate.cli.entry import loading, say

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON = """\
--json prints one JSON object on standard output instead of the tables: {"reports": […], "page": …}, and for each
  folder, title, page   the sweep, and its report.html; the page beside "reports" is the one about all of them, or null
  settings              a row for each setting: the columns of settings.csv
  claims                the verdicts that the page shows: the fields of ablate claims --json
Numbers that do not exist (the mean of no run, a p that was not computed) are null."""


def parser() -> Parser:
    found = Parser("report", __doc__, epilog=JSON)
    found.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    found.add_argument(
        "--out", type=Path, help="folder of the page about several sweeps (default: report/ beside the first)"
    )
    found.add_argument(
        "--until",
        action="append",
        metavar="QUALITY",
        help="also report how long training takes until a metric reaches a value, 'val_perplexity<9', in sweeps with "
        "timings; kept for later reports (repeatable; 'usual' is the value that half of the settings reach)",
    )
    found.add_argument("--title", help="title of the page (default: the sweep's own, or its folder)")
    found.add_argument(
        "--level", type=level, default=0.95, help="confidence level of all intervals and verdicts (default: 0.95)"
    )
    found.add_argument("--json", action="store_true", help="print the results as JSON")
    return found


def report(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    with loading():
        from ablate.report import has_common_page, write_reports
        from ablate.sweeping.baselines import add_baselines

    if options.until:
        ask(options.sweep, [one for one in options.until if one != "usual"])
    for sweep in options.sweep:
        add_baselines(sweep)
    if not options.json:
        return write_reports(options.sweep, options.out, options.title, options.level)
    from ablate.cli.as_json import Reports, print_json

    found = Reports()
    status = write_reports(options.sweep, options.out, options.title, options.level, show=found.add)
    several = options.out or options.sweep[0].parent / "report" if options.out or len(options.sweep) > 1 else None
    print_json(found.as_json(several if has_common_page(len(found.found), status) else None))
    return status


def ask(sweeps: "Sequence[Path]", until: "Sequence[str]") -> None:
    """Keep what the reports of these sweeps are to time training up to. Raises UserError for what names no quality."""
    from ablate.analysis.time_to_quality import Quality
    from ablate.records.places import holds_runs, holds_timings
    from ablate.records.qualities import keep_qualities

    for text in until:
        Quality.read(text)
    for sweep in sweeps:
        if not (holds_runs(sweep) or holds_timings(sweep)):  # which the report says
            continue
        if not holds_timings(sweep):
            say(f"{sweep} has no timings, without which nothing tells how long it takes; speed=true measures them")
        keep_qualities(sweep, until)


COMMAND = by_parser(
    "report", "make tables, figures and a page about finished sweeps from their records", report, parser
)

main = partial(run_command, COMMAND)
"""`ablate report` with these arguments: 0, or 2 with a line on standard error for each folder that is no sweep."""
