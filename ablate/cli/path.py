"""`ablate path …`: which of the changes from a baseline to a target helps, and how much? All are trained."""

from collections.abc import Sequence
from functools import partial

from ablate.cli.command import Command
from ablate.cli.commands import run_command
from ablate.cli.entry import say
from ablate.cli.run import conclude
from ablate.config.errors import UserError, listing, nearest, no_option
from ablate.config.shell import command_line

HELP = """\
usage: ablate path knob=BASELINE,TARGET … [knob=value …] [--metric tail_perplexity]

Goes from a baseline (the first values) to a target (the second values), one change at a time. In each round every
remaining change is made by itself and trained with the same seeds. Half of the seeds choose the change that helps most,
and the other half reports it, because the best of several looks too good on the seeds that chose it. Knobs that change
together, num_hiddens:lr=32:1,256:0.5, are one change. Runs of any other sweep are reused, and the same command
continues where it stopped. Writes results/<name>/path.json and the report.

  --metric NAME   the metric to lower: tail_perplexity (over the last 5 % of epochs, the default), perplexity, …

  ablate path model=rnn,gru num_hiddens=32,256 lr=1,0.5 seeds=10

ablate run --help lists the knobs."""


def path(arguments: list[str]) -> int:
    from ablate.cli.composition import say_notes

    metric, overrides = metric_and_overrides(arguments)

    from ablate.analysis.ablation_path import path_frame
    from ablate.config.metrics import DEFAULT_METRIC
    from ablate.report.tables import print_whole
    from ablate.sweeping.launch import folder_of
    from ablate.sweeping.naming import folder_name
    from ablate.sweeping.path.question import read
    from ablate.sweeping.path.show import steps_table
    from ablate.sweeping.path.walk import Walk, choices
    from ablate.sweeping.summary import Summary

    say_notes(overrides)
    if metric not in choices():
        raise UserError(f"--metric is {metric!r}; choose {listing(choices())}{nearest(metric, choices())}")
    question = read(overrides)
    default_name = "_".join(["path", *([] if metric == DEFAULT_METRIC else [metric]), folder_name(overrides)])
    folder = folder_of([question.config(())], default_name)
    walk = Walk(question, metric, folder, command_line("path", *arguments), Summary(folder))
    walk.go()
    if walk.steps:
        steps = path_frame(folder)
        if steps is not None:
            print_whole(steps_table(steps))
        if len(question.changes) > 1 and question.config(()).seeds == 1:
            say("the only seed chooses the changes, so that none measures them; give seeds=2 or more")
    return conclude(walk.summary)


def metric_and_overrides(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The metric and what remains. Raises UserError for any other option."""
    from ablate.config.metrics import DEFAULT_METRIC

    metric, overrides = DEFAULT_METRIC, list[str]()
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option == "--metric":
            metric = value if equals else next(rest, "")
        elif argument.startswith("-"):
            raise UserError(no_option(option, ("--help", "--metric"), "ablate path"))
        else:
            overrides.append(argument)
    return metric, overrides


COMMAND = Command(
    "path",
    "go from a baseline to a target, one change at a time, the best first",
    path,
    lambda words: HELP,
    options=("--help", "--metric"),
    takes=("knobs",),
)

main = partial(run_command, COMMAND)
"""`ablate path` with these arguments; its exit status."""
