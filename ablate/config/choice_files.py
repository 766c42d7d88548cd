"""The files that choices name: of conf/, of sweeps/, and a person's own, `./sweeps/mine.yaml`, `./model/mine.yaml`."""

import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ablate.config.errors import UserError, listing, nearest, os_reason, short_path
from ablate.config.registry import OF_GROUP
from ablate.config.schema import CONFIG_ROOT

SEARCHED: ContextVar[tuple[Path, ...]] = ContextVar("SEARCHED", default=())
"""Folders whose groups Hydra finds besides conf/, while a command of ours composes."""


def roots(config_dir: Path | None = None) -> list[Path]:
    """The folders that hold groups; the first that has a file decides: ours, `--config-dir`, the working directory."""
    given = [] if config_dir is None else [config_dir]
    return list(dict.fromkeys([CONFIG_ROOT / "conf", CONFIG_ROOT, *given, Path.cwd()]))


def choices(group: str, config_dir: Path | None = None) -> dict[str, Path]:
    """The files of a group by their names: ours in alphabetical order, then a person's own."""
    found: dict[str, Path] = {}
    for root in roots(config_dir):
        for name in files_of(root / group):
            found.setdefault(name.removesuffix(".yaml"), root / group / name)
    return found


def summaries(group: str, config_dir: Path | None = None) -> dict[str, str]:
    """The choices of a group, each with a line on what it is: ours in alphabetical order, then a person's own."""
    ours, theirs = dict[str, str](), dict[str, str]()
    for name, path in choices(group, config_dir).items():
        said = opening_comment(path) if os.access(path, os.R_OK) else "(this file cannot be read)"
        (ours if path.is_relative_to(CONFIG_ROOT) else theirs)[name] = said
    registry = OF_GROUP.get(group)
    for thing in registry or ():
        if thing.name not in ours and registry is not None:
            (theirs if thing.name in registry.origin else ours)[thing.name] = summary(thing)
    return dict(sorted(ours.items())) | theirs


def summary(thing: Any) -> str:
    """A line on what a registered thing is, with its source."""
    said, source = getattr(thing, "summary", ""), getattr(thing, "source", "")
    return f"{said} ({source})" if said and source else said or source


def files_of(folder: Path) -> list[str]:
    """The names of the YAML files in a folder; none where it cannot be read."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".yaml") and not name.startswith("."))
    except OSError:
        return []
    return [name for name in names if not os.path.isdir(folder / name)]


def find_preset(preset: str, config_dir: Path | None = None) -> Path:
    """The file of a preset. Raises UserError with the presets that there are."""
    for root in roots(config_dir):
        path = root / "sweeps" / f"{preset}.yaml"
        if os.path.isfile(path):
            return path
    names = choices("sweeps", config_dir)
    hidden = unreadable("sweeps", config_dir)
    own = "" if "/" in preset else f"; there is no ./sweeps/{preset}.yaml of your own"
    raise UserError(f"sweeps is {preset!r}; choose {listing(names)}{nearest(preset, names)}{hidden}{own}")


def typed_as(word: str) -> str:
    """`; did you mean sweeps=smoke?` for the bare name of a choice, of whichever group; nothing for any other word."""
    found = [f"{group}={word}" for group in (*OF_GROUP, "sweeps") if word in summaries(group)]
    return f"; did you mean {listing(found)}?" if found else ""


def unreadable(group: str, config_dir: Path | None = None) -> str:
    """`; sweeps/mine.yaml cannot be read: permission denied …` for what may hold further choices; else nothing."""
    found = dict[str, None]()
    for root in roots(config_dir):
        folder = root / group
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            found[f"{short_path(folder)} cannot be read: {os_reason(OSError(error.errno, error.strerror))}"] = None
            continue
        for name in sorted(names):
            if name.endswith(".yaml") and not os.access(folder / name, os.R_OK):
                found[f"{short_path(folder / name)} cannot be read"] = None
    return "".join(f"; {line}" for line in found)


def question(preset: str) -> str | None:
    """The question that a preset's file opens with, without its command; None for a file that asks nothing."""
    try:
        path = find_preset(preset)
    except UserError:
        return None
    return opening_comment(path).partition("python -m ablate")[0].strip() or None


def opening_comment(path: Path) -> str:
    """The first line of comment in a file of a group, or nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    comments = [line[1:].strip() for line in lines if line.startswith("#")]
    return next((comment for comment in comments if not comment.startswith("@package")), "")
