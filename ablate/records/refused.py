"""A command that is refused when a sweep's folder is made already, as by a cluster, leaves it as it was."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ablate.config.errors import UserError
from ablate.records.files import entries, remove, write_atomically
from ablate.records.jobs import batches, jobs_dir
from ablate.records.locks import LOCK, exclusive
from ablate.records.places import failures_dir, manifest_path
from ablate.records.reading import RecordError


@contextmanager
def undone_if_refused(folder: Path, *opening: str) -> Iterator[None]:
    """Where what is within ends with a UserError, the manifest and the failures are what they were, and folders made
    for it are gone.

    Not where anything has come of it: a file that is new or another one. Not counted are the manifest, the lock and
    `opening`, files that say only that it has begun, and what jobs write that were submitted before; nor is anything
    undone where another program uses the folder by now.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    there = {path.name for path in entries(folder)}
    kept = {
        path: path.read_bytes() for path in (manifest_path(folder), *entries(failures_dir(folder))) if path.is_file()
    }
    begins = {manifest_path(folder), *(folder / name for name in (LOCK, *opening))}
    before, in_flight = _files(folder), _in_flight(folder)
    try:
        yield
    except UserError:
        with suppress(OSError, UserError), exclusive(folder):
            now = _files(folder)
            changed = {path for path, content in now.items() if before.get(path) != content} - begins
            if all(_is_of_jobs(path, folder, in_flight) for path in changed):
                for path, content in kept.items():
                    if now.get(path) != before[path]:
                        write_atomically(path, content)
                for name in {path.name for path in entries(folder)} - there:
                    _remove_new(folder / name)
                for path in made:
                    path.rmdir()
        raise


def _remove_new(path: Path) -> None:
    """Delete what this command has made: a file, or a folder in which nothing is left."""
    if not path.is_dir():
        remove(path)
        return
    with suppress(OSError):  # jobs have written into it
        path.rmdir()


def _files(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """The files below a folder, each with what tells its content from any other: a file is written anew, and moved into
    place."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # jobs replace theirs meanwhile
            if path.is_file():
                facts = path.stat()
                found[path] = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return found


def _in_flight(folder: Path) -> frozenset[str]:
    """By what the files are named that jobs write which were submitted before: batches, settings, runs."""
    names = {path.name for path in entries(jobs_dir(folder))}
    for batch in batches(folder):
        for job in range(batch.jobs):
            with suppress(RecordError, KeyError, TypeError):
                for setting in batch.order(job)["settings"]:
                    names |= {setting["setting_id"], *(run["run_id"] for run in setting["runs"])}
    return frozenset(names)


def _is_of_jobs(path: Path, folder: Path, in_flight: frozenset[str]) -> bool:
    """Whether jobs that were submitted before have written a file: `runs/<run>.json`, `jobs/<batch>/…`."""
    place, *rest = path.relative_to(folder).parts
    return bool(rest) and (rest[0] if place == jobs_dir(folder).name else rest[0].partition(".")[0]) in in_flight
