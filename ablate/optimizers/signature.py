"""The knobs of a function: its keyword-only parameters, with what was declared of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ablate.config.errors import ConfigError
from ablate.config.registry import Knob


def positional(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the positional parameters. Raises ConfigError for *parameters, which have none."""
    found = inspect.signature(function).parameters.values()
    for parameter in found:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"{where(function)} has *{parameter.name}; name its parameters one by one")
    return tuple(parameter.name for parameter in found if parameter.kind != parameter.KEYWORD_ONLY)


def knobs_of(function: Callable[..., Any], declared: Sequence[Knob], given: Iterable[str] = ()) -> tuple[Knob, ...]:
    """A knob for each keyword-only parameter but those `given` by the program: the declared one, or by its default.

    Raises ConfigError for a parameter with neither, and for a declared knob that is no parameter.
    """
    by_name = {knob.name: knob for knob in declared}
    knobs = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind != parameter.KEYWORD_ONLY or name in given:
            continue
        if name in by_name:
            knobs.append(by_name.pop(name))
            if parameter.default not in (parameter.empty, knobs[-1].default):
                raise ConfigError(f"{where(function)} gives the knob {name} two defaults; leave out {name}=…")
        elif parameter.default is parameter.empty:
            raise ConfigError(f"{where(function)} has the knob {name} without a default; write {name}=VALUE")
        else:
            knobs.append(Knob(name, _kind(parameter.default), _plain(parameter.default)))
    for name in by_name:
        raise ConfigError(f"{where(function)} declares the knob {name}, but has no keyword parameter of that name")
    return tuple(knobs)


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def _kind(default: Any) -> Any:
    """The type of a knob's values: lists have items of the type of the first."""
    if isinstance(default, list | tuple):
        return list[type(default[0])] if default else list[str]  # type: ignore[misc]
    return type(default)


def where(function: Callable[..., Any]) -> str:
    """`mine.py:12: lion`, for a message."""
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    return name if code is None else f"{code.co_filename}:{code.co_firstlineno}: {name}"


def summary_of(function: Callable[..., Any]) -> str:
    """The first sentence of its docstring, without the full stop."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()).rstrip(".")


def line_of(error: Exception, function: Callable[..., Any]) -> str:
    """`mine.py:12: TypeError`, in full: the innermost line of the function's own file that an error passed through."""
    file, found = function.__code__.co_filename, function.__code__.co_firstlineno
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = trace.tb_lineno
        trace = trace.tb_next
    return f"{file}:{found}: {type(error).__name__}"
