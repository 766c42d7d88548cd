"""What a preset says, `sweeps/NAME.yaml`: what it sets and sweeps, by which sweeper, with which files of a user's own.

What is wrong in one is said by `ablate.config.preset_checks`; here a preset is read as far as it can be.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.config import former_names
from ablate.config.choice_files import SEARCHED, find_preset, roots
from ablate.config.errors import UserError, reason, short_path
from ablate.config.knobs import knobs
from ablate.config.overrides import SWEEPERS, Override
from ablate.config.preset_experiments import preset_nodes, reference_of
from ablate.config.yaml_nodes import (
    encoding_line,
    entries,
    is_list,
    is_table,
    is_value,
    items,
    nodes_of,
    where,
    yaml_line,
)

if TYPE_CHECKING:
    import yaml

SWEEPER = "hydra/sweeper"
SWEEPING = ("params", "blocks")
"""The options of the sweepers that say which values there are of a knob."""
OF_SWEEPER = (*SWEEPING, "conditions", "baseline")
"""The options of the sweepers that name knobs."""


def sweeper_of(path: Path) -> str | None:
    """The sweeper that a preset's defaults list asks for, `override /hydra/sweeper: optuna`.

    Hydra lets the primary config decide that, so that the command line asks here.
    """
    for key, value in entries(preset_nodes(path)):
        for item in items(value) if key.value == "defaults" else ():
            for name, chosen in entries(item):
                if name.value == f"override /{SWEEPER}":
                    return str(chosen.value)
    return None


def given_knobs(words: Iterable[str], preset: str | None = None) -> tuple[str, ...]:
    """The knobs that overrides set, and those that their preset sets."""
    typed = [name for word in words for name in Override.read(word).knobs]
    return tuple(dict.fromkeys([*typed, *(_given_by(preset) if preset else ())]))


def _given_by(preset: str) -> Iterator[str]:
    """The knobs that a preset sets or sweeps; none for one that is not found any more."""
    folders = SEARCHED.get() or roots()
    path = next((one for root in folders if os.path.isfile(one := root / "sweeps" / f"{preset}.yaml")), None)
    for key, value in entries(None if path is None else preset_nodes(path)):
        if key.value == "hydra":
            for option, table in sweeper_tables(value):
                for name, content in entries(table):
                    yield from knobs_of_entry(option, name, content)
        elif key.value != "defaults":
            yield from (name for _, name, _ in knobs_below(key, value))


def sweeper_tables(hydra: "yaml.Node") -> "Iterator[tuple[str, yaml.Node]]":
    """What stands below `hydra.sweeper` and names knobs: the option, and each of its tables, of blocks several."""
    for name, sweeper in entries(hydra):
        for option, content in entries(sweeper) if name.value == "sweeper" else ():
            if option.value in OF_SWEEPER:
                yield from ((option.value, table) for table in (items(content) if is_list(content) else [content]))


def options_of_sweeper(path: Path) -> list[str]:
    """What a preset sets of `hydra.sweeper`: `params`, `blocks`, `n_trials`, …"""
    below = [value for key, value in entries(preset_nodes(path)) if key.value == "hydra"]
    sweepers = [value for hydra in below for key, value in entries(hydra) if key.value == "sweeper"]
    return [str(key.value) for sweeper in sweepers for key, _ in entries(sweeper)]


def knobs_of_entry(option: str, key: "yaml.Node", value: "yaml.Node") -> list[str]:
    """The knobs that an entry of such a table names: several, where they change together."""
    return Override.read(f"{key.value}={value.value}").knobs if option in SWEEPING else [str(key.value)]


def knobs_below(key: "yaml.Node", value: "yaml.Node", prefix: str = "") -> "Iterator[tuple[yaml.Node, str, yaml.Node]]":
    """The knobs of a table: the key's node, the knob's name, the value's node; `task: {masked: 0.2}` is task.masked."""
    name = prefix + str(key.value)
    inner = entries(value)
    if inner and (name == "model.gates" or any(knob.startswith(f"{name}.") for knob in knobs())):
        for below, content in inner:
            yield from knobs_below(below, content, f"{name}.")
    else:
        yield key, name, value


def of_words(words: Iterable[str], config_dir: Path | None) -> Path | None:
    """The file of the preset that overrides choose; None where they choose none, or none that is there."""
    name = next((word.value for word in map(Override.read, words) if word.key == "sweeps"), None)
    try:
        return find_preset(name, config_dir) if name else None
    except UserError:  # which is said when the preset is looked at
        return None


def experiment_of(path: Path) -> str | None:
    """What a preset names as its experiment. Raises UserError, with file and line, for one that is not there."""
    reference = reference_of(path)
    if reference is not None:
        preset_nodes(path)
    return reference


def plugins_of(words: Iterable[str], config_dir: Path | None = None) -> list[str]:
    """The files of a person's own that the preset among these overrides names: what they bring may be typed, too."""
    path = of_words(words, config_dir)
    return [] if path is None else plugins_of_config(path)


def plugins_of_config(path: Path) -> list[str]:
    """The same of a file: of a preset, or of a whole configuration, as a search leaves one, best.yaml. None where it
    cannot be read."""
    try:
        content = entries(preset_nodes(path)) if path.is_file() else []
    except UserError:  # which is said when it is looked at, or composed
        return []
    return [str(item.value) for key, value in content if key.value == "plugins" for item in items(value)]


def swept_words(preset: str, config_dir: Path | None) -> list[tuple[Path, str]]:
    """What a preset sweeps, each as it would be typed, with the file; none for one that cannot be read."""
    try:
        path = find_preset(preset, config_dir)
        return [
            (path, f"{name.value}={value.value}")
            for key, hydra in entries(preset_nodes(path))
            for option, table in (sweeper_tables(hydra) if key.value == "hydra" else ())
            for name, value in (entries(table) if option in SWEEPING else ())
            if is_value(value)
        ]
    except UserError:  # which is said when the preset is looked at
        return []


def load(path: Path) -> tuple[str, Any]:
    """A YAML file: its text, and its content in the words of today and of Hydra.

    Raises UserError, with file and line, for what cannot be read.
    """
    import yaml
    from omegaconf import OmegaConf

    try:
        text = path.read_text(encoding="utf-8")
        if (node := nodes_of(text, path)) is not None and not is_table(node):
            raise UserError(f"{where(path, node)}: a configuration is a table, knob: value")
        content = OmegaConf.create(text if reference_of(path) is None else yaml.serialize(preset_nodes(path)))
        return text, OmegaConf.create(_todays(path, OmegaConf.to_container(content)))
    except yaml.YAMLError as error:
        raise UserError(yaml_line(error, path)) from error
    except UnicodeDecodeError as error:
        raise UserError(encoding_line(error, path)) from error
    except (ValueError, RecursionError) as error:  # of a number, or a date, that is none
        raise UserError(f"{short_path(path)}: {reason(error)}") from error


def _todays(path: Path, content: Any) -> Any:
    """A file's content with knobs by their names of today, and the sweeper by its name among Hydra's plugins.

    So a knob typed on the command line replaces the file's, whichever name the file has it by.
    """
    if not isinstance(content, dict):
        return content
    out: dict[str, Any] = _renamed(path, content)
    hydra = out.get("hydra")
    found = hydra.get("sweeper") if isinstance(hydra, dict) else None
    sweeper: dict[str, Any] = found if isinstance(found, dict) else {}
    for option in OF_SWEEPER:
        if isinstance(tables := sweeper.get(option), list):
            sweeper[option] = [_renamed(path, table) for table in tables]
        elif isinstance(tables, dict):
            own = {key: _renamed(path, value) for key, value in tables.items()}
            sweeper[option] = _renamed(path, own)
    if isinstance(out.get("defaults"), list):
        out["defaults"] = [
            {key: SWEEPERS.get(value, value) if str(key).endswith(SWEEPER) else value for key, value in entry.items()}
            if isinstance(entry, dict)
            else entry
            for entry in out["defaults"]
        ]
    return out


def _renamed(path: Path, table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    for former, name in former_names.KNOBS.items():
        if former in table and name in table:
            raise UserError(
                f"{short_path(path)}: {former} is the former name of {name}, which stands there, too; leave it out"
            )
    return former_names.with_todays_names({str(key): value for key, value in table.items()})
