"""The source that a file of a user's own consists of: its own, and that of what it imports from beside it.

What is imported is read from the source itself, before anything of it runs: from `import` statements, wherever they
stand, and from names in quotes, `import_module("mine.parts")` and `"mine.parts:Class"`. A module counts as beside a
file if it lies in that file's folder, or below it, and is what Python would import by that name from there: what a
package of the same name hides does not count, nor do the standard library and what is installed.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

OURS = __name__.partition(".")[0]
INSTALLED = ("site-packages", "dist-packages")
REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")
"""`module:name`"""


@dataclass(frozen=True)
class Source:
    """A module's file and what was in it."""

    path: Path
    text: bytes


def beside(text: bytes, folder: Path) -> dict[str, Source]:
    """Module → source, for all modules of a folder that a source imports, and those that these import in turn."""
    found: dict[str, Source] = {}
    waiting = [(text, "")]
    while waiting:
        for name in _imported(*waiting.pop()):
            parts = name.split(".")
            if _hidden(parts[0], folder):
                continue
            for depth in range(1, len(parts) + 1):
                module = ".".join(parts[:depth])
                path = _file(parts[:depth], folder)
                if path is None or module in found:
                    continue
                try:
                    found[module] = Source(path, path.read_bytes())
                except OSError:  # importing it tells the reason
                    continue
                package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                waiting.append((found[module].text, package))
    return found


def digest(text: bytes, others: Mapping[str, Source]) -> str:
    """SHA-256 of a source and of all beside it that it imports; of a source alone as of the file."""
    found = hashlib.sha256(text)
    for name in sorted(others):
        found.update(b"\0" + name.encode() + b"\0" + others[name].text)
    return found.hexdigest()


def module_hash(module: str) -> str | None:
    """Of the package that a module is part of, all sources; of a module by itself, its own and those beside it.

    None where nothing has that name.
    """
    try:
        spec = find_spec(module.partition(".")[0])
    except ValueError:  # of a module that was made by hand
        return None
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    path = Path(spec.origin)
    if spec.submodule_search_locations:
        return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(path.parent.rglob("*.py")))).hexdigest()
    installed = any(part in INSTALLED for part in path.parts)
    text = path.read_bytes()
    return digest(text, {} if installed else beside(text, path.parent))


def _imported(text: bytes, package: str) -> Iterator[str]:
    """The full names of modules that a source, of a module of `package`, may import: also what is no module."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # importing it tells the reason
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                start = ".".join([*above, *([module] if module else [])])
                yield from [start, *(f"{start}.{one.name}" for one in names)] if start else []
            case ast.Call(func=called, args=[ast.Constant(value=str(name)), *_]) if _last_name(called) in IMPORTERS:
                yield name
            case ast.Constant(value=str(said)) if reference := REFERENCE.fullmatch(said):
                yield reference[1]


IMPORTERS = ("import_module", "__import__")


def _last_name(called: ast.expr) -> str:
    """`import_module` of `importlib.import_module`."""
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _hidden(top: str, folder: Path) -> bool:
    """Whether Python would not import this name from the folder, be it that something else has it."""
    own = folder / top
    if top == OURS or top in sys.stdlib_module_names or not (own.is_dir() or own.with_suffix(".py").is_file()):
        return True
    spec = PathFinder.find_spec(top, [*sys.path, str(folder)])
    if spec is None:
        return True
    places = [Path(one) for one in spec.submodule_search_locations or ()]
    if spec.origin is not None and spec.has_location:
        places.append(Path(spec.origin))
    return not any(place.absolute() in (own.absolute(), own.with_suffix(".py").absolute()) for place in places)


def _file(parts: list[str], folder: Path) -> Path | None:
    place = folder.joinpath(*parts)
    files = (place / "__init__.py", place.parent / f"{place.name}.py")
    return next((file for file in files if file.is_file()), None)
