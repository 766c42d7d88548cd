"""`python -m ablate.path …`: which of the changes from a baseline to a target helps, and how much? All are trained."""

import sys
from collections.abc import Sequence
from functools import partial

from ablate.cli.entry import answer, run_program
from ablate.cli.run import conclude
from ablate.config.errors import UserError, listing, nearest
from ablate.config.metrics import DEFAULT_METRIC
from ablate.config.shell import shell_line

HELP = """\
usage: python -m ablate.path knob=BASELINE,TARGET … [knob=value …] [--metric tail_perplexity]

Goes from a baseline (the first values) to a target (the second values), one change at a time. In each round every
change that is left is made by itself and trained over the same seeds. Half of the seeds choose the one that helps
most, the other half reports it, for the best of several is too good on the seeds that chose it. Runs that any
sweep has are reused, and the same command goes on where it stopped. Writes results/<name>/path.json and the report.

  --metric NAME   what to lower: tail_perplexity (of the last 5 % of epochs, the default), perplexity, val_perplexity, …

  python -m ablate.path model=rnn,gru num_hiddens=32,256 lr=1,0.5 seeds=10"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m ablate.path` with these arguments and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return 0
    return answer(partial(_path, arguments))


def _path(arguments: Sequence[str]) -> int:
    metric, overrides = metric_and_overrides(arguments)

    from ablate.analysis.ablation_path import path_frame
    from ablate.report.tables import print_whole
    from ablate.sweeping.launch import Summary, folder_of
    from ablate.sweeping.naming import folder_name
    from ablate.sweeping.path.question import read
    from ablate.sweeping.path.show import steps_table
    from ablate.sweeping.path.walk import Walk, choices

    if metric not in choices():
        raise UserError(f"--metric is {metric!r}; choose {listing(choices())}{nearest(metric, choices())}")
    question = read(overrides)
    default_name = "_".join(["path", *([] if metric == DEFAULT_METRIC else [metric]), folder_name(overrides)])
    folder = folder_of([question.config(())], default_name)
    command = shell_line("python", "-m", "ablate.path", *arguments)
    walk = Walk(question, metric, folder, command, Summary(folder))
    walk.go()
    if walk.steps:
        path = path_frame(folder)
        if path is not None:
            print_whole(steps_table(path))
    return conclude(walk.summary)


def metric_and_overrides(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The metric and what remains. Raises UserError for any other option."""
    metric, overrides = DEFAULT_METRIC, list[str]()
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option == "--metric":
            metric = value if equals else next(rest, "")
        elif argument.startswith("-"):
            raise UserError(f"there is no option {argument}; see python -m ablate.path --help")
        else:
            overrides.append(argument)
    return metric, overrides


if __name__ == "__main__":
    run_program(main)
