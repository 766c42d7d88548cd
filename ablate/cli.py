"""The command line: Hydra's grammar, one clear line for each mistake, a table at the end.

Exit status: 0 done, 1 some cells failed, 2 wrong input (nothing written), 130 stopped.
"""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from ablate.compose import check_once, register_schema
from ablate.config import CONFIG_ROOT, Config
from ablate.errors import StorageError, UserError
from ablate.explain import explain, help_text
from ablate.searching.presets import sweeper_override

if TYPE_CHECKING:
    from ablate.searching.run import Found
    from ablate.searching.space import Problem
    from ablate.sweeping.launch import Summary

SHOWS_ONLY = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc")
"""Flags of Hydra that show something and train nothing."""
WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")
FLAGS = (
    *SHOWS_ONLY,
    *("-m", "--multirun", "-r", "--run", "--resolve", "-p", "--package", "--config-dir", "-cd"),
    *("--config-name", "-cn", "--config-path", "-cp"),
)


STOPPED = 130
"""Exit status after Ctrl-C, as of a program that the signal ended."""

Act = Callable[[Sequence[Config], str, str | None], None]
"""What is done with the configs of a sweep, the name of its folder and of its preset."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m ablate` with these arguments and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if "--help" in arguments or "-h" in arguments:
        Console().print(help_text(), highlight=False, markup=False, soft_wrap=True)
        return 0
    if "--version" in arguments:
        from ablate.environment import DISTRIBUTION, installed

        print(f"{DISTRIBUTION} {installed(DISTRIBUTION)}")
        return 0
    return answer(partial(_train, arguments), arguments)


def answer(work: Callable[[], int], arguments: Sequence[str]) -> int:
    """The exit status of `work`; a mistake in the arguments gets one line instead, and a stop one that says so."""
    errors = Console(stderr=True)
    signal.signal(signal.SIGTERM, _stop)
    if hasattr(signal, "SIGHUP"):  # a terminal that was closed; Windows has none
        signal.signal(signal.SIGHUP, _stop)
    try:
        return work()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        errors.print(f"ablate: {explain(error, arguments)}", highlight=False, markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        errors.print("stopped; whatever was finished is kept, the same command goes on from here")
        return STOPPED


def _train(arguments: Sequence[str]) -> int:
    """Compose, train what is missing and report; nothing where Hydra was only asked to show something."""
    summaries: list[Summary] = []
    found: list[Found] = []
    command = " ".join(["python -m ablate", *map(shlex.quote, arguments)])

    def train(configs: Sequence[Config], default_name: str, preset: str | None) -> None:
        from ablate.sweeping.launch import run_sweep  # loads torch: not for --help, not for a mistyped knob

        summaries.append(run_sweep(configs, default_name, command, preset))

    def search(problem: "Problem") -> None:
        from ablate.searching.run import run_search

        found.append(run_search(problem, command))

    with_configs(arguments, train, search)
    if found:
        return conclude_found(found[0])
    return conclude(sum(summaries[1:], start=summaries[0])) if summaries else 0


def with_configs(arguments: Sequence[str], act: Act, search: "Callable[[Problem], None] | None" = None) -> None:
    """Compose the configs that the arguments mean and hand them over: to `act`, and nothing where Hydra only shows.

    With hydra/sweeper=optuna `search` gets the problem; without `search` that is refused.
    """
    for argument in arguments:
        if argument.startswith("-") and argument.split("=")[0] not in FLAGS:
            raise UserError(f"there is no option {argument}; see python -m ablate --help")

    def task(_: DictConfig) -> NoReturn:
        raise AssertionError("the launcher hands each job its outcome")

    def sweep_task(configs: Sequence[Config], default_name: str, preset: str | None) -> list[None]:
        act(configs, default_name, preset)
        return [None] * len(configs)

    def no_search(_: "Problem") -> NoReturn:
        raise UserError(
            "a search cannot be listed beforehand; name a sweep, or run it: python -m ablate sweeps=search_…"
        )

    task.run_sweep = sweep_task  # type: ignore[attr-defined]
    task.run_search = search or no_search  # type: ignore[attr-defined]
    # A single cell is a sweep of one job: one path for both.
    mode = [] if {"-m", "--multirun", *SHOWS_ONLY} & set(arguments) else ["-m"]
    arguments = [argument for argument in arguments if argument not in ("-r", "--run")]
    roots = dict.fromkeys([f"file://{CONFIG_ROOT}", f"file://{Path.cwd()}"])
    options, overrides = _apart(arguments)
    check_once(overrides)
    overrides += sweeper_override(overrides, [CONFIG_ROOT, Path.cwd()])
    sys.argv = [sys.argv[0], *mode, *options, *overrides, f"hydra.searchpath=[{','.join(map(_quoted, roots))}]"]
    register_schema()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of being printed
    hydra.main(version_base="1.3", config_path=str(CONFIG_ROOT / "conf"), config_name="config")(task)()


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options, each with its value, and overrides: Hydra wants them one after the other, people mix them."""
    options: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        options.append(argument)
        if argument in WITH_VALUE:
            options += [value for value in [next(rest, None)] if value is not None]
    return options, overrides


def _quoted(text: str) -> str:
    """As a string of Hydra's override grammar, which gives spaces, commas and brackets a meaning."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def conclude_found(found: "Found") -> int:
    """The report of a search, and what it found; returns the exit status."""
    from ablate.searching.run import conclude_search

    drawn = report(found.folder) if found.outcome.finalists else 0
    status = conclude_search(found)
    return drawn or status


def report(folder: Path) -> int:
    """Draw a sweep's report; 0, or the exit status where Ctrl-C or the disk stopped that."""
    from ablate.report import write_report

    say = partial(Console(stderr=True).print, highlight=False, markup=False, soft_wrap=True)
    again = f"python -m ablate.report {shlex.quote(str(folder))} draws it"
    try:
        write_report(folder)
    except KeyboardInterrupt:
        say(f"the report is skipped; {again}")
        return STOPPED
    except StorageError as error:
        say(f"the report is not whole: {error}; {again}", style="red")
        return 1
    return 0


def conclude(summary: "Summary") -> int:
    """Tables and figures of the whole folder, and what the person should know; returns the exit status."""
    from ablate.files import entries
    from ablate.results import runs_dir

    say = partial(Console(stderr=True).print, highlight=False, markup=False, soft_wrap=True)
    parts = [f"{summary.trained} runs trained", f"{summary.already} already there"]
    if summary.reused:
        parts.append(f"{summary.reused} reused from other sweeps")
    say(f"{', '.join(parts)}: {summary.folder}")
    for name, reason in summary.failures:
        say(f"failed: {name}: {reason}", style="red")
    if any(path.suffix == ".json" for path in entries(summary.folder / "failures")):
        say(f"more on what failed is in {summary.folder / 'failures'}; the same command tries it again")
    reports = any(path.suffix == ".json" for path in entries(runs_dir(summary.folder)))
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
    if summary.interrupted and reports:
        say("drawing the report (Ctrl-C again skips it)")
    drawn = report(summary.folder) if reports else 0
    return drawn or summary.exit_status
