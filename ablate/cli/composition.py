"""From the words of a command to the configs that they mean: Hydra's grammar, one clear line for each mistake."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ablate.cli.commands import MODULES
from ablate.cli.entry import say
from ablate.config import plugins, presets
from ablate.config.ambiguous import comma_in_path, decimal_comma
from ablate.config.choice_files import SEARCHED, choices, find_preset, roots
from ablate.config.composing import BASE, hydra_as_before, register_schema
from ablate.config.errors import UserError, listing, no_option, reason, short_path
from ablate.config.knobs import knobs
from ablate.config.overrides import SWEEPERS, Override, for_hydra, former_name
from ablate.config.preset_checks import check_choice, check_preset
from ablate.config.quoting import split
from ablate.config.registry import OF_GROUP
from ablate.config.schema import CONFIG_ROOT, Config
from ablate.config.shell import shell_line
from ablate.experiments.words import translated
from ablate.sweeping.naming import Asked

if TYPE_CHECKING:
    from ablate.searching.space import Problem

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

MAY_MEAN_ELSE = (former_name, decimal_comma, comma_in_path)
"""What finds a word that may mean something else than it seems to, or had another name, and says so."""

Act = Callable[[Sequence[Config], Asked], None]
"""What is done with the configs of a sweep."""


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


def say_notes(arguments: Sequence[str]) -> None:
    """A line on standard error for each word that may mean something else, or had another name."""
    said = dict.fromkeys(line for word in arguments for find in MAY_MEAN_ELSE if (line := find(word)))
    for word in map(Override.read, arguments):
        for name in split(word.value or "") if word.key == "sweeps" else ():
            for path, swept in presets.swept_words(name.strip(), folder_of_configs(arguments)):
                found = [line for find in MAY_MEAN_ELSE if (line := find(swept))]
                said |= dict.fromkeys(f"{short_path(path)}: {line}" for line in found)
    for note in said:
        say(f"note: {note}")


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
        raise UserError("a search cannot be listed beforehand; name a sweep, or run it: ablate search sweeps=search_…")

    task.run_sweep = sweep_task  # type: ignore[attr-defined]
    task.run_search = search or no_search  # type: ignore[attr-defined]
    options, words = _apart(arguments)
    shown = {"--cfg": "--cfg", "-c": "--cfg", "--info": "--info", "-i": "--info"}
    shows = sorted({shown[word] for option in options if (word := option.partition("=")[0]) in shown})
    if len(shows) > 1:
        raise UserError(f"{' and '.join(shows)} show different things; give one of them")
    config_dir = folder_of_configs(arguments)
    words = translated(words, config_dir)
    plugins.load([*presets.plugins_of(words, config_dir), *presets.plugins_of_config(config_file(options, config_dir))])
    overrides = for_hydra(words, sweeper_options())
    overrides += _preset(overrides, config_dir)
    searched = SEARCHED.set(tuple(roots(config_dir)[1:]))
    program_arguments, variable = sys.argv, os.environ.get(FULL_ERROR)
    try:
        sys.argv = [sys.argv[0], *options, *overrides]
        os.environ[FULL_ERROR] = "1"  # errors come to us instead of being printed
        with hydra_as_before():
            register_schema()
            _hydra(task, options, overrides)
    finally:
        SEARCHED.reset(searched)
        sys.argv = program_arguments
        if variable is None:
            os.environ.pop(FULL_ERROR, None)
        else:
            os.environ[FULL_ERROR] = variable


def _hydra(task: Any, options: Sequence[str], overrides: Sequence[str]) -> None:
    """What Hydra's own program does with them; that one composes a sweep twice, at first to see that it is one."""
    folder = str(CONFIG_ROOT / "conf")
    if options[:1] != ["-m"]:
        hydra.main(**BASE, config_path=folder, config_name="config")(task)()
        return
    with initialize_config_dir(folder, **BASE):
        program: Any = GlobalHydra.instance().hydra
        try:
            program.multirun(_config_name(options) or "config", task, [*overrides, "hydra.mode=MULTIRUN"])
        except (ValueError, TypeError, AttributeError, AssertionError) as error:
            if isinstance(error, HydraException | OmegaConfBaseException) or not _is_of_hydra(error):
                raise
            raise UserError(f"the configuration cannot be composed: {reason(error)}") from error


def _is_of_hydra(error: Exception) -> bool:
    """Whether Hydra itself failed, on a file that it takes for no configuration and has no error of its own for."""
    file = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return bool({"hydra", "omegaconf", "yaml"} & {*file.parts})


def _config_name(options: Sequence[str]) -> str:
    """The last --config-name; empty without one."""
    names = [value for option, value in pairwise(options) if option in ("--config-name", "-cn")]
    return names[-1] if names else ""


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
    for group in OF_GROUP:
        own = choices(group, config_dir)
        for chosen in map(str.strip, split(given.get(group) or "")):
            if chosen in own:
                check_choice(own[chosen], group)
    name = given.get("sweeps")
    if name in (None, "", "null", "???"):
        return []
    path = find_preset(str(name), config_dir)
    check_preset(path, sweeper_options())
    sweeper = presets.sweeper_of(path)
    sweeper = SWEEPERS.get(str(sweeper), sweeper)
    wanted = given.get(presets.SWEEPER) or sweeper
    if wanted in ("optuna", SWEEPERS["optuna"]):
        _check_searched(path, str(name))
    return [f"{presets.SWEEPER}={sweeper}"] if sweeper and presets.SWEEPER not in given else []


def _check_searched(path: Path, name: str) -> None:
    """Raise UserError for a preset that says what a sweep trains and no search understands, such as `blocks`."""
    from hydra_plugins.ablate_hydra.optuna_sweeper import OptunaSweeperConf

    known = {f.name for f in fields(OptunaSweeperConf)}
    for option in presets.options_of_sweeper(path):
        if option not in known:
            raise UserError(
                f"sweeps={name} is no search: it lists its settings (hydra.sweeper.{option}); train it with "
                f"ablate run sweeps={name}, or give ablate search ranges, such as 'lr=tag(log, interval(0.01, 2))'"
            )


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
            if argument in MODULES:
                raise UserError(f"{argument} is a command, and a command comes first: ablate {argument} …")
            overrides.append(argument)
        elif name not in FLAGS:
            knob = name.lstrip("-").replace("-", "_")
            given = value if equals else next((word for word in rest[:1] if "=" not in word), "VALUE")
            if knob in knobs():
                raise UserError(f"there is no option {argument}; write {shell_line(f'{knob}={given}')}")
            raise UserError(no_option(name, FLAGS, "ablate run"))
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


def config_file(options: Sequence[str], config_dir: Path | None) -> Path:
    """The configuration that --config-name chooses, where it is a file of one's own."""
    return (config_dir or Path()) / f"{_config_name(options)}.yaml"


def folder_of_configs(arguments: Sequence[str]) -> Path | None:
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
