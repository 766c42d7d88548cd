"""Locks between programs: held by one, or shared by several, and gone with the process however it ends.

"In use" is said only of a lock that another program truly holds. Not every file system has locks (NFS, Lustre and FUSE
may have none); there a program goes on without one and says so.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import portalocker
from portalocker.exceptions import AlreadyLocked, LockException

from ablate.config.errors import StorageError, UserError
from ablate.config.terminal import lines
from ablate.records.files import entries, make_folder, user_folder

FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


LOCK = ".lock"
"""The lock of a sweep's folder, in it."""

LOOK_S = 0.2
"""So long a lock in use is tried: whoever only looks whether it is holds it for a moment."""

TRIES = 5
"""To lock a file that others delete meanwhile; a file system may number files anew each time, and never say that it is
the same."""


class InUse(Exception):
    """Another program holds the lock."""


def warn(line: str) -> None:
    lines()(f"warning: {line}")


@contextmanager
def held(path: Path, without: str, *, shared: bool = False, say: Callable[[str], None] = warn) -> Iterator[bool]:
    """Hold `path` as a lock, without waiting; whether there is one to hold.

    Raises InUse where another program holds it, StorageError where the file cannot be made. Where the file system has
    no locks, `say` hears that, and that it goes on `without`: what that may cost.
    """
    kind = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
    for left in reversed(range(TRIES)):
        descriptor = _opened(path)
        try:
            locked = True
            try:
                portalocker.lock(descriptor, kind | portalocker.LockFlags.NON_BLOCKING)
            except AlreadyLocked as error:
                raise InUse(str(path)) from error
            except LockException as error:
                locked = False
                why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error.strerror
                say(f"{path.parent} is on a file system without locks ({why}); going on without one: {without}")
            if locked and left and not _is_at(path, descriptor):
                continue
            yield locked
            return
        finally:
            os.close(descriptor)


@contextmanager
def held_soon(
    path: Path,
    without: str,
    *,
    shared: bool = False,
    within_s: float = LOOK_S,
    say: Callable[[str], None] = warn,
) -> Iterator[bool]:
    """As `held`, but InUse is raised only where another program has held it for `within_s`."""
    deadline = time.monotonic() + within_s
    with ExitStack() as stack:
        while True:
            try:
                locked = stack.enter_context(held(path, without, shared=shared, say=say))
                break
            except InUse:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(LOOK_S / 10)
        yield locked


@contextmanager
def gone_if_refused(path: Path) -> Iterator[None]:
    """Where what is within ends with a UserError, the lock at `path`, and the folders that hold nothing else, are gone
    if they were not there before: a command that is refused leaves nothing."""
    made = [one for one in (path, *path.parents) if not os.path.lexists(one)]
    try:
        yield
    except UserError:
        if path in made:
            # Held, so that nobody is left with a lock on a file that is not there: whoever waits for it makes another.
            with suppress(OSError, InUse), held(path, "", say=lambda _: None):
                for one in made:
                    one.rmdir() if one.is_dir() else one.unlink()
        raise


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is still the one of this name: a program that ended may have deleted it before it was
    locked, and the next one would make, and lock, another."""
    if os.name == "nt":  # where a file that is open cannot be deleted
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:  # it is gone, which NFS says of the open one, too
        return False


def _opened(path: Path) -> int:
    """A descriptor of the file, made where there is none. Raises StorageError.

    To hold a lock it is enough that one can read the file, so that those alone may who can write to its folder: not
    everybody, as a file has it otherwise, and the whole group that shares the folder (by NFS only a file that one can
    write to can be locked). A new file has the group of its maker, which need not be the folder's.
    """
    try:
        try:
            descriptor = os.open(path, FLAGS | os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError:
            return os.open(path, FLAGS | os.O_RDONLY)  # another user made it
        with suppress(OSError, AttributeError):  # another user's, or without modes: a file system, Windows
            folder, file = path.parent.stat(), os.fstat(descriptor)
            writers = stat.S_IMODE(folder.st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
            mode = stat.S_IRUSR | stat.S_IWUSR | writers | writers << 1
            if writers & stat.S_IWGRP and file.st_gid != folder.st_gid:
                try:
                    os.fchown(descriptor, -1, folder.st_gid)
                except OSError:  # not in that group: a reader who holds the lock is better than a writer kept out
                    mode |= stat.S_IROTH
            if stat.S_IMODE(file.st_mode) != mode:
                os.fchmod(descriptor, mode)
        return descriptor
    except OSError as error:
        raise StorageError.of(error, path) from error


@contextmanager
def held_on_machine(
    name: str, without: str, *, shared: bool = False, say: Callable[[str], None] = warn
) -> Iterator[bool]:
    """Hold a lock of this user on this machine, which no other user can hold; whether there is one to hold.

    Raises InUse. Where there is no folder for it that is this user's alone, `say` hears that.
    """
    with ExitStack() as stack:
        try:
            locked = stack.enter_context(held(user_folder() / f"{name}.lock", without, shared=shared, say=say))
        except StorageError as error:
            locked = False
            say(f"no lock on this machine ({error}); going on without one: {without}")
        yield locked


@contextmanager
def exclusive(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a sweep's folder: two programs never train the same runs. Raises UserError, also for one of which a part
    lies elsewhere: whoever takes a folder over from somebody else writes nothing outside of it.

    The processes of one search share it: their study tells who trains what.

    The lock goes with the process, however it ends; where what is within is refused, so does what was made for it.
    """
    without = "start no other ablate on this folder meanwhile, it would train the same runs again (records stay whole)"
    with gone_if_refused(folder / LOCK), ExitStack() as stack:
        make_folder(folder)
        _refuse_links(folder)
        try:
            try:
                stack.enter_context(held_soon(folder / LOCK, without, shared=shared))
            except StorageError:
                if folder.exists():
                    raise
                make_folder(folder)  # which a command has deleted that was refused
                stack.enter_context(held_soon(folder / LOCK, without, shared=shared))
        except InUse as error:
            say = f"{folder} is in use by another ablate; wait for it, or give another name=NAME"
            raise UserError(say) from error
        yield


def _refuse_links(folder: Path) -> None:
    """Raise UserError where a folder in this one is a link that leads out of it."""
    own = folder.resolve()
    for path in entries(folder):
        if path.is_symlink() and path.is_dir() and not path.resolve().is_relative_to(own):
            raise UserError(
                f"{path} is a link to {path.resolve()}, and a sweep writes into its own folder alone; "
                f"put a folder there, or make {folder} itself the link"
            )
