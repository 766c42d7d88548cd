"""The gallery: a card for each committed sweep, with its question, figure, answer, verdicts and command."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from io import BytesIO

from ablate.claims.verdicts import VERDICTS
from ablate.config.errors import counted
from ablate.report.answer import answer, main_figure
from ablate.report.contents import wanted
from ablate.report.plots.style import styled
from generating.sweeps import ROOT, commands_of, folders, material, page_command, preset_of, verdicts_table

DPI = 110


@cache
def figures() -> dict[str, bytes]:
    """Path below docs/ → PNG of the main figure of each sweep."""
    return {f"gallery/{folder.name}.png": drawn[1] for folder in folders() if (drawn := drawing(folder.name))}


@cache
def drawing(name: str) -> tuple[str, bytes] | None:
    """Caption and PNG of the main figure of a sweep; without the title, which stands above it on the card."""
    m = replace(material(name), title="")
    drawings = wanted(m)
    main = main_figure(m, drawings)
    if not main:
        return None
    caption, draw = drawings[main]
    with styled(m.heading):
        buffer = BytesIO()
        draw().savefig(buffer, format="png", dpi=DPI)
    return caption, buffer.getvalue()


def gallery() -> str:
    parts = [
        "# Gallery\n",
        "A card for each sweep whose records come with `ablate`, in `results/`: its question, its main figure, what "
        "came out, the verdicts, and the command that trained it. The last command of a card makes the report, with "
        "all tables, figures and warnings. The cards are made from the records when the site is built; the "
        "[words](index.md#words-used-throughout) that they use are explained on the first page.\n",
    ]
    for folder in folders():
        parts.append(card(folder.name))
    return "\n".join(parts)


def asked(name: str) -> str:
    """The question of a sweep; behind it what sets the sweep apart from others of the same preset."""
    own = name.removeprefix(preset_of(ROOT / "results" / name) or name).strip("_")
    knob, _, values = own.partition("-")
    said = f"{knob}={values.replace('-', ', ')}" if values else own.replace("_", " ")
    return f"{material(name).question} ({said})" if own else str(material(name).question)


def card(name: str) -> str:
    m = material(name)
    lines = [f"## {asked(name)} {{ #{name} }}\n", '<div class="card" markdown>\n', f"`{name}`\n"]
    if drawn := drawing(name):
        lines.append(f"![{drawn[0]}](gallery/{name}.png)\n")
    lines += [f"- {sentence}" for sentence in answer(m)]
    lines.append("")
    if table := verdicts_table(name):
        n = Counter(one.verdict for one in m.verdicts)
        counts = ", ".join(f"{n[verdict]} {verdict}" for verdict in sorted(n, key=VERDICTS.index))
        inside = "\n".join(f"    {line}" for line in table.splitlines())
        lines.append(f'??? abstract "{counted(len(m.verdicts), "claim")}: {counts}"\n\n{inside}\n')
    lines += ["Trained by\n", commands_of(name), f"{page_command(name)} makes its report.\n", "</div>\n"]
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {"gallery.md": gallery}
