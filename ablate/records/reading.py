"""What is stored, read: texts and JSON objects, and the one error for a file that is not ours or is damaged."""

import json
import re
import stat
from pathlib import Path
from typing import Any

from ablate.config import former_names
from ablate.config.errors import UserError, os_reason


class RecordError(UserError):
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
    if HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except ValueError as error:
            raise RecordError(f"{path}: holds half a character (\\ud800 to \\udfff), which no file can") from error
    return value


HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a character as JSON can write it: two of them are one, and one alone is none."""


def read_text(path: Path) -> str:
    """Raises RecordError where the file cannot be read."""
    content = read_bytes(path)
    try:
        return content.decode()
    except ValueError as error:
        raise RecordError(f"{path}: not a text ({error})") from error


def read_bytes(path: Path) -> bytes:
    """Raises RecordError where the file cannot be read; a pipe or a device, which may wait for ever, is none."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise RecordError(f"{path}: no regular file")
        return path.read_bytes()
    except OSError as error:
        raise RecordError(os_reason(error).partition(";")[0]) from error
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
