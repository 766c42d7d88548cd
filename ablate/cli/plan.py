"""`python -m ablate.plan …`: what `python -m ablate …` would train, before anything is spent. Writes nothing."""

import sys
from collections.abc import Sequence
from functools import partial

from ablate.cli.entry import answer, run_program
from ablate.cli.run import one_preset_each, say_notes, with_configs
from ablate.config.schema import Config
from ablate.sweeping.naming import Asked

HELP = """\
usage: python -m ablate.plan [sweeps=NAME] [knob=value,value,… | group=option] …

Lists, for the same arguments as python -m ablate: the settings and which of their runs are there already; what trains
together, with which engine; the time and memory that it takes, from training each kind of program for a moment; and
the smallest difference that this number of seeds can detect. Writes nothing.

  python -m ablate.plan sweeps=table12_rnn_num_hiddens num_hiddens=32,64 seeds=10"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m ablate.plan` with these arguments and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return 0
    return answer(partial(_plan, arguments))


def _plan(arguments: Sequence[str]) -> int:
    commands = one_preset_each(arguments)
    say_notes(arguments)
    for one in commands:
        batches: list[tuple[Sequence[Config], Asked]] = []
        with_configs(one, lambda configs, asked: batches.append((configs, asked)))  # noqa: B023
        if batches:
            from ablate.sweeping.planning.show import show

            show([config for configs, _ in batches for config in configs], batches[0][1])
    return 0


if __name__ == "__main__":
    run_program(main)
