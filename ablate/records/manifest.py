"""The manifest of a sweep, read: its commands, its question, the files of a person's own that it was trained with."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablate.records.kinds import misfit
from ablate.records.places import manifest_path
from ablate.records.reading import RecordError, read_json

NO_QUESTION: dict[str, Any] = {"preset": None, "question": None, "title": None}
"""What the manifest of a sweep without a preset says, and so what one says that is older than these fields."""

KINDS: dict[str, Any] = {
    "commands": list[str],
    "auto_corpus": str | None,
    **dict.fromkeys(NO_QUESTION, str | None),
    "knobs": dict[str, list[Any]],
    "planned": dict[str, str],
    "asked_as": dict[str, str],
    "design": list[dict[str, Any]],
    "plugins": dict[str, str],
}
"""What a manifest may hold, each with its type."""

SEEDS = re.compile(r"\d{1,12}(-\d{1,12})?(,\d{1,12}(-\d{1,12})?)*")
"""`0-4,7`"""
MOST_SEEDS = 1_000_000
"""As many as no setting has: a range of more is no list of seeds."""


def load_manifest(sweep: Path) -> dict[str, Any]:
    """The commands of a sweep, its preset, question and title (or None), and what its `data=auto` meant.

    Raises RecordError where there is none, and where something of it is not as ablate writes it.
    """
    path = manifest_path(sweep)
    manifest = read_json(path)
    if not {"commands", "auto_corpus"} <= manifest.keys():
        raise RecordError(f"{path}: not a sweep of ablate")
    if wrong := misfit(manifest, KINDS):
        raise RecordError(f"{path}: not a sweep of ablate, its {wrong} is of another type")
    for command in manifest["commands"]:
        try:
            shlex.split(command)
        except ValueError as error:
            raise RecordError(f"{path}: {command!r:.100} is no command ({error})") from error
    for seeds in manifest.get("planned", {}).values():
        if sum(max(0, last - first + 1) for first, last in ranges_of(seeds)) > MOST_SEEDS:
            raise RecordError(f"{path}: {seeds!r:.100} are no seeds")
    return NO_QUESTION | manifest


def damaged_manifest(sweep: Path) -> RecordError | None:
    """What is wrong with the manifest of a folder that has one."""
    try:
        load_manifest(sweep)
    except RecordError as error:
        return error if os.path.lexists(manifest_path(sweep)) else None
    return None


def ranges_of(seeds: str) -> Iterator[tuple[int, int]]:
    """(0, 2), (7, 7) of `0-2,7`; nothing of an empty text. Of what is no list of seeds more than there can be."""
    if seeds and not SEEDS.fullmatch(seeds):
        yield 0, MOST_SEEDS
        return
    for part in seeds.split(",") if seeds else ():
        first, _, last = part.partition("-")
        yield int(first), int(last or first)


def plugins_of(sweep: Path) -> dict[str, str]:
    """The files of a person's own with which a sweep was trained, each with the hash of its source."""
    try:
        files: dict[str, str] = load_manifest(sweep).get("plugins", {})
    except RecordError:
        return {}
    return files
