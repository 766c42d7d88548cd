"""Everything that the package writes, whole or absent; and what can be read, asked without an error.

Nothing else in the package opens a file for writing (tests/records/test_files.py): a reader never sees half a file, a
failed write leaves the old content, and every error of the disk is a StorageError, which says in a line what happened.
"""

import io
import json
import math
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ablate.config.errors import StorageError
from ablate.records.csv_text import csv_text

if TYPE_CHECKING:
    import pandas as pd

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp")
"""The name of a file while it is written."""
TRIES = 5
"""To write a file that others delete while it is written."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target, flush to the disk, and move into place: no reader ever sees half a file.

    The folder is made where there is none; the file's mode follows the umask. Raises StorageError.
    """
    make_folder(path.parent)
    for tries in range(TRIES):
        # A name of its own for each write, however long the target's is; with no suffix that anything here looks for.
        aside = path.with_name(f".{secrets.token_hex(8)}.tmp")  # as UNFINISHED has it
        try:
            with open(os.open(aside, CREATE, 0o666), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
            return
        except BaseException as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            if isinstance(error, FileNotFoundError) and tries + 1 < TRIES and path.parent.is_dir():
                continue  # another program took it for one that a killed program has left
            if isinstance(error, OSError):
                raise StorageError.of(error, path) from error
            raise


def remove_unfinished(folder: Path) -> None:
    """Delete what programs that were killed in the middle of a write have left, in a folder and those in it.

    Who is writing there at that moment writes again. Raises StorageError.
    """
    for place in (folder, *(path for path in entries(folder) if path.is_dir())):
        for path in entries(place):
            if UNFINISHED.fullmatch(path.name):
                remove(path)


def move(source: Path, target: Path) -> None:
    """Put a whole file that was written beside it in place of the target. Raises StorageError."""
    make_folder(target.parent)
    try:
        with source.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(source, target)
    except OSError as error:
        raise StorageError.of(error, target) from error


@contextmanager
def replacing(path: Path) -> Iterator[io.BytesIO]:
    """A buffer for what writes into a file object; it becomes `path` once it is complete. Raises StorageError."""
    buffer = io.BytesIO()
    yield buffer
    write_atomically(path, buffer.getvalue())


def write_text(path: Path, text: str) -> None:
    """UTF-8, with the line ends that `text` has. Raises StorageError."""
    write_atomically(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Raises StorageError."""
    write_text(path, to_json(value) + "\n")


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """The columns of a frame, without its index. Raises StorageError."""
    write_text(path, csv_text(frame))


def exact_json(value: Any) -> str:
    """The text of a JSON file, with what JSON has no word for as other programs write it: NaN, Infinity."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def compact_json(value: Any) -> str:
    """The same in as few characters as it takes: what is kept in a table."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def to_json(value: Any) -> str:
    """JSON has no NaN and no infinity: they are written as null."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=1)


def make_folder(path: Path) -> None:
    """The folder and those above it, where there are none. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(error) from error


def remove(path: Path) -> None:
    """Delete a file, where there is one. Raises StorageError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError.of(error, path) from error


def present(path: Path) -> Literal["file", "folder"] | None:
    """What can be read there by this user; None where nothing can, for whatever reason. Never raises."""
    try:
        folder = path.is_dir()
        if not folder and not path.is_file():
            return None
        rights = os.R_OK | os.X_OK if folder else os.R_OK
        if not os.access(path, rights, effective_ids=os.access in os.supports_effective_ids):
            return None
    except (OSError, ValueError):  # no right to look, a name that is too long or holds a null byte
        return None
    return "folder" if folder else "file"


def encodable(text: str) -> str:
    """The text without what no file can hold: bytes of a path, or of a command line, that are no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where it is none or cannot be listed. Never raises."""
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []


def cache_folder(writable: bool = False) -> Path:
    """Where this user's downloads and compiled code are kept: `ablate` below XDG_CACHE_HOME or ~/.cache.

    Where that neither is nor can be made (a container's user without a home, or with one that nobody has made), it
    is in `user_folder`; with `writable` also where it is there to be read only. Raises StorageError.
    """
    root = xdg("XDG_CACHE_HOME")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "ablate"
    except RuntimeError:
        return user_folder() / "ablate-cache"
    usable = can_write_below(folder) or (not writable and os.access(folder, os.R_OK | os.X_OK))
    return folder if usable else user_folder() / "ablate-cache"


def xdg(name: str) -> str | None:
    """The folder that a variable of the XDG Base Directory Specification names: one that is not absolute counts as not
    set, for it would be another in each working directory."""
    value = os.environ.get(name)
    return value if value and os.path.isabs(value) else None


def can_write_below(folder: Path) -> bool:
    """Whether files can be made in a folder, which need not be there yet."""
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


def user_folder() -> Path:
    """A folder of this user's own that lasts as long as the machine runs.

    Raises StorageError where there is none: a link, or a folder that others can write to, is not taken for it.
    """
    if not hasattr(os, "getuid"):  # Windows: the temporary folder is the user's own
        return Path(tempfile.gettempdir())
    user = os.getuid()
    for runtime in (xdg("XDG_RUNTIME_DIR"), f"/run/user/{user}"):
        if runtime and _is_own(Path(runtime), user):
            return Path(runtime)
    folder = Path(tempfile.gettempdir()) / f"ablate-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError.of(error, folder) from error
    if not _is_own(folder, user):
        raise StorageError(None, "others can write to it; set TMPDIR to a folder of your own", str(folder))
    return folder


def _is_own(folder: Path, user: int) -> bool:
    """Whether it is a folder, not a link to one, which this user alone can write to."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == user and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
