"""What nobody would type and somebody will: texts and values, and ways to edit what is valid, as hypothesis strategies.

Three ways to make a broken file of a whole one: its bytes are edited (torn, doubled, flipped), its lines are, or the
value that it holds is, at any depth. A fourth makes one from nothing.
"""

import copy
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

SCRIPT = "<script>alert(1)</script>"
MARKUP = (
    SCRIPT,
    '"><img src=x onerror=alert(1)>',
    "</title><svg onload=alert(1)>",
    "]]><iframe src=javascript:alert(1)>",
    "{{7*7}}{% for x in y %}",
    "&lt;b&gt;",
)
FORMULAS = ("=1+1", "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", '=HYPERLINK("x")')
PATHS = (
    "../../outside",
    "/outside",
    "..",
    ".",
    "a/../../../outside",
    "~/outside",
    "x" * 300,
    "a\\..\\b",
    "CON",
    "a\0b",
)
TEXTS = (
    *MARKUP,
    *FORMULAS,
    *PATHS,
    "",
    " ",
    "\n",
    "\ufeff",
    "\u202e",
    "नमस्ते",
    "💥",
    "\x1b[31m",
    "$\\frac{",
    "%s%n{0}",
    "\\input{/etc/passwd}",
    "null",
    "nan",
    "1e999",
    "${oc.env:HOME}",
    "!!python/object/apply:os.system [true]",
    "a,b",
    "[/]",
    "[/red]",
    "[the,time]",
    "'",
    '"',
    "[",
    "{",
)
"""Texts that mean something somewhere: to a browser, a spreadsheet, a shell, a terminal, TeX, YAML, Hydra, a path."""

NUMBERS = (0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 1e308, -1e308, 5e-324, 0.5, math.nan, math.inf, -math.inf, -0.0)


def texts() -> st.SearchStrategy[str]:
    """Texts: those of TEXTS, and any others."""
    return st.one_of(st.sampled_from(TEXTS), st.text(max_size=12), st.characters().map(lambda one: one * 3))


def scalars() -> st.SearchStrategy[Any]:
    """Values without parts."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(NUMBERS),
        st.integers(),
        st.floats(),
        texts(),
    )


def values() -> st.SearchStrategy[Any]:
    """Values as JSON and YAML have them."""
    return st.one_of(
        scalars(),
        st.recursive(
            scalars(),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts(), st.just("name")), inner, max_size=3)
            ),
            max_leaves=6,
        ),
    )


# --- edits of a value ---------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place within a value of mappings and lists, the whole first."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(len(value)):
            yield from places(value[number], (*path, number))


@st.composite
def edited(draw: st.DrawFn, value: Any, most: int = 2) -> Any:
    """A value with something of it replaced, removed, renamed, doubled or put elsewhere."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from(list(places(value))))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                value = draw(values())
            continue
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        last = path[-1]
        kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename", "wrap", "swap")))
        if kind == "replace":
            holder[last] = draw(values())
        elif kind == "remove":
            del holder[last]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(texts())] = holder.pop(last)
        elif kind == "wrap":
            holder[last] = draw(st.sampled_from(([holder[last]], {"name": holder[last]}, [], {})))
        elif kind == "swap":
            other = draw(st.sampled_from([key for key in places(value) if key]))
            holder[last] = copy.deepcopy(_at(value, other))
    return value


def _at(value: Any, path: Sequence[Any]) -> Any:
    for key in path:
        value = value[key]
    return value


# --- edits of bytes and lines -------------------------------------------------------------------------------------

PIECES = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\t",
    b"\xc3",
    b"\xed\xa0\x80",
    b"<script>",
    b"[" * 3000,
    b"{" * 3000,
    b"9" * 5000,
    b"a" * 5000,
    b"&a [*a]",
    b"\x80\x04K\x01.",
)


@st.composite
def torn(draw: st.DrawFn, content: bytes, most: int = 3) -> bytes:
    """Bytes of which some are missing, doubled, changed, or stand elsewhere."""
    for _ in range(draw(st.integers(1, most))):
        first = draw(st.integers(0, len(content)))
        last = min(len(content), first + draw(st.integers(0, max(1, len(content) // 4))))
        kind = draw(st.sampled_from(("end", "out", "twice", "flip", "in", "zero")))
        if kind == "end":
            content = content[:first]
        elif kind == "out":
            content = content[:first] + content[last:]
        elif kind == "twice":
            content = content[:last] + content[first:]
        elif kind == "flip" and first < len(content):
            content = content[:first] + bytes([content[first] ^ (1 << draw(st.integers(0, 7)))]) + content[first + 1 :]
        elif kind == "in":
            content = (
                content[:first] + draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8))) + content[first:]
            )
        elif kind == "zero":
            content = content[:first] + bytes(last - first) + content[last:]
    return content


@st.composite
def relined(draw: st.DrawFn, text: str, other: st.SearchStrategy[str] | None = None, most: int = 3) -> str:
    """A text of which lines are missing, doubled, swapped, changed; `other` are lines to put in."""
    lines = text.split("\n")
    more = texts() if other is None else st.one_of(texts(), other)
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, max(0, len(lines) - 1)))
        kind = draw(st.sampled_from(("out", "twice", "swap", "in", "within", "end")))
        if kind == "out" and len(lines) > 1:
            del lines[place]
        elif kind == "twice":
            lines.insert(place, lines[place])
        elif kind == "swap":
            lines[0], lines[place] = lines[place], lines[0]
        elif kind == "in":
            lines.insert(place, draw(more))
        elif kind == "within":
            at = draw(st.integers(0, len(lines[place])))
            lines[place] = lines[place][:at] + draw(more) + lines[place][at + draw(st.integers(0, 4)) :]
        elif kind == "end":
            lines = lines[: place + 1]
    return "\n".join(lines)


def encoded(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Texts as bytes, most of them UTF-8."""
    encodings = st.sampled_from(("utf-8",) * 8 + ("utf-16", "utf-32", "latin-1", "utf-8-sig", "utf-7"))
    return st.tuples(strategy, encodings).map(lambda one: one[0].encode(one[1], "replace"))


def any_of(*strategies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """One of several ways to break a file; now and then any bytes, or none."""
    return st.one_of(*strategies, *strategies, st.binary(max_size=64))


Check = Callable[[Any], None]


def put_in_place(path: Path, kind: str, outside: Path) -> None:
    """Something else where a file or a folder is expected."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "folder":
            path.mkdir()
        case "full folder":
            (path / "folder").mkdir(parents=True)
            (path / "file").write_bytes(b"\xff")
        case "link out":
            path.symlink_to(outside)
        case "link to a file":
            path.symlink_to(outside / "kept.txt")
        case "dangling":
            path.symlink_to(outside / "nothing")
        case "circle":
            path.symlink_to(path)
        case "pipe":
            os.mkfifo(path)
        case "empty":
            path.write_bytes(b"")
