"""What is stored, read: texts and JSON objects, and the one error for a file that is not ours or is damaged."""

import json
from pathlib import Path
from typing import Any

from ablate.config import former_names
from ablate.config.errors import os_reason


class RecordError(Exception):
    """A file that is not a record of ours, or a damaged one."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises RecordError for anything else."""
    return from_json(read_text(path), path)


def from_json(text: str, path: Path) -> dict[str, Any]:
    """The JSON object of a text that stands in a file. Raises RecordError for anything else."""
    try:
        value = json.loads(text, object_hook=former_names.of_stored if former_names.may_hold(text) else None)
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
    except RecursionError as error:
        raise RecordError(f"{path}: not a record of ablate") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: not a record of ablate")
    return value


def read_text(path: Path) -> str:
    """Raises RecordError where the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(os_reason(error).partition(";")[0]) from error
    except ValueError as error:
        raise RecordError(f"{path}: not a text ({error})") from error
