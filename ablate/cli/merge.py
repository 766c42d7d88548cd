"""`ablate merge results/A results/B --into results/C`: one folder of what several machines have trained and timed."""

from functools import partial
from pathlib import Path

from ablate.cli.command import Parser, by_parser
from ablate.cli.commands import run_command
from ablate.config.errors import counted
from ablate.config.terminal import lines


def parser() -> Parser:
    found = Parser("merge", __doc__)
    found.add_argument("sweep", nargs="+", type=Path, help="a folder below results/")
    found.add_argument("--into", required=True, type=Path, metavar="FOLDER", help="where all of it goes")
    return found


def merge_command(arguments: list[str]) -> int:
    from ablate.records.locks import exclusive
    from ablate.records.merging import merge
    from ablate.records.places import failures_dir
    from ablate.sweeping.launching.following import refuse_beside_jobs

    options = parser().parse_args(arguments)
    say = lines()
    with exclusive(options.into):
        refuse_beside_jobs(options.into)  # a job that is begun again looks for the files of its runs
        done = merge(options.sweep, options.into)
    for line in done.left:
        say(f"left out: {line}")
    names = setting_names(options.into) if done.conflicts else {}
    for one in done.conflicts:
        name = names.get(one.setting_id, one.setting_id)
        say(f"conflict: {name} {one.which}: {one.differing}", style="red")
    if done.conflicts:
        say("what is named first is kept; to keep the other, merge into a new folder and name its folder first")
    say(
        f"{options.into}: {counted(done.runs, 'run')} and {counted(done.timings, 'timing')} added, "
        f"{counted(done.equal, 'run')} there already"
    )
    if done.failures:
        say(f"{counted(done.failures, 'setting')} could not be run: {failures_dir(options.into)} says why")
    return 1 if done.conflicts else 0


def setting_names(folder: Path) -> dict[str, str]:
    """Id of a setting → its model, and what the sweep varies: of those of which there are runs."""
    from ablate.analysis.frames import named, runs_frame, swept_knobs

    runs, _ = runs_frame(folder)
    if runs.empty:
        return {}
    knobs = list(dict.fromkeys(["model", *swept_knobs(runs)]))
    settings = runs.drop_duplicates("setting_id").set_index("setting_id")[knobs]
    return {str(row[0]): named(knobs, row[1:]) for row in settings.itertuples(name=None)}


COMMAND = by_parser("merge", "make one folder of what several machines have trained", merge_command, parser)

main = partial(run_command, COMMAND)
"""`ablate merge` with these arguments; its exit status."""
