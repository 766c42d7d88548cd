"""The site builds strictly, without the network, and its reference is whole.

The build needs mkdocs (`pip install .[docs]`). CPU, 1 min.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from generating import reference

from ablate.cli.commands import MODULES
from ablate.config.choice_files import choices
from ablate.config.knobs import knobs
from ablate.config.launchers import names as launcher_names
from ablate.config.metrics import METRICS
from ablate.config.registry import CELLS, DATASETS, OPTIMIZERS, SCHEDULES, TASKS, knobs_of
from ablate.config.schema import CONFIG_ROOT


@pytest.mark.parametrize("page", reference.PAGES)
def test_a_page_of_the_reference_can_be_made(page: str) -> None:
    made = reference.PAGES[page]()
    assert made.startswith("# ")
    for line in made.splitlines():
        assert not line.startswith("| ") or line.endswith(" |"), line


def test_the_reference_names_all_that_there_is() -> None:
    commands, of_knobs = reference.commands_page(), reference.knobs_page()
    assert all(f"## ablate {name}\n" in commands for name in MODULES)
    common = [name for name in knobs() if "." not in name and not knobs()[name].is_group]
    assert [name for name in common if f"`{name}=" not in of_knobs and name != "prefixes"] == []
    pages = {
        reference.cells_page: (*CELLS.names, *choices("model")),
        reference.tasks_page: (*TASKS.names, *METRICS.names),
        reference.data_page: DATASETS.names,
        reference.optimizers_page: (*OPTIMIZERS.names, *SCHEDULES.names),
        reference.presets_page: tuple(choices("sweeps")),
        reference.launchers_page: launcher_names(),
    }
    for page, named in pages.items():
        made = page()
        assert [name for name in named if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", made)] == []


def test_own_knobs_stand_with_their_things() -> None:
    pages = ((CELLS, reference.cells_page), (TASKS, reference.tasks_page), (OPTIMIZERS, reference.optimizers_page))
    for registry, page in pages:
        made = page()
        assert [knob.name for thing in registry for knob in knobs_of(thing) if f".{knob.name}=" not in made] == []


@pytest.mark.full
def test_the_site_builds_strictly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if not all(map(find_spec, ("mkdocs", "material", "mkdocstrings", "latex2mathml"))):
        pytest.skip("needs mkdocs-material, mkdocstrings and latex2mathml: pip install '.[docs]'")
    import warnings

    with warnings.catch_warnings():  # of libraries; what mkdocs has to say of the pages, it logs
        warnings.simplefilter("ignore")
        from mkdocs.commands.build import build
        from mkdocs.config import load_config

        config = load_config(str(CONFIG_ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site"))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 50
    fetched = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:)?//')
    assert [str(page) for page in pages if fetched.search(page.read_text(encoding="utf-8"))] == []
