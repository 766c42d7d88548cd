"""Files fetched once, verified, and kept: a file is in the cache only if its SHA-256 is right."""

import hashlib
import os
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from ablate.config.errors import DataError, StorageError, os_reason
from ablate.data.reading import expanded
from ablate.records.files import cache_folder, present, write_atomically

TIMEOUT_S = 10.0
TRIES_PER_MIRROR = 2


def data_dir() -> Path:
    """`ABLATE_DATA_DIR`, or the user's cache folder. Raises DataError where neither can be had."""
    override = os.environ.get("ABLATE_DATA_DIR")
    if override:
        return expanded(override)
    try:
        return cache_folder()
    except StorageError as error:
        raise DataError(
            f"there is no folder to keep data in ({error}); name one in the environment variable ABLATE_DATA_DIR"
        ) from error


def sha256_of(path: Path) -> str | None:
    """None for what cannot be read."""
    if present(path) != "file":
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def fetch(name: str | None, sha256: str | None, urls: Sequence[str], instead: str = "") -> Path:
    """The path of file `name`, downloaded from the first mirror that delivers it unless it is there already.

    Raises DataError, saying what each place answered, where no intact copy can be had; `instead` names the data that
    needs no file.
    """
    if not name or not sha256:
        lacks = "data.file" if not name else "data.sha256"
        raise DataError(
            f"the data have no {lacks}, by which they are found; leave it as it is"
            + f", or use data={instead}" * bool(instead)
        )
    if Path(name).name != name or name in ("", ".", ".."):  # of a record, or a preset, of somebody else's
        raise DataError(f"data.file is {name!r}; give the name of a file in the data folder, without another folder")
    path = data_dir() / name
    problems = []
    found = sha256_of(path)
    if found == sha256:
        return path
    if found:
        problems.append(f"{path} is damaged or another text (SHA-256 {found[:12]}…, expected {sha256[:12]}…)")
    for url in urls:
        for _ in range(TRIES_PER_MIRROR):
            try:
                content = download(url)
            except HTTPException as error:  # cut off on the way: once more
                problems.append(f"{url}: {error!r}")
                continue
            except (OSError, ValueError) as error:  # no network, refused, timed out, not a URL: the next mirror
                problems.append(f"{url}: {getattr(error, 'reason', error)}")
                break
            delivered = hashlib.sha256(content).hexdigest()
            if delivered == sha256:
                return place(path, content)
            problems.append(f"{url}: {len(content)} bytes with SHA-256 {delivered[:12]}…, expected {sha256[:12]}…")
    remedy = f"put the file into {data_dir()} or name its folder in ABLATE_DATA_DIR"
    remedy += f", or use data={instead}" * bool(instead)
    raise DataError(f"cannot get {name} ({'; '.join(problems) or 'no mirror is named'}); {remedy}")


def download(url: str) -> bytes:
    """The bytes behind `url` (http, https or file). Raises OSError or HTTPException where they do not all come."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        content: bytes = response.read()
    return content


def place(path: Path, content: bytes) -> Path:
    """Keep verified `content` as `path`. Raises DataError where the folder cannot be written."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise DataError(f"cannot keep {path.name}: {os_reason(error)} (ABLATE_DATA_DIR=FOLDER)") from error
    return path
