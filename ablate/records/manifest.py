"""The manifest of a sweep, read: its commands, its question, the files of a person's own that it was trained with."""

from pathlib import Path
from typing import Any

from ablate.records.places import manifest_path
from ablate.records.reading import RecordError, read_json

NO_QUESTION: dict[str, Any] = {"preset": None, "question": None, "title": None}
"""What the manifest of a sweep without a preset says, and so what one says that is older than these fields."""


def load_manifest(sweep: Path) -> dict[str, Any]:
    """The commands of a sweep, its preset, question and title (or None), and what its `data=auto` meant.

    Raises RecordError where there is none.
    """
    manifest = read_json(manifest_path(sweep))
    if not {"commands", "auto_corpus"} <= manifest.keys():
        raise RecordError(f"{manifest_path(sweep)}: not a sweep of ablate")
    return NO_QUESTION | manifest


def plugins_of(sweep: Path) -> dict[str, str]:
    """The files of a person's own with which a sweep was trained, each with the hash of its source."""
    try:
        files = load_manifest(sweep).get("plugins")
    except RecordError:
        return {}
    return files if isinstance(files, dict) else {}
