"""`python -m ablate.plan …`: what `python -m ablate …` would train, before anything is spent. Writes nothing."""

import sys
from collections.abc import Sequence
from functools import partial

from ablate.cli import answer, with_configs
from ablate.config import Config

HELP = """\
usage: python -m ablate.plan [sweeps=NAME] [knob=value,value,… | group=option] …

Lists, for the same arguments as python -m ablate: the cells and which of their runs are there already; what trains
together, with which engine; the time and memory that it takes, from training each kind of program for a moment; and
the smallest difference that this number of seeds can detect. Writes nothing.

  python -m ablate.plan sweeps=table12_rnn_num_hiddens num_hiddens=32,64 seeds=10"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m ablate.plan` with these arguments and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if {"--help", "-h"} & set(arguments):
        print(HELP)
        return 0
    return answer(partial(_plan, arguments), arguments)


def _plan(arguments: Sequence[str]) -> int:
    configs: list[Config] = []
    named: list[tuple[str, str | None]] = []

    def collect(batch: Sequence[Config], default_name: str, preset: str | None) -> None:
        configs.extend(batch)
        named.append((default_name, preset))

    with_configs(arguments, collect)
    if configs:
        from ablate.plan.show import show  # loads torch: not for a mistyped knob

        show(configs, *named[0])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
