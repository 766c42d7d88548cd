"""`ablate search …`: which configuration is best, over raced seeds, with Optuna's samplers."""

import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ablate.cli.command import Command, flag
from ablate.cli.commands import run_command
from ablate.cli.run import DETACH, OPTIONS, run_each
from ablate.config.shell import command_line

HELP = """\
usage: ablate search [sweeps=NAME] [knob=choice(A,B) | knob=interval(LOW,HIGH) | knob=value] … [option=value] …

Searches for the best configuration, like ablate run with hydra/sweeper=optuna. Every configuration gets a few seeds;
those that may still be the best get more. The best few are trained on fresh seeds, one half of which chooses the winner
and the other half reports it. The same command continues a search that was stopped; given several times at once, it
shares the work between the processes.

options (each may also be written as hydra.sweeper.NAME)
{options}

  ablate search sweeps=search_gru
  ablate search 'num_hiddens=choice(32,64)' 'lr=tag(log, interval(0.1, 4))' n_trials=40

ablate run --help lists the knobs."""


def options() -> dict[str, tuple[str, str]]:
    """The options of a search: default and what it is, from the plugin's source, which Hydra need not be loaded for."""
    spec = find_spec("hydra_plugins.ablate_hydra.optuna_sweeper")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    body = text[text.index("class OptunaSweeperConf") : text.index("ConfigStore.instance()")]
    found = re.findall(r"^    ([a-z]\w*): .*? = (.*?)  # (.*)$", body, re.MULTILINE)
    return {name: (default, comment) for name, default, comment in found if name != "zipped"}


def help_of(words: list[str]) -> str:
    lines = []
    for name, (default, comment) in options().items():
        known = "" if default.startswith("field(") else "=" + default.strip('"').replace("None", "null")
        lines.append(f"  {name + known:<25} {comment}")
    return HELP.format(options="\n".join(lines))


def search(arguments: list[str]) -> int:
    from ablate.config.knobs import is_knob
    from ablate.config.overrides import Override
    from ablate.config.presets import SWEEPER

    own = options()
    detach, arguments = flag(arguments, DETACH)
    words = ["hydra.launcher.detach=true"] if detach else []
    for word in arguments:
        override = Override.read(word)
        is_option = override.key.partition(".")[0] in own and not is_knob(override.key) and override.value is not None
        words.append(f"hydra.sweeper.{override}" if is_option and not override.sign else word)
    keys = [Override.read(word).key for word in words]
    if SWEEPER not in keys:
        words.append(f"{SWEEPER}=optuna")
    return run_each(words, command_line)


COMMAND = Command(
    "search",
    "find the best configuration, by Optuna and with several seeds each",
    search,
    help_of,
    options=(*OPTIONS, DETACH),
    takes=("knobs", "options of a search"),
)

main = partial(run_command, COMMAND)
"""`ablate search` with these arguments; its exit status."""
