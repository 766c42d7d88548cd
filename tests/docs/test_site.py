"""The site builds strictly, without the network, and its reference is whole.

The build needs mkdocs (`pip install .[docs]`). CPU, 1 min.
"""

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from generating import console, documents, reference
from generating.tables import cell, words
from pygments.lexers import get_lexer_by_name
from pygments.token import Token

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
def test_the_site_builds_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not all(map(find_spec, ("mkdocs", "material", "mkdocstrings", "latex2mathml"))):
        pytest.skip("needs mkdocs-material, mkdocstrings and latex2mathml: pip install '.[docs]'")
    import warnings

    monkeypatch.chdir(CONFIG_ROOT)  # which the files that pages show are named from
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
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert [str(page) for page, text in zip(pages, texts, strict=True) if fetched.search(text)] == []
    assert (tmp_path / "site" / "search" / "search_index.js").exists()  # read where pages are opened from a disk
    assert all('iframe-worker.js">' in text for text in texts)
    kinds = set(re.findall(r"th\.(\w+)", (CONFIG_ROOT / "docs" / "site.css").read_text(encoding="utf-8")))
    assert kinds == {"numbers", "verdicts"}
    for kind in kinds:  # which Markdown has from a heading, and would show as words where it is not its end
        assert any(re.search(f'<th[^>]* class="{kind}"', text) for text in texts)
        assert not any(f"{{ .{kind} }}" in text for text in texts)


def test_every_metric_says_what_it_is() -> None:
    assert [metric.name for metric in METRICS if not reference.meaning(metric)] == []


def test_what_a_person_reads_in_a_comment_is_read_on_the_page() -> None:
    """Markdown takes `{…}` at the end of a cell for attributes, and aligned lines for a paragraph."""
    assert cell("any other resource: {a100: 1}") == "any other resource: \\{a100: 1}"
    assert cell(words("options: {a100: 1}, see num_steps | `{b}`")) == "options: `{a100: 1}`, see `num_steps` \\| `{b}`"
    assert words("H = φ(X W_xh), with device=cuda or --detach") == "H = φ(X W_xh), with `device=cuda` or `--detach`"
    for page in reference.PAGES:
        rows = [line for line in reference.PAGES[page]().splitlines() if line.startswith("| ")]
        outside_code = ["".join(row.split("`")[::2]) for row in rows]
        assert [row for row in outside_code if re.search(r"(?<!\\)\{", row)] == []


def test_aligned_lines_of_a_docstring_are_a_list() -> None:
    pytest.importorskip("griffe")
    from generating.docstrings import listed

    text = "Trains.\n\nname     the folder\nreport   draws\n         the page\n\nRaises  two spaces\nin a sentence."
    whole = "Trains.\n\n- `name`: the folder\n- `report`: draws the page\n\nRaises  two spaces\nin a sentence."
    assert listed(text) == whole


def test_of_a_console_block_only_commands_have_a_prompt() -> None:
    console.dollar_alone()
    shown = "$ ablate path\n% of the way\n# of runs\nrnn@16: 5 % of it\n$ ablate plan\n"
    prompts = [text for kind, text in get_lexer_by_name("console").get_tokens(shown) if kind is Token.Generic.Prompt]
    assert prompts == ["$ ", "$ "]


def test_every_entry_of_the_lab_book_is_on_its_page() -> None:
    book, page = documents.page_of("results/LOG.md"), documents.lab_book()
    titles = re.findall(r"^## \d{4}-\d\d-\d\d · (.+)$", book, re.MULTILINE)
    assert len(titles) == book.count("\n## ") > 50
    assert re.findall(r"^    ### (.+)$", page, re.MULTILINE) == titles
    assert Counter(page.split()) >= Counter(re.sub(r"^## \S+ · ", "", book, flags=re.MULTILINE).split())
