"""The command line: Hydra's grammar, one clear line for each mistake, a table at the end.

Exit status: see `ablate.cli.entry`.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from omegaconf import DictConfig
from rich.console import Console

from ablate.cli.entry import STOPPED, answer, run_program
from ablate.cli.help import SHORT_HELP, help_text
from ablate.config import presets
from ablate.config.composing import register_schema
from ablate.config.errors import StorageError, UserError, listing
from ablate.config.overrides import Override, decimal_comma, for_hydra, split
from ablate.config.schema import CONFIG_ROOT, Config
from ablate.config.shell import shell_line
from ablate.sweeping.naming import Asked

if TYPE_CHECKING:
    from ablate.searching.run import Found
    from ablate.searching.space import Problem
    from ablate.sweeping.launch import Summary

FULL_ERROR = "HYDRA_FULL_ERROR"
"""The variable with which Hydra hands errors on instead of printing them."""

SHOWS_ONLY = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc")
"""Flags of Hydra that show something and train nothing."""
SWEEPS = ("-m", "--multirun", "-r", "--run")
"""Flags that change nothing here: several values sweep, one does not."""
CONFIG_DIR = ("--config-dir", "-cd")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
WITH_VALUE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--cfg", "-c"), ("job", "hydra", "all")),
    **dict.fromkeys(("--package", "-p", "--config-name", "-cn", *CONFIG_DIR), ()),
}
"""Flags with a value, and the values that there are."""
FLAGS = (*SHOWS_ONLY, *SWEEPS, *WITH_VALUE, "--resolve")

MOST_NAMED = 12
"""Settings that failed and are named at the end; of more, the number."""

Act = Callable[[Sequence[Config], Asked], None]
"""What is done with the configs of a sweep."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m ablate` with these arguments and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    return answer(partial(_main, arguments))


def program() -> NoReturn:
    """`ablate`, and `python -m ablate`, as a program of its own."""
    run_program(main)


def _main(arguments: Sequence[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(help_text(_config_dir(arguments)))
        return 0
    if "--version" in arguments:
        from ablate.records.environment import DISTRIBUTION, installed

        print(f"{DISTRIBUTION} {installed(DISTRIBUTION)}")
        return 0
    if set(arguments) <= set(SWEEPS):
        print(SHORT_HELP)
        return 0
    return max((_train(one) for one in one_preset_each(arguments)), default=0)


def one_preset_each(arguments: Sequence[str]) -> list[list[str]]:
    """`sweeps=A,B` as two commands, each with its own folder and report. All are composed before one is run."""
    words = [Override.read(argument) for argument in arguments]
    given = [word for word in words if word.key == "sweeps" and word.value]
    names = [name.strip() for word in given for name in split(word.value or "")]
    if len(names) < 2:
        return [list(arguments)]
    if any(word.key == "name" for word in words):
        raise UserError(f"sweeps={','.join(names)} makes {len(names)} sweeps, each in its own folder; leave out name=")
    commands = [
        [f"sweeps={name}" if word in given else argument for word, argument in zip(words, arguments, strict=True)]
        for name in names
    ]
    for command in commands:
        with_configs(command, lambda configs, asked: None, lambda problem: None)
    return commands


def _train(arguments: Sequence[str]) -> int:
    """Compose, train what is missing and report; nothing where Hydra was only asked to show something."""
    summaries: list[Summary] = []
    found: list[Found] = []
    command = shell_line("python", "-m", "ablate", *arguments)

    def train(configs: Sequence[Config], asked: Asked) -> None:
        from ablate.sweeping.launch import run_sweep

        summaries.append(run_sweep(configs, asked.name, command, asked.preset, asked.given))

    def search(problem: "Problem") -> None:
        from ablate.searching.run import run_search

        found.append(run_search(problem, command))

    say_note = partial(Console(stderr=True).print, highlight=False, markup=False, soft_wrap=True)
    for note in filter(None, map(decimal_comma, arguments)):
        say_note(f"note: {note}")
    with_configs(arguments, train, search)
    if found:
        return conclude_found(found[0])
    return conclude(sum(summaries[1:], start=summaries[0])) if summaries else 0


def with_configs(arguments: Sequence[str], act: Act, search: "Callable[[Problem], None] | None" = None) -> None:
    """Compose the configs that the arguments mean and hand them over: to `act`, and nothing where Hydra only shows.

    With hydra/sweeper=optuna `search` gets the problem; without `search` that is refused.
    """

    def task(_: DictConfig) -> NoReturn:
        raise AssertionError("the launcher hands each job its outcome")

    def sweep_task(configs: Sequence[Config], asked: Asked) -> list[None]:
        act(configs, asked)
        return [None] * len(configs)

    def no_search(_: "Problem") -> NoReturn:
        raise UserError(
            "a search cannot be listed beforehand; name a sweep, or run it: python -m ablate sweeps=search_…"
        )

    task.run_sweep = sweep_task  # type: ignore[attr-defined]
    task.run_search = search or no_search  # type: ignore[attr-defined]
    options, words = _apart(arguments)
    config_dir = _config_dir(arguments)
    overrides = for_hydra(words, sweeper_options())
    overrides += _preset(overrides, config_dir)
    searched = presets.SEARCHED.set(tuple(presets.roots(config_dir)[1:]))
    program_arguments, variable = sys.argv, os.environ.get(FULL_ERROR)
    try:
        sys.argv = [sys.argv[0], *options, *overrides]
        register_schema()
        os.environ[FULL_ERROR] = "1"  # errors come to us instead of being printed
        hydra.main(version_base="1.3", config_path=str(CONFIG_ROOT / "conf"), config_name="config")(task)()
    finally:
        presets.SEARCHED.reset(searched)
        sys.argv = program_arguments
        if variable is None:
            os.environ.pop(FULL_ERROR, None)
        else:
            os.environ[FULL_ERROR] = variable


@cache
def sweeper_options() -> tuple[str, ...]:
    """What `hydra.sweeper.…` may set, of either sweeper."""
    from hydra_plugins.ablate_hydra.optuna_sweeper import OptunaSweeperConf
    from hydra_plugins.ablate_hydra.sweeper import AblateSweeperConf

    names = [f.name for kind in (AblateSweeperConf, OptunaSweeperConf) for f in fields(kind)]
    return tuple(dict.fromkeys(name for name in names if name != "_target_"))


def _preset(overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """The sweeper that the preset wants, where none is typed. Raises UserError for what is wrong in the preset."""
    given = {word.key: word.value for word in map(Override.read, overrides)}
    name = given.get("sweeps")
    if name in (None, "", "null", "???"):
        return []
    path = presets.find(str(name), config_dir)
    presets.check(path, sweeper_options())
    sweeper = presets.sweeper_of(path)
    return [f"{presets.SWEEPER}={sweeper}"] if sweeper and presets.SWEEPER not in given else []


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options for Hydra, each with its value, and overrides: Hydra wants the one before the other, people mix them.

    Raises UserError for an option that there is not, or one without its value.
    """
    options: list[str] = []
    overrides: list[str] = []
    shows = any(argument.partition("=")[0] in SHOWS_ONLY for argument in arguments)
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            overrides.append(argument)
        elif name not in FLAGS:
            raise UserError(f"there is no option {argument}; see python -m ablate --help")
        elif name in WITH_VALUE:
            value = value if equals else rest.pop(0) if rest else ""
            legal = WITH_VALUE[name]
            if not value or (legal and value not in legal):
                raise UserError(f"{name} needs a value" + (f": {listing(legal)}" if legal else ""))
            if name not in CONFIG_DIR:  # it stands in the search path, as groups
                options += [name, value]
        elif name in ("--info", "-i"):
            if not equals:
                value = rest.pop(0) if rest and rest[0] in INFO else "all"
            if value not in INFO:
                raise UserError(f"{name} is {value!r}; choose {listing(INFO)}")
            options.append(f"--info={value}")
        elif name not in SWEEPS:
            options.append(argument)
    if "--resolve" in options and not {"--cfg", "-c"} & set(options):
        raise UserError("--resolve goes with --cfg job")
    # One setting is a sweep of one job: one path for both.
    return ([] if shows else ["-m"]) + options, overrides


def _config_dir(arguments: Sequence[str]) -> Path | None:
    """The folder that --config-dir gives. Raises UserError where there is none."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in CONFIG_DIR:
            value = value if equals else next(iter(arguments[place + 1 :]), "")
            folder = Path(value).expanduser().absolute()
            if not value or not os.path.isdir(folder):
                raise UserError(f"{name} is {value!r}, which is no folder")
            return folder
    return None


def conclude_found(found: "Found") -> int:
    """The report of a search, and what it found; returns the exit status."""
    from ablate.searching.run import conclude_search
    from ablate.sweeping.launch import compacted

    if found.outcome.concluded and not found.interrupted:
        compacted(found.folder)
    drawn = report(found.folder) if found.outcome.concluded and found.report else 0
    status = conclude_search(found)
    return drawn or status


def report(folder: Path) -> int:
    """Draw a sweep's report; 0, or the exit status where Ctrl-C or the disk stopped that."""
    from ablate.report import refresh_report

    say = partial(Console(stderr=True).print, highlight=False, markup=False, soft_wrap=True)
    again = f"{shell_line('python', '-m', 'ablate.report', folder)} draws it"
    try:
        refresh_report(folder)
    except KeyboardInterrupt:
        say(f"the report is skipped; {again}")
        return STOPPED
    except StorageError as error:
        say(f"the report is not whole: {error}; {again}", style="red")
        return 1
    return 0


def conclude(summary: "Summary") -> int:
    """Tables and figures of the whole folder, and what the person should know; returns the exit status."""
    from ablate.records.files import entries
    from ablate.records.results import holds_runs
    from ablate.sweeping.launch import compacted

    say = partial(Console(stderr=True).print, highlight=False, markup=False, soft_wrap=True)
    parts = [f"{summary.trained} runs trained", f"{summary.already} already there"]
    if summary.reused:
        parts.append(f"{summary.reused} reused from other sweeps")
    say(f"{', '.join(parts)}: {summary.folder}")
    if summary.failures:  # each was said with its reason when it happened
        names = list(dict.fromkeys(name for name, _ in summary.failures))
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        say(f"failed: {'; '.join(names[:MOST_NAMED])}{more}", style="red")
    if any(path.suffix == ".json" for path in entries(summary.folder / "failures")):
        say(f"more on what failed is in {summary.folder / 'failures'}; the same command tries it again")
    reports = holds_runs(summary.folder)
    if summary.lost:
        say(
            f"lost: {summary.lost} of them are not in {summary.folder} any more; it was moved, or emptied, meanwhile: "
            "move it back, or run the same command again",
            style="red",
        )
    if summary.storage:
        say(f"stopped: {summary.storage}", style="red")
        say("the stored runs are kept; run the same command again to resume (no report was drawn)")
        return summary.exit_status
    if summary.interrupted:
        say("stopped; every finished run is kept, the same command goes on from here")
    reports = reports and summary.report
    if summary.interrupted and reports:
        say("drawing the report (Ctrl-C again skips it)")
    if not summary.interrupted:
        compacted(summary.folder)
    drawn = report(summary.folder) if reports else 0
    return drawn or summary.exit_status
