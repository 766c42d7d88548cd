"""The hash of the code of what is registered without a file of its own: in a notebook, a script, at a prompt.

A file that `plugins` names is hashed whole (`ablate.config.plugins`). In a notebook there is none, so that what counts
is the source of the thing's functions and classes, of those of the same module or package that they use by name, and
the plain values (numbers, texts, tuples of these) that they take from there. Of code that a thing names,
`"module:Class"`, what counts is the module (`ablate.config.sources.module_hash`).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from ablate.config.sources import OURS, REFERENCE, module_hash

PLAIN = (bool, int, float, complex, str, bytes, type(None))


def code_hash(thing: Any) -> str | None:
    """SHA-256 of all code of a registered thing that is not this package's; None where there is none."""
    found: dict[int, str] = {}
    kept: list[Any] = []  # ids are those of living objects
    for value in _values(thing):
        if isinstance(value, FunctionType | type) and _package(value) not in (OURS, "builtins"):
            _collect(value, _package(value), found, kept)
    named = named_hash(thing)
    parts = [*found.values(), *([] if named is None else [named])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest() if parts else None


def named_hash(thing: Any) -> str | None:
    """SHA-256 of the modules, not of this package, whose code a registered thing names as `module:Class`; None where
    there are none."""
    said = [getattr(thing, field.name) for field in fields(thing)] if is_dataclass(thing) else []
    names = [found[1] for one in said if isinstance(one, str) and (found := REFERENCE.fullmatch(one))]
    hashes = [own for name in names if name.partition(".")[0] != OURS and (own := module_hash(name))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes else None


def _values(thing: Any) -> Iterator[Any]:
    """What the fields of a thing hold."""
    if not is_dataclass(thing):
        return
    for field in fields(thing):
        value = getattr(thing, field.name)
        for one in value if isinstance(value, tuple | list) else [value]:
            yield inspect.unwrap(one.func if isinstance(one, partial) else one) if callable(one) else one


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", "")).partition(".")[0]


def _collect(value: Any, package: str, found: dict[int, str], kept: list[Any]) -> None:
    """Add a function or class, and then all of the same package that it uses."""
    if id(value) in found:
        return
    kept.append(value)
    if isinstance(value, type):
        found[id(value)] = value.__qualname__
        for base in value.__mro__[1:]:
            if _package(base) == package:
                _collect(base, package, found, kept)
        for name, member in vars(value).items():
            member = inspect.unwrap(getattr(member, "__func__", None) or getattr(member, "fget", None) or member)
            if isinstance(member, FunctionType) and _package(member) == package:
                _collect(member, package, found, kept)
            elif not name.startswith("__"):
                found[id(value)] += _plain(name, member)
    else:
        found[id(value)] = _source(value)
        for name, used in _used(value):
            if isinstance(used, FunctionType | type) and _package(used) == package:
                _collect(used, package, found, kept)
            else:
                found[id(value)] += _plain(name, used)


def _used(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function takes from around it, by name."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # empty as yet: a function that uses itself
            continue
    for name in dict.fromkeys(_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _source(function: FunctionType) -> str:
    """Its source; where that is known no more (at a prompt, from `exec`), its byte code."""
    try:
        return inspect.cleandoc(inspect.getsource(function))
    except (OSError, TypeError):
        return _byte_code(function.__code__)


def _byte_code(code: CodeType) -> str:
    constants = [_byte_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return "\n".join([code.co_code.hex(), *code.co_names, *code.co_varnames, *constants])


def _plain(name: str, value: Any) -> str:
    """A value that another run of the same code would have, too; nothing of any other."""
    if isinstance(value, PLAIN) or (isinstance(value, tuple) and all(isinstance(one, PLAIN) for one in value)):
        return f"\n{name} = {value!r}"
    return ""
