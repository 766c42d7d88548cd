"""A command that is refused when a sweep's folder is made already, as by a cluster, leaves it as it was."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ablate.config.errors import UserError
from ablate.config.plugins import MANIFEST
from ablate.records.files import entries, remove, write_atomically
from ablate.records.locks import LOCK, exclusive
from ablate.records.places import manifest_path


@contextmanager
def undone_if_refused(folder: Path, *opening: str) -> Iterator[None]:
    """Where what is within ends with a UserError, the manifest is what it was, and folders made for it are gone.

    Not where anything has come of it, which is a change of anything but the manifest, the lock and `opening`, files
    that say only that it has begun; nor where another program uses the folder by now.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    before = _changed_at(folder)
    manifest = manifest_path(folder).read_bytes() if MANIFEST in before else None
    try:
        yield
    except UserError:
        with suppress(OSError, UserError), exclusive(folder):
            now = _changed_at(folder)
            if {name for name in now if now[name] != before.get(name)} <= {MANIFEST, LOCK, *opening}:
                if manifest is not None:
                    write_atomically(manifest_path(folder), manifest)
                for name in now.keys() - before.keys():
                    remove(folder / name)
                for path in made:
                    path.rmdir()
        raise


def _changed_at(folder: Path) -> dict[str, int]:
    """What lies in a folder → when it was changed; a folder is whenever a file in it is replaced."""
    return {path.name: path.stat().st_mtime_ns for path in entries(folder)}
