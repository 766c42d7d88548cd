"""One JSON file with everything, and one Markdown page for people, named after the card."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ablate.records.files import make_folder, write_json, write_text
from ablate.timing.gpu.checks import Outcome
from ablate.timing.gpu.commands import Command
from ablate.timing.gpu.goals import Goal
from ablate.timing.gpu.table import Cell
from ablate.timing.gpu.work import Sizes

NOT_A_MEASUREMENT = (
    "**A rehearsal with tiny sizes: it shows that every line runs; no number in it says anything of a GPU.**"
)


@dataclass
class Found:
    """What there is to be told."""

    kernels: dict[str, str] = field(default_factory=dict)
    """Layer → what takes its steps."""
    checks: list[Outcome] = field(default_factory=list)
    table: list[Cell] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    states: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """What the card was doing, by when that was."""
    spent_s: float = 0.0
    files: tuple[Path, ...] = ()


def write(folder: Path, facts: Mapping[str, Any], sizes: Sizes, found: Found) -> tuple[Path, Path]:
    """Raises StorageError."""
    make_folder(folder)
    name = slug(f"rehearsal {facts['gpu'] or 'cpu'}" if sizes.rehearsal else str(facts["gpu"]))
    json_path, page_path = folder / f"{name}.json", folder / f"{name}.md"
    plain = {name: value for name, value in asdict(found).items() if name != "files"}
    write_json(json_path, {"rehearsal": sizes.rehearsal, "machine": dict(facts), "sizes": asdict(sizes), **plain})
    write_text(page_path, "\n".join(page(facts, sizes, found)) + "\n")
    return json_path, page_path


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def page(facts: Mapping[str, Any], sizes: Sizes, found: Found) -> Iterator[str]:
    yield f"# ablate bench gpu: {facts['gpu'] or facts['cpu']}"
    yield ""
    if sizes.rehearsal:
        yield NOT_A_MEASUREMENT
        yield ""
    known = {
        "compute capability": facts.get("gpu_capability"),
        "driver": facts.get("driver"),
        "CUDA": facts.get("cuda"),
        "cuDNN": facts.get("cudnn"),
        "torch": facts["torch"],
        "processor": facts["cpu"],
        "commit": (facts["git_commit"] or "not known")[:12] + " and changes" * bool(facts["git_dirty"]),
    }
    yield "; ".join(f"{name} {value}" for name, value in known.items() if value) + "."
    yield f"It took {found.spent_s:.0f} s."
    for what in found.left_out:
        yield f"Left out, since there was no time: {what}."
    yield from _kernels(found.kernels)
    yield from _checks(found.checks)
    yield from _table(found.table)
    yield from _goals(found.goals)
    yield from _commands(found.commands)
    yield from _states(found.states)


def _rows(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield "|" + "---|" * len(heading)
    yield from (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def _kernels(kernels: Mapping[str, str]) -> Iterator[str]:
    yield from ("", "## What takes the steps of layers", "")
    for name in dict.fromkeys(kernels.values()):
        layers = [layer for layer, own in kernels.items() if own == name]
        yield f"- {name}: {', '.join(layers)}"


def _checks(checks: Sequence[Outcome]) -> Iterator[str]:
    yield from ("", "## Is it right?", "")
    yield from _rows(["check", "", ""], [[one.check, one.status, one.told] for one in checks])


def _table(table: Sequence[Cell]) -> Iterator[str]:
    yield from (
        "",
        "## How fast?",
        "",
        "Microseconds per minibatch and run, medians over epochs as they are trained.",
        "",
    )
    by = {(cell.num_hiddens, cell.model, cell.way): cell for cell in table}
    names = list(dict.fromkeys(cell.way for cell in table))
    rows = []
    for H, model in dict.fromkeys((cell.num_hiddens, cell.model) for cell in table):
        cells = [by.get((H, model, name)) for name in names]
        texts = ["–" if c is None or c.us is None else _us(c.us) for c in cells]
        rows.append([str(H), model, *texts])
    yield from _rows(["H", "model", *names], rows)
    said: dict[str, list[str]] = {}
    for cell in table:
        for words in filter(None, (cell.why, f"computed by {cell.computed}" if cell.computed else "")):
            said.setdefault(words, []).append(f"{cell.model} {cell.num_hiddens} {cell.way}")
    yield ""
    for words, cells_of in said.items():
        more = f" and {len(cells_of) - 1} more" if len(cells_of) > 1 else ""
        yield f"- {cells_of[0]}{more}: {words}"


def _us(value: float) -> str:
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def _goals(goals: Sequence[Goal]) -> Iterator[str]:
    yield from ("", "## The goals", "")
    words = {True: "met", False: "missed", None: "not decided"}
    yield from _rows(["", "goal", "found", ""], [[one.name, one.goal, one.found, words[one.met]] for one in goals])


def _commands(commands: Sequence[Command]) -> Iterator[str]:
    yield from ("", "## Whole commands", "")
    for one in commands:
        took = one.why if one.took_s is None else f"{one.took_s:.1f} s"
        yield f"- `ablate run {' '.join(one.words)}`: {took}"


def _states(states: Mapping[str, Mapping[str, Any] | None]) -> Iterator[str]:
    yield from ("", "## What the card was doing", "")
    if not any(states.values()):
        yield "Clocks, temperature and power were not recorded."
        return
    names = ("clock_mhz", "memory_clock_mhz", "temperature_c", "power_w", "limits", "others")
    rows = [
        [when, *("–" if state is None or state[name] is None else _said(state[name]) for name in names)]
        for when, state in states.items()
    ]
    yield from _rows(["", "clock, MHz", "memory, MHz", "°C", "W", "held back by", "other processes"], rows)


def _said(value: Any) -> str:
    return ", ".join(value) or "nothing" if isinstance(value, list) else f"{value:g}"
