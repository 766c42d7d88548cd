"""What a subcommand is, and the parser of those with options of their own. Loads little, so that help is quick."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NoReturn

from ablate.config.errors import ConfigError, listing, no_option
from ablate.config.terminal import one_line

NAME = "ablate"


@dataclass(frozen=True)
class Command:
    """A subcommand: `ablate NAME …`."""

    name: str
    summary: str
    """One line for `ablate --help`."""
    run: Callable[[list[str]], int]
    """What it does with the words behind its name; its exit status. Raises UserError."""
    help: Callable[[list[str]], str]
    """What `ablate NAME … --help` prints."""
    options: tuple[str, ...] = ("--help",)
    """For completion."""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Option that takes a value → its choices; none: a file, a number, a text."""
    takes: tuple[str, ...] = ()
    """What its other words may be, for completion: `knobs`, `sweeps` (folders of results), or the words themselves."""


class Parser(argparse.ArgumentParser):
    """One clear line and status 2 for what cannot be understood."""

    def __init__(self, name: str, description: str | None, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"{NAME} {name}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """As argparse does, but what is no option is told before what is missing, with the one that may be meant."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for word in takewhile(lambda word: word != "--", sys.argv[1:] if args is None else args):
            name = word.partition("=")[0]
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                self.exit(2, f"{NAME}: {one_line(no_option(name, known, self.prog))}\n")
        return self.parse_intermixed_args(args, namespace)  # options may stand between what is no option

    def error(self, message: str) -> NoReturn:
        """In the words of all other mistakes: `--to is 'excel'; choose csv or parquet; see ablate export --help`."""
        message = re.sub(r"^argument (?:-\w[^/]*/)?(\S+): ", r"\1: ", message)
        if found := re.match(r"(\S+): invalid choice: (.+) \(choose from (.+)\)$", message):
            names = [name.strip(" '") for name in found[3].split(",")]
            message = f"{found[1]} is {found[2]}; choose {listing(names)}"
        self.exit(2, f"{NAME}: {one_line(message)}; see {self.prog} --help\n")


def by_parser(
    name: str,
    summary: str,
    run: Callable[[list[str]], int],
    parser: Callable[[], Parser],
    takes: tuple[str, ...] = ("sweeps",),
    help: Callable[[list[str]], str] | None = None,
) -> Command:
    """A command whose options, their choices and its help are those of a parser."""
    known = parser()
    said = help or (lambda words: parser().format_help())
    return Command(name, summary, run, said, options_of(known), values_of(known), takes)


def options_of(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """The options of a parser, by their long names."""
    return tuple(action.option_strings[-1] for action in parser._actions if action.option_strings)


def values_of(parser: argparse.ArgumentParser) -> dict[str, tuple[str, ...]]:
    """The options of a parser that take a value, each by all its names, with their choices."""
    taking = [action for action in parser._actions if action.option_strings and action.nargs != 0]
    return {name: tuple(map(str, one.choices or ())) for one in taking for name in one.option_strings}


def duration(text: str) -> float:
    """Seconds of `90s`, `30m`, `1.5h`."""
    from ablate.config.stopping import seconds_of

    try:
        return seconds_of("the time", text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def level(text: str) -> float:
    """The confidence level of intervals and verdicts."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no level from 0.5 up to, not including, 1, such as 0.95")
    return value


def margin(text: str) -> float:
    """Of `A ~ B`; what else it has to be, the claim says."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; five percent are 0.05") from None


def flag(words: Sequence[str], name: str) -> tuple[bool, list[str]]:
    """Whether an option without a value is among the words, and the others."""
    return name in words, [word for word in words if word != name]
