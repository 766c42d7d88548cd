"""Files of a user's own, `plugins=[mine.py]`, and installed packages of the entry-point group `ablate.plugins`.

What they add stands beside what the package ships: a cell is a choice of `model`, its knobs are `model.NAME=`. The hash
of a file's source, with that of all it imports from beside it (`ablate.config.sources`), is part of the identity of the
runs that use what it adds, and of these alone.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import entry_points
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

from ablate.config.errors import UserError, nearest, os_reason, short_path
from ablate.config.registry import ORIGIN, TASKS, NameTaken, Registry, added_by, resolved, scoped, snapshot
from ablate.config.sources import Source, beside, digest, module_hash

ENTRY_POINTS = "ablate.plugins"

MANIFEST = "sweep.json"
"""The file that makes a folder that of a sweep."""

LOADED: dict[Path, str] = {}
"""File → hash of its source, and of what it imports from beside it, when it was loaded."""

MODULES: dict[Path, bytes] = {}
"""File of a module beside one that was loaded → its source when it was imported."""


def load(paths: Iterable[str]) -> None:
    """Load the files, each once; one that has changed since replaces what it added before.

    Raises UserError, one line with file and line, for a file that cannot be read, that fails, or that takes a name.
    """
    for given in paths:
        file, function = apart(given)
        path = _path(file)
        _refuse_data(path, given)
        source = _read(path, given)
        others = beside(source, path.parent)
        now = digest(source, others)
        if LOADED.get(path) != now:
            forget(path)
            _import_again(others, path.parent)
            with _all_or_nothing():
                _execute(path, file, source, now, others)
            LOADED[path] = now
        if function is not None:
            named(file, function)


def _refuse_data(path: Path, given: str) -> None:
    """Raise UserError for a file in the folder of a sweep: what lies there is data, handed on and read as such.

    A manifest names the files that its sweep was trained with, and a report loads these again: without this rule a
    folder of somebody else's results could bring code along, and have it run.
    """
    folder = next((one for one in path.resolve().parents if (one / MANIFEST).is_file()), None)
    if folder is not None:
        raise UserError(
            f"{given} lies in {short_path(folder)}, the folder of a sweep, of which nothing is run; move it"
        )


def apart(given: str) -> tuple[str, str | None]:
    """The file and the function of `train.py:train`; no function of a file alone."""
    found = re.fullmatch(r"(.+\.py):(\w+)", given)
    return (found[1], found[2]) if found else (given, None)


def named(file: str, function: str) -> Any:
    """The task that a function of a loaded file is; made now where the file does not say so itself.

    Raises UserError where the file has no such function, or one that cannot be an experiment.
    """
    own = LOADED[_path(file)]
    module = sys.modules[_module(own)]
    found = getattr(module, function, None)
    if not isfunction(found):
        names = [name for name, one in vars(module).items() if isfunction(one) and one.__module__ == module.__name__]
        raise UserError(f"{file} has no function {function!r}{nearest(function, names)}")
    known = next((one for one in TASKS if getattr(one, "function", None) is found), None)
    if known is not None:
        return known
    with _all_or_nothing(), _as_origin(own):
        try:
            return resolved("ablate.experiments.declaring:declare")(found)
        except UserError as error:
            raise UserError(f"{file}, line {found.__code__.co_firstlineno}: {error}") from error


def _path(file: str) -> Path:
    return Path(file).expanduser().absolute()


def _module(own: str) -> str:
    return f"ablate_plugin_{own[:12]}"


def _import_again(others: Mapping[str, Source], folder: Path) -> None:
    """Forget modules beside a file that were imported from elsewhere, or have changed since: what is imported is what
    was hashed. They can be imported later, too, when a function of the file does so."""
    imported = {name: module for name in others if (module := sys.modules.get(name)) is not None}
    if any(
        _file_of(module) != others[name].path or MODULES.get(others[name].path) != others[name].text
        for name, module in imported.items()
    ):
        for name in imported:
            del sys.modules[name]
    MODULES.update({one.path: one.text for one in others.values()})
    FINDER.folders.update({name.partition(".")[0]: str(folder) for name in others})
    if others and FINDER not in sys.meta_path:
        sys.meta_path.append(FINDER)


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).absolute()


class _Finder:
    """Finds what lies beside the files that were loaded, by the names that these import, if nothing else has them."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [self.folders[name]]) if path is None and name in self.folders else None


FINDER = _Finder()


def forget(path: Path) -> None:
    """Take away what a file has added."""
    for registry, name in list(added_by(LOADED.pop(path, ""))):
        registry.remove(name)


def source_hash(kind: str, name: str) -> str | None:
    """The hash of the user's source that added a thing, `source_hash("cell", "mine")`: of its file, or of its own code
    where there is none (a notebook), and of the module that it names as its code. None for what ablate ships."""
    return next((one.origin.get(name) for one in Registry.every if one.kind == kind), None)


def hashes(paths: Iterable[str]) -> dict[str, str]:
    """Each of these files, as it was given, with the hash of its source when it was loaded."""
    loaded = {given: LOADED.get(_path(apart(given)[0])) for given in paths}
    return {given: own for given, own in loaded.items() if own is not None}


def present(given: str) -> str:
    """The hash that a file would have if it were loaded now; empty where there is none."""
    path = _path(apart(given)[0])
    try:
        text = path.read_bytes()
    except (OSError, ValueError):  # a name that no file can have
        return ""
    return digest(text, beside(text, path.parent))


def load_again(stored: Mapping[str, str]) -> list[str]:
    """Load the files that a stored sweep was trained with, where they are; a line for what is not, or has changed.

    What the records hold can be read and reported without them. The file that was given last has its names, and a copy
    of what is loaded is as good as that.
    """
    gone, lines = list[str](), list[str]()
    for given, own in reversed([*stored.items()]):
        path, now = _path(apart(given)[0]), present(given)
        if path not in LOADED and {own, now} & {*LOADED.values()}:
            continue
        if not now and _gone(given):
            gone.append(given)
            continue
        try:
            load([given])
        except UserError as error:
            lines.append(f"{error}; the report shows what the records hold")
            continue
        if LOADED[path] != own:
            lines.append(f"{given} has changed since these runs were trained; they are shown as they were recorded")
    if gone:
        lines.append(f"{', '.join(reversed(gone))}: no longer there; these runs are shown as they were recorded")
    return lines


def still_needed(stored: Mapping[str, str], given: Mapping[str, str], complete: bool) -> dict[str, str]:
    """Of the files that a sweep was trained with, those that it has beside the ones given now, which come last.

    Not a copy of these, nor one that has a name of theirs; nor what is gone where the rest is `complete`: where it
    brings all that the sweep's settings name.
    """
    copies = {*given.values()}
    others = {file: own for file, own in stored.items() if file not in given and not {own, present(file)} & copies}
    kept = {file: own for file, own in others.items() if not (complete and _gone(file)) and not _replaced(file)}
    return kept | dict(given)


def _gone(given: str) -> bool:
    """Also where its name could be that of no file, as in a manifest that somebody else wrote."""
    try:
        return not _path(apart(given)[0]).exists()
    except (OSError, ValueError):
        return True


def _replaced(given: str) -> bool:
    """Whether a file has a name that something else has now; nothing of it stays loaded."""
    if _gone(given) or LOADED.get(_path(apart(given)[0])) == present(given):
        return False
    before = dict(LOADED)
    with scoped():
        try:
            load([given])
        except UserError as error:
            return isinstance(error.__cause__, NameTaken)
        finally:
            LOADED.clear()
            LOADED.update(before)
    return False


def load_installed() -> None:
    """Load what installed packages bring by the entry-point group `ablate.plugins`.

    Raises UserError for one that fails.
    """
    for entry in entry_points(group=ENTRY_POINTS):
        with _all_or_nothing(), _as_origin(module_hash(entry.module) or digest(entry.module.encode(), {})):
            try:
                entry.load()
            except Exception as error:
                by = f" of {entry.dist.name}" if entry.dist is not None else ""
                raise UserError(
                    f"the plugin {entry.name}{by} fails: {_said(error)}; mend it, or uninstall that package"
                ) from error


def _read(path: Path, given: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        words = f"plugins names {given}" if apart(given)[1] is None else f"experiment={given}"
        if isinstance(error, IsADirectoryError):
            inside = next(path.glob("*.py"), path / "FILE.py").name
            file = apart(given)[0].rstrip("/")
            raise UserError(f"{words}, but {file} is a folder; give a file of it, such as {file}/{inside}") from error
        raise UserError(f"{words}: {os_reason(OSError(error.errno, error.strerror))}") from error


def _execute(path: Path, given: str, source: bytes, own: str, others: Mapping[str, Source]) -> None:
    """Run a file as a module of a name of its own, `ablate_plugin_…`. Raises UserError with file and line: of the file,
    or of a module beside it where it is that which fails."""
    module = ModuleType(_module(own))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look their module up there
    try:
        with _as_origin(own), _beside(path):
            exec(compile(source, str(path), "exec"), module.__dict__)
    except KeyboardInterrupt:
        del sys.modules[module.__name__]
        raise
    except BaseException as error:  # SystemExit, too: the file is not to end the program
        del sys.modules[module.__name__]
        files = {str(path): given} | {str(one.path): one.path.name for one in others.values()}
        raise UserError(f"{_place(error, files) or given}: {_without_places(_said(error), files)}") from error


def _said(error: BaseException) -> str:
    """A person's mistake in its own words, any other error with its name; one line."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _without_places(said: str, files: Mapping[str, str]) -> str:
    """What an error says, without the place that it begins with, which stands before it already; files as they were
    given."""
    for path, given in files.items():
        said = re.sub(rf"^{re.escape(path)}:\d+: ", "", said).replace(path, given)
    return said


def _place(error: BaseException, files: Mapping[str, str]) -> str:
    """`mine.py, line 3`: the innermost line of some files, path → name, that an error passed through."""
    if isinstance(error, SyntaxError) and error.filename is not None and error.filename in files:
        return f"{files[error.filename]}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f"{files[frames[-1].filename]}, line {frames[-1].lineno}" if frames else ""


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """What lies beside a file can be imported by it while it is loaded, as when it is run as a script."""
    folder = str(path.parent)
    sys.path.append(folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.reverse()
            sys.path.remove(folder)  # the one that was added last
            sys.path.reverse()


@contextmanager
def _as_origin(own: str) -> Iterator[None]:
    token = ORIGIN.set(own)
    try:
        yield
    finally:
        ORIGIN.reset(token)


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """What is added within stays where nothing fails."""
    restore = snapshot()
    try:
        yield
    except BaseException:
        restore()
        raise
