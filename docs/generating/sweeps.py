"""What the committed sweeps hold, read once for the gallery and the papers."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ablate.claims.verdicts import p_text
from ablate.config.errors import counted
from ablate.report.blocks import Attempts
from ablate.report.material import Material, gather
from ablate.report.sheets import SettingsSheet
from ablate.stats.multiplicity import holm
from generating.tables import code, table

ROOT = Path(__file__).resolve().parents[2]
ALPHA = 0.05
SYMBOLS = {"confirmed": "✓ confirmed", "refuted": "✗ refuted", "undecided": "? undecided"}


def folders() -> list[Path]:
    """The sweeps whose records are kept, in alphabetical order; not what somebody trained beside them."""
    from subprocess import run

    done = run(["git", "ls-files", "results/*/runs.parquet"], cwd=ROOT, capture_output=True, text=True)
    named = [ROOT / line for line in done.stdout.splitlines()] or sorted((ROOT / "results").glob("*/runs.parquet"))
    return [path.parent for path in named]


def preset_of(folder: Path) -> str | None:
    preset: str | None = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["preset"]
    return preset


@cache
def material(name: str) -> Material:
    """Raises RuntimeError where anything of it cannot be made."""

    def fail(line: str) -> None:
        raise RuntimeError(f"results/{name}: {line}")

    return gather(ROOT / "results" / name, Attempts(fail))


def verdicts_table(name: str) -> str:
    """What the runs of a sweep say of its claims; nothing where none belongs to it."""
    rows = [
        (
            SYMBOLS.get(one.verdict, f"– {one.verdict}"),
            one.statement,
            one.effect or one.evidence,
            one.n or "–",
            "fact" if one.fact else p_text(one.p),
        )
        for one in material(name).verdicts
    ]
    return table(("verdict", "claim", "effect that decides", "n", "p"), rows, "verdicts", (3, 4)) if rows else ""


def stand_together(names: Sequence[str]) -> str:
    """How many of the claims of these sweeps are decided, and which no more if they are corrected as one family."""
    tested = [one for name in names for one in material(name).verdicts if not one.fact and one.p is not None]
    decided = [one for one in tested if one.verdict in ("confirmed", "refuted")]
    corrected = dict(zip(map(id, tested), holm([float(one.p) for one in tested if one.p is not None]), strict=True))
    fall = [one for one in decided if not corrected[id(one)] < ALPHA]
    said = (
        f"Each verdict above holds at 5 % for itself. Of the {counted(len(tested), 'claim')} that are tested on this "
        f"page, {len(decided)} are decided. If all are corrected as one family (Holm), {len(decided) - len(fall)} "
        "remain decided"
    )
    lost = [f"{said}, and these are no longer decided:\n", *(f"- {one.statement}" for one in fall), ""]
    return "\n".join(lost) if fall else f"{said}.\n"


def settings_table(name: str) -> str:
    """Each setting, below what was published of it where something was."""
    sheet = SettingsSheet(material(name)).sheet()
    rows = [
        [f"*{cell}*" if cell and number in sheet.foreign else cell for cell in row]
        for number, row in enumerate(sheet.rows)
    ]
    numbers = [at for at, column in enumerate(sheet.columns) if column.number]
    return table([column.heading for column in sheet.columns], rows, "numbers", numbers)


def commands_of(name: str) -> str:
    """The commands that trained it, as a block."""
    commands = material(name).manifest.get("commands", [])
    return "```sh\n" + "\n".join(commands) + "\n```\n"


def page_command(name: str) -> str:
    return code(f"ablate report results/{name}")
