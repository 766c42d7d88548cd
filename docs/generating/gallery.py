"""The gallery: a card for each committed sweep, with its question, figure, answer, verdicts and command."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from io import BytesIO

from ablate.report.answer import answer
from ablate.report.contents import wanted
from ablate.report.drawn import MAIN
from ablate.report.plots.style import styled
from generating.sweeps import commands_of, folders, material, page_command, verdicts_table

DPI = 110


@cache
def figures() -> dict[str, bytes]:
    """Path below docs/ → PNG of the main figure of each sweep."""
    made = {}
    for folder in folders():
        m = material(folder.name)
        drawings = wanted(m)
        name = next((one for one in MAIN if one in drawings), None)
        if name is not None:
            with styled(m.heading):
                buffer = BytesIO()
                drawings[name][1]().savefig(buffer, format="png", dpi=DPI)
            made[f"gallery/{folder.name}.png"] = buffer.getvalue()
    return made


def gallery() -> str:
    parts = [
        "# Gallery\n",
        "A card for each sweep whose records come with `ablate`, in `results/`: its question, its main figure, what "
        "came out, the verdicts, and the command that trained it. The cards are made from the records when the site is "
        "built. The command at the end of a card makes its report, with all tables, figures and warnings.\n",
    ]
    for folder in folders():
        parts.append(card(folder.name))
    return "\n".join(parts)


def card(name: str) -> str:
    m = material(name)
    lines = [f"## {name}\n", '<div class="card" markdown>\n', f"**{m.question}**\n"]
    if f"gallery/{name}.png" in figures():
        lines.append(f"![{m.question}](gallery/{name}.png)\n")
    lines += [f"- {sentence}" for sentence in answer(m)]
    lines.append("")
    if table := verdicts_table(name):
        counts = ", ".join(f"{n} {verdict}" for verdict, n in Counter(one.verdict for one in m.verdicts).items())
        inside = "\n".join(f"    {line}" for line in table.splitlines())
        lines.append(f'??? abstract "{len(m.verdicts)} claims: {counts}"\n\n{inside}\n')
    lines += ["Trained by\n", commands_of(name), f"Its report: {page_command(name)}\n", "</div>\n"]
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {"gallery.md": gallery}
