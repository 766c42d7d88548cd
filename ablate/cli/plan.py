"""`ablate plan …`: what `ablate run …` would train, before anything is spent. Writes nothing."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ablate.cli.command import Command, flag
from ablate.cli.commands import run_command
from ablate.cli.entry import loading
from ablate.cli.run import OPTIONS

if TYPE_CHECKING:
    from ablate.config.schema import Config
    from ablate.sweeping.naming import Asked

HELP = """\
usage: ablate plan [sweeps=NAME] [knob=value,value,… | group=option] … [--json]

Takes the same arguments as ablate run, and lists the settings and which of their runs are there already; which runs
train together, and with which engine; the time and memory that they take, measured by training each kind of program for
a moment; and the smallest difference that this number of seeds can detect. Writes nothing.

  --json          all of it as one JSON object on standard output: {"sweeps": […]}, and for each
                    folder, preset, question      where it is kept, and what it asks
                    settings, groups              as in the two tables; settings name their group by its number, from 1
                    runs, done, reused, to_train  numbers of runs
                    seconds, side_by_side, devices, memory_bytes, free_bytes, timings, timings_s
                    jobs                          with hydra/launcher=slurm or ray: how many jobs, the programs and
                                                  seconds of each, wall_s, core_hours, gpu_hours; otherwise null
                    seeds, detectable             for each metric, the spread over seeds (sd) and the smallest
                                                  difference found; of logarithms if log is true
                    notes, warnings
  --cfg job       show the composed configuration instead
  --config-dir DIR  find presets (DIR/sweeps), models (DIR/model) … of your own there, too

  ablate plan sweeps=table12_rnn_num_hiddens num_hiddens=32,64 seeds=10

ablate run --help lists the knobs."""


def plan(arguments: list[str]) -> int:
    with loading():
        from ablate.cli.as_json import print_json
        from ablate.cli.composition import one_preset_each, say_notes, with_configs

    as_json, words = flag(arguments, "--json")
    say_notes(words)
    sweeps = []
    for one in one_preset_each(words):
        batches: list[tuple[Sequence[Config], Asked]] = []
        with_configs(one, lambda configs, asked: batches.append((configs, asked)))  # noqa: B023
        if batches:
            with loading():
                from ablate.sweeping.planning.show import Planned

            planned = Planned.of([config for configs, _ in batches for config in configs], batches[0][1])
            if as_json:
                sweeps.append(planned.to_json())
            else:
                planned.show()
    if as_json and sweeps:
        print_json({"sweeps": sweeps})
    return 0


COMMAND = Command(
    "plan",
    "say what a sweep would cost and could find, before anything is trained",
    plan,
    lambda words: HELP,
    options=(*OPTIONS, "--json"),
    takes=("knobs",),
)

main = partial(run_command, COMMAND)
"""`ablate plan` with these arguments; its exit status."""
