"""The commands that make a sweep and its report again."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from ablate.analysis.tasks import of_networks
from ablate.config.overrides import Override
from ablate.config.quoting import unquote
from ablate.config.shell import command_line
from ablate.report.blocks import Commands
from ablate.report.material import Material
from ablate.report.sections import Section


def commands(m: Material) -> list[tuple[str, str]]:
    """What makes each part again."""
    lines = [str(line) for line in m.manifest.get("commands", [])]
    folder = _where(lines) / m.folder.resolve().name
    said = [("The runs; only what is missing is trained", "\n".join(lines))] if lines else []
    if of_networks(m.runs):
        said += [("Tokens per second, on this machine", command_line("bench", folder))]
    if m.verdicts:
        said.append(("The verdicts", command_line("claims", folder)))
    level = [] if m.level == 0.95 else ["--level", f"{m.level:g}"]
    title = [] if m.title in (m.folder.name, m.manifest.get("title")) else _option("--title", m.title)
    again = command_line("report", folder, *title, *level)
    return [*said, ("This report, its tables and figures", again)]


def _option(name: str, value: str) -> list[str]:
    """An option and its value, as one word where the value looks like another option."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _where(commands: Sequence[str]) -> Path:
    """Where these commands keep their sweep, seen from where they are given; where this one lies, an absolute path
    perhaps, means nothing to another reader."""
    read = [Override.read(word) for line in commands for word in shlex.split(line)]
    said = [unquote(word.value) for word in read if word.key == "results_dir" and word.value]
    return Path(said[-1] if said else "results")


REGENERATE = Section("commands", "Regenerate", lambda m: True, blocks=lambda m, made: [Commands(commands(m))])
