"""`ablate`: its subcommands, its help, and which of them the words of a command ask for.

Without one of their names it is `run`: `ablate model=gru,lstm num_hiddens=32,256` trains.
"""

import os
import sys
from collections.abc import Sequence
from functools import cache, partial
from importlib import import_module
from typing import NoReturn

from ablate.cli.command import NAME, Command
from ablate.cli.entry import answer, run_program, say
from ablate.config.errors import UserError, listing, nearest

MODULES = (
    "run",
    "plan",
    "search",
    "path",
    "report",
    "claims",
    "settle",
    "export",
    "bench",
    "status",
    "compact",
    "merge",
    "exclude",
    "completion",
)
"""The modules of ablate.cli that hold a COMMAND, each of its module's name, in the order of the help."""

OVERVIEW = """\
usage: ablate [COMMAND] [knob=value | knob=value,value,… | group=option | FOLDER | --option] …

Which part of a recurrent network matters, which hyperparameter matters, and by how much? ablate trains every
combination of the given values, with several seeds each, and reports. If the same command is given again, only missing
runs are trained.

{commands}

  ablate model=gru,lstm num_hiddens=16,32 epochs=100     a sweep (no command means run): every pair, 6 seeds each
  ablate sweeps=smoke                                    a preset: does everything work here?
  ablate plan sweeps=table12_rnn_num_hiddens             what a preset would cost, and what it could find

ablate run --help explains every knob, model, data set and preset; ablate COMMAND --help explains a command.
ablate --version shows the version. `python -m ablate` is the same command."""

HELP = ("--help", "-h")


def command_of(name: str) -> Command:
    """The subcommand of this name, one of MODULES; no other is loaded."""
    found: Command = import_module(f"ablate.cli.{name}").COMMAND
    return found


@cache
def commands() -> dict[str, Command]:
    """All subcommands by their names."""
    return {name: command_of(name) for name in MODULES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ablate` with these arguments and return its exit status (see `ablate.cli.entry`).

    May be called from any thread, from a notebook, from a program with a Hydra of its own: nothing is changed in the
    process for good.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    return answer(partial(dispatch, arguments))


def program() -> NoReturn:
    """`ablate`, and `python -m ablate`, as a program of its own."""
    run_program(main)


def former_program(name: str) -> NoReturn:
    """`python -m ablate.NAME`, as it was before there were subcommands."""

    def command() -> int:
        say(f"note: python -m ablate.{name} is python -m ablate {name} now")
        return main([name, *sys.argv[1:]])

    run_program(command)


def dispatch(arguments: Sequence[str]) -> int:
    """Run the subcommand that is asked for. Raises UserError."""
    words = list(arguments)
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if set(words) <= {*HELP, "-m", "--multirun"}:
        print(overview())
        return 0
    if "--version" in words and words[0] not in MODULES:
        from ablate.records.environment import DISTRIBUTION, installed

        print(f"{DISTRIBUTION} {installed(DISTRIBUTION)}")
        return 0
    name, rest = (words[0], words[1:]) if words[0] in MODULES else ("run", words)
    if name != words[0]:
        check_word(words[0])
    return call(command_of(name), rest)


def call(command: Command, words: Sequence[str]) -> int:
    """Run a subcommand with the words behind its name, or print its help."""
    if (holds := next((word for word in words if "\0" in word), None)) is not None:  # only a program can hand it over
        raise UserError(f"{holds!r} holds the character NUL, which no word may")
    own = words[: words.index("--")] if "--" in words else words
    if set(HELP) & set(own):
        print(command.help([word for word in own if word not in HELP]).rstrip())
        return 0
    return command.run(list(words))


def run_command(command: Command, arguments: Sequence[str] | None = None) -> int:
    """A subcommand by itself, with these arguments; its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    return answer(partial(call, command, arguments))


def check_word(word: str) -> None:
    """Raise UserError for a first word that is neither a subcommand nor anything else that is typed."""
    from ablate.config.choice_files import typed_as
    from ablate.config.knobs import is_knob

    if "=" in word or word[:1] in ("-", "~", "+") or is_knob(word):
        return
    if os.path.isdir(word):
        raise UserError(f"{word} is a folder; for a sweep's report type {NAME} report {word}")
    meant = typed_as(word) or nearest(word, MODULES)
    raise UserError(f"there is no command {word!r}; choose {listing(MODULES)}{meant}")


def overview() -> str:
    """What bare `ablate`, and `ablate --help`, print: a line for each subcommand."""
    width = max(map(len, commands()))
    lines = [f"  {command.name:<{width}}  {command.summary}" for command in commands().values()]
    return OVERVIEW.format(commands="\n".join(lines))
