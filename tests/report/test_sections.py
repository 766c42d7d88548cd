"""Sections and figures of a person's own on the page; what fails in one costs no other. CPU, 3 s."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.config.errors import ConfigError
from ablate.config.registry import FIGURES, TASKS, Registry, scoped, snapshot
from ablate.report.blocks import Attempts, Bullets
from ablate.report.contents import sections, sheets, wanted
from ablate.report.figures import SHIPPED, by_value_figure
from ablate.report.material import Material, gather
from ablate.report.page import build
from ablate.report.regenerate import commands
from ablate.report.sections import Section
from tests.report.made import config, write_sweep

FILE = Path(__file__).name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = [config("gru", num_hiddens=hidden) for hidden in (32, 64)]
    return write_sweep(tmp_path_factory.mktemp("sections") / "sweep", settings, seeds=2, epochs=3, timed=False)


@pytest.fixture
def m(folder: Path) -> Iterator[Material]:
    said: list[str] = []
    with scoped():
        yield gather(folder, Attempts(said.append))


def test_a_figure_names_every_knob_that_it_is_drawn_against(m: Material) -> None:
    several = replace(m, factors=[("layers",), ("lr", "epochs"), ("batch_size",)])
    for one, knobs in ((m, "num_hiddens"), (several, "layers, lr + epochs (confounded) and batch_size")):
        assert by_value_figure(one)["by_value"][0].endswith(f" against {knobs}.")


def test_the_commands_are_of_the_folder_that_they_write(m: Material) -> None:
    assert dict(commands(m))["This report, its tables and figures"] == "python -m ablate report results/sweep"
    for typed, where in (("out/now", "out/now/sweep"), ("'\"a b\"'", "'a b/sweep'"), ("/scratch", "/scratch/sweep")):
        m.manifest["commands"] = ["python -m ablate lr=1,2", f"python -m ablate lr=3 results_dir={typed}"]
        made = dict(commands(m))
        assert made["Tokens per second, on this machine"] == f"python -m ablate bench {where}"
        assert made["This report, its tables and figures"] == f"python -m ablate report {where}"


def parts(m: Material) -> dict[str, Any]:
    made = {name: made for name, make in sheets(m).items() if (made := m.attempt(name, make)) is not None}
    return {part.name: part for part in build(m, made, {}).sections}


def with_section(m: Material, monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    section = Section(**({"name": "own", "title": "Own", "applies": lambda m: True} | facts))
    monkeypatch.setattr("ablate.report.sections.each_task", lambda settings: [Named((section,))])


class Named:
    def __init__(self, sections: tuple[Any, ...]) -> None:
        self.sections = sections


def fails(*_: Any) -> Any:
    raise KeyError("nowhere")


def fails_late(*_: Any) -> Iterator[Any]:
    yield fails()


SOMETHING = {"blocks": lambda m, made: [Bullets(["Own words."])]}


@pytest.mark.full
@pytest.mark.parametrize(
    ("facts", "places"),
    [
        ({"applies": fails}, True),
        ({"applies": lambda m: m.nothing}, True),
        ({"applies": lambda m: Path("/nowhere/at/all").read_text()}, True),
        ({"tables": fails}, True),
        ({"tables": lambda m: {"own": fails}}, True),
        ({"tables": lambda m: 5}, False),
        ({"figures": fails}, True),
        ({"figures": lambda m: {"own": fails}}, False),
        ({"sentences": fails}, True),
        ({"sentences": fails_late}, True),
        ({"notes": fails}, True),
        ({"blocks": fails}, True),
        ({"blocks": fails_late}, True),
        ({"blocks": lambda m, made: ["a text"]}, False),
        (SOMETHING | {"title": fails}, True),
    ],
)
def test_what_fails_in_a_section_is_one_line_and_the_page_goes_on(
    m: Material, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], places: bool
) -> None:
    before = parts(m)
    assert m.attempt.failed == []
    with_section(m, monkeypatch, **facts)
    after = parts(m)
    [line] = m.attempt.failed
    assert "own" in line
    assert (f"{FILE}:" in line) == places
    assert set(before) <= set(after)
    assert any(line in said for said in after["warnings"].blocks[0].items)


def test_a_figure_whose_condition_fails_is_one_line(m: Material) -> None:
    ablate.figure("Own.", name="own", applies=fails)(lambda settings: None)
    assert "own" not in wanted(m)
    assert "by_value" in wanted(m)
    [line] = m.attempt.failed
    assert "the figure own" in line
    assert f"{FILE}:" in line
    assert "nowhere" in line


def test_a_figure_of_ones_own_stands_where_it_says(m: Material) -> None:
    from ablate.report.blocks import Figure

    for name, section in (("one", "curves"), ("two", "no_such_section"), ("three", "figures")):
        ablate.figure("Own.", name=name, section=section)(lambda settings: None)
    figures = {name: Figure(name, caption, []) for name, (caption, _) in wanted(m).items()}
    page = build(m, {name: make() for name, make in sheets(m).items()}, figures)
    where = {block.name: part.name for part in page.sections for block in part.blocks if block.kind == "figure"}
    assert (where["one"], where["two"], where["three"]) == ("curves", "figures", "figures")
    assert (where["by_value"], where["curves"]) == ("answer", "curves")


def test_a_section_that_no_report_has_is_one_line(m: Material) -> None:
    """But not one that this sweep does not have and another one has."""
    for name, section in (("one", "curvs"), ("two", "search"), ("three", "figures")):
        ablate.figure("Own.", name=name, section=section)(lambda settings: None)
    assert {"one", "two", "three"} <= wanted(m).keys()
    [line] = m.attempt.failed
    assert line.startswith("the figure one has section='curvs', which no report has, and stands among the further")
    assert line.endswith("did you mean curves?")
    wanted(m)
    assert len(m.attempt.failed) == 1


def test_a_figure_without_parentheses_takes_its_caption_from_the_docstring(m: Material) -> None:
    @ablate.figure
    def own(settings: Any) -> None:
        """What there is.

        More.
        """

    assert wanted(m)["own"][0] == "What there is."


def test_a_figure_of_ones_own_cannot_take_the_name_of_ours(m: Material) -> None:
    with pytest.raises(ConfigError, match="there is a figure 'curves' already"):
        ablate.figure("Own.", name="curves")(lambda settings: None)


def test_ours_are_in_the_registry_and_stay_when_something_is_taken_away() -> None:
    restore = snapshot()
    assert {one.name for one in SHIPPED} <= set(FIGURES.names)
    restore()
    assert {one.name for one in SHIPPED} <= set(FIGURES.names)
    assert FIGURES in Registry.every


def test_a_section_of_blocks(m: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    with_section(m, monkeypatch, blocks=lambda m, made: [Bullets(["Own words."])])
    after = parts(m)
    assert after["own"].blocks == [Bullets(["Own words."])]
    assert [one.name for one in sections(m)].index("own") == 1 + [one.name for one in sections(m)].index("results")


@pytest.mark.full
def test_a_figure_that_fails_in_another_process_tells_its_line(m: Material, tmp_path: Path) -> None:
    from ablate.report.drawn import drawing

    @ablate.figure("Own.")
    def own(settings: Any) -> Any:
        return settings["nothing at all"]

    with drawing(m, tmp_path) as drawn:
        assert "curves" in drawn()
    [line] = m.attempt.failed
    assert "the figure own" in line
    assert f"{FILE}:" in line


def test_tasks_name_sections_that_are_such() -> None:
    from ablate.config.registry import resolved

    named: list[Any] = [resolved(one) for task in TASKS for one in task.sections]
    assert named
    assert all(isinstance(one, Section) for one in named)
