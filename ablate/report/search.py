"""The sections of a search's page."""

from functools import partial
from pathlib import Path

from ablate.analysis.tasks import facts_of
from ablate.config.shell import command_line
from ablate.report.blocks import Block, Commands
from ablate.report.material import Material
from ablate.report.search_sheets import search_sheets, suffixed
from ablate.report.sections import Made, Section, Tables


def typed(folder: Path) -> Path:
    """A folder as it can be typed where the report was made."""
    try:
        return folder.resolve().relative_to(Path.cwd())
    except ValueError:
        return folder.resolve()


def is_search(m: Material) -> bool:
    return m.search is not None


def _tables(m: Material, begins: str) -> Tables:
    """Those of a search whose names begin so."""
    made = {} if m.search is None else search_sheets(m.search, m.searched, facts_of(m.settings).words)
    return {name: make for name, make in made.items() if name.startswith(begins)}


def _of_each(m: Material, made: Made, *names: str) -> list[Block]:
    """For each objective these figures and tables."""
    assert m.search is not None
    return made.of(*(suffixed(name, objective, m.search) for objective in m.search.objectives for name in names))


def _winner(m: Material, made: Made) -> list[Block]:
    """The winner, how to train it, and how it was found."""
    best: list[Block] = []
    if (m.folder / "best.yaml").is_file():
        again = command_line("--config-dir", typed(m.folder), "--config-name", "best")
        best = [Commands([("Train the best configuration again", again)])]
    return [
        *made.of("finalists"),
        *best,
        *made.of("search_front"),
        *_of_each(m, made, "search_history"),
        *made.within,
        *_others(made, "finalists", "search_front", "search_history"),
    ]


def _configurations(m: Material, made: Made) -> list[Block]:
    ours = _of_each(m, made, "search_parallel", "search_slices")
    return [*ours, *made.within, *_others(made, "search_parallel", "search_slices")]


def _others(made: Made, *begins: str) -> list[Block]:
    """What a person has added."""
    return made.of(*(name for name in made.names if not name.startswith(begins)))


SEARCHED = (
    Section("search", "Search", is_search, tables=partial(_tables, begins="finalists"), blocks=_winner),
    Section("deciding", "Which knobs decide", is_search, tables=partial(_tables, begins="search_importance")),
    Section("configurations", "Configurations", is_search, blocks=_configurations),
    Section(
        "trials",
        "Trials",
        is_search,
        tables=partial(_tables, begins="trials"),
        order=("trials", "search_timeline"),
    ),
)
"""The winner and how it was found; what decides; which configurations there were; every trial."""
