"""How many runs of each setting were asked for before any of it was there, and to how many that grew.

A test of a fixed number of runs keeps its level only where that number was declared before anybody could look. The
manifest keeps it (`design`): for the settings that have a history in common, the numbers of seeds asked for, one after
the other, each with the time; without it where they are older than this, or of the sweep that runs were taken from.
"""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ablate.config.choice_files import find_preset
from ablate.config.errors import UserError
from ablate.config.schema import CONFIG_ROOT
from ablate.config.yaml_nodes import value_of
from ablate.records import results
from ablate.records.exclusion import excluded_runs
from ablate.records.kinds import is_name
from ablate.records.manifest import load_manifest
from ablate.records.places import is_search
from ablate.records.reading import RecordError

Declared = tuple[tuple[int, str | None], ...]
"""Numbers of seeds, in the order in which they were asked for, with the time."""

WITHOUT_A_NUMBER = ("search", "settle")
"""Commands that decide by what comes out how many runs there are."""


@dataclass(frozen=True)
class Designs:
    """What the settings of a sweep were declared with."""

    of_setting: Mapping[str, Declared] = field(default_factory=dict)
    by_commands: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of settings that the manifest says nothing of, as one of before it did: what its commands asked for."""
    excluded: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """setting_id → its runs that somebody has excluded."""

    @classmethod
    def read(cls, sweep: Path, settings: Collection[str]) -> Self:
        """Those of the settings that a sweep has; of one without a manifest, and of a search, nothing is known."""
        if is_search(sweep):
            return cls()
        try:
            manifest = load_manifest(sweep)
        except RecordError:
            return cls()
        declared = of_manifest(manifest)
        today = results.former_settings(sweep) if declared.keys() - settings else {}
        named = {today.get(setting, setting): one for setting, one in declared.items()}
        numbers = numbers_of(manifest["commands"])
        return cls(named, {setting: numbers for setting in settings if setting not in named}, _excluded(sweep))

    def numbers(self, setting: str) -> tuple[int, ...]:
        """The numbers of seeds that a setting was asked for, one after the other; none where nothing was declared."""
        if setting in self.of_setting:
            return tuple(seeds for seeds, _ in self.of_setting[setting])
        return self.by_commands.get(setting, ())

    def history(self, setting: str) -> Declared:
        """The same, each with its time."""
        return self.of_setting.get(setting) or undated(self.numbers(setting))

    def joined(self, other: "Designs") -> "Designs":
        """Those of two sweeps that are read as one: what both hold was extended from the one to the other.

        A setting that one of them alone holds is declared as it is there, whatever the commands of the other say.
        """
        both = (self, other)
        histories = {
            name: one_history(one.history(name) for one in both) for name in {**self.of_setting, **other.of_setting}
        }
        commands = {
            name: tuple(seeds for seeds, _ in one_history(one.history(name) for one in both))
            for name in {**self.by_commands, **other.by_commands}
            if name not in histories
        }
        excluded = {
            name: frozenset[str]().union(*(one.excluded.get(name, ()) for one in both))
            for name in {**self.excluded, **other.excluded}
        }
        return Designs(histories, commands, excluded)


def _excluded(sweep: Path) -> dict[str, frozenset[str]]:
    """setting_id → its runs that are excluded, of those that the sweep holds; nothing where a damaged file does not
    tell."""
    found: dict[str, frozenset[str]] = {}
    with suppress(RecordError):
        for run, record in results.read_some(sweep, sorted(filter(is_name, excluded_runs(sweep)))).items():
            found[record["setting_id"]] = found.get(record["setting_id"], frozenset()) | {run}
    return found


def one_history(histories: Iterable[Declared]) -> Declared:
    """The one history of a setting of which there are several: what was asked for in the order of time, of unknown
    times first and the fewest seeds first, as far as it was more than before."""
    history: Declared = ()
    for seeds, when in sorted({one for each in histories for one in each}, key=lambda one: (one[1] or "", one[0])):
        if seeds > max((before for before, _ in history), default=0):
            history = (*history, (seeds, when))
    return history


def undated(numbers: Iterable[int]) -> Declared:
    return tuple((seeds, None) for seeds in numbers)


def of_manifest(manifest: Mapping[str, Any]) -> dict[str, Declared]:
    """setting_id → what it was declared with."""
    try:
        return {
            str(setting): tuple((int(seeds), None if when is None else str(when)) for seeds, when in entry["declared"])
            for entry in manifest.get("design", ())
            for setting in entry["settings"]
        }
    except (KeyError, TypeError, ValueError, OverflowError):
        return {}


def as_manifest(designs: Mapping[str, Declared]) -> list[dict[str, Any]]:
    """The same as a manifest keeps it: settings of one history together."""
    together: dict[Declared, list[str]] = {}
    for setting, declared in designs.items():
        together.setdefault(declared, []).append(setting)
    return [{"declared": [list(one) for one in declared], "settings": own} for declared, own in together.items()]


def declare(before: Declared, asked: int, there: int, seen: bool, when: str) -> Declared:
    """What a setting is declared with once so many seeds are asked for, of which so many runs are there.

    As long as nobody can have seen any it may be declared anew. Of runs that are there although nothing is known of how
    many they were to be, as those of a search are, it cannot be said afterwards: nothing is declared.
    """
    if not seen:
        return ((asked, when),)
    if not before:
        return ((there, None), (asked, when)) if asked > there else ()
    return (*before, (asked, when)) if asked > max(seeds for seeds, _ in before) else before


def numbers_of(commands: Iterable[str]) -> tuple[int, ...]:
    """The numbers of seeds that commands ask for, one after the other, each said once as long as it stays."""
    numbers = [seeds for command in commands if (seeds := seeds_asked_for(shlex.split(command))) is not None]
    return tuple(seeds for place, seeds in enumerate(numbers) if place == 0 or seeds != numbers[place - 1])


def seeds_asked_for(words: Sequence[str]) -> int | None:
    """What a command says, else its preset, else the default; None where what comes out decides."""
    if any(word in WITHOUT_A_NUMBER for word in words if "=" not in word):
        return None
    said: dict[str, Any] = {word.partition("=")[0]: word.partition("=")[2] for word in words if "=" in word}
    try:
        presets = [find_preset(said["sweeps"])] if "sweeps" in said else []
        for path in (*presets, CONFIG_ROOT / "conf" / "config.yaml"):
            said = value_of(path.read_text(encoding="utf-8"), path) | said
        return int(said["seeds"])
    except (UserError, OSError, TypeError, ValueError, KeyError):
        return None
