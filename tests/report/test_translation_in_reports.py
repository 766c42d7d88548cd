"""Reports of translations: ours beside the published ones, and beside their references. CPU, 3 s."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ablate.analysis.published_translation import PAIRS_SHA256
from ablate.report import plots, write_report
from ablate.report.answer import answer
from ablate.report.contents import sheets
from ablate.report.material import Material
from ablate.report.protocol import deviations
from ablate.report.samples import samples
from tests.report.made_tasks import add, gathered, of_task


@pytest.fixture
def translation(tmp_path: Path) -> Material:
    """The published experiment with other seeds."""
    setting = of_task("translation", num_hiddens=32, layers=2, dropout=0.1, init="xavier", num_steps=10, batch_size=64)
    setting |= {"lr": 0.005, "clip": 0.037, "epochs": 300}
    setting["task"] |= {"context": "as-published"}
    setting["data"] |= {"name": "fra_eng", "tokens": "word", "cleaning": "keep"}
    setting["optimizer"] |= {"name": "adam", "lr": 0.005}
    told = {"text": {"go .": "va !", "i lost .": "je <unk> ."}}
    told |= {"references": {"go .": "va !", "i lost .": "j'ai perdu ."}}
    for seed in range(3):
        scores = {"accuracy": 0.99, "course_bleu": 0.8 + 0.1 * seed, "course_loss": 0.018 + 0.001 * seed}
        add(tmp_path, setting, seed, 1.2, PAIRS_SHA256, **scores, **told)
    return gathered(tmp_path)


def test_the_published_translation_stands_beside_ours(translation: Material) -> None:
    sheet = sheets(translation)["settings"]()
    rows = [dict(zip([column.heading for column in sheet.columns], row, strict=True)) for row in sheet.rows]
    assert [row["whose"] for row in rows] == ["published", "here"]
    assert (rows[0]["course loss"], rows[0]["course BLEU"]) == ("0.02", "3 of 4 at 1")
    assert rows[1]["course BLEU"] == "0.900 (0.652–1.000)"  # ± 4.303 · 0.1 / √3, and no more than 1
    assert rows[1]["ratio"] == "0.949"  # (0.018 · 0.019 · 0.020)^⅓ / 0.02
    said = " ".join(deviations(translation))
    assert "3 seeds instead of 1." in said
    [loss] = [line for line in answer(translation) if "0.02, ours" in line]
    # t[2 df] = 4.303, of logarithms with a standard deviation of 0.0527: 0.0190 · exp(± 4.303 · 0.0527 / √3)
    assert re.search(r"\b0\.02, ours 0\.0190 \(0\.0167–0\.0216\);", loss)


@pytest.mark.full
def test_what_ties_or_is_not_told_apart_is_named(tmp_path: Path) -> None:
    """Two contexts of the very same networks, and a wider one that no test tells from them."""
    scores = {("as-published", 8): 0.0, ("constant", 8): 0.0, ("constant", 16): 0.04, ("constant", 32): 0.9}
    for (context, hidden), more in scores.items():
        setting = of_task("translation", num_hiddens=hidden, **{"data.name": "number_pairs"})
        setting["task"]["context"] = context
        for seed in range(4):
            add(tmp_path, setting, seed, 1.2 + 0.1 * seed + more, "0" * 64, course_bleu=0.5)
    lines = answer(gathered(tmp_path))
    [said] = [line for line in lines if line.startswith("Lowest tail perplexity")]
    best, tied, near = said.split(";")
    assert re.search(r"gru, num_hiddens=8, context=as-published .*\b1\.35 \(.*\bn = 4\b", best)
    assert re.search(r"^ tied .*gru, num_hiddens=8, context=constant$", tied)
    assert re.search(r"gru, num_hiddens=16, context=constant \(1\.39 \(1\.19–1\.61\)\)", near)
    assert "num_hiddens=32" not in said  # 2.2 against 1.35
    assert any("selection bias" in line for line in lines)


@pytest.mark.parametrize(
    "other",
    [
        {"task": {"context": "constant"}},
        *(pytest.param(other, marks=pytest.mark.full) for other in ({"epochs": 200}, {"clip": 1.0})),
    ],
    ids=str,
)
def test_a_translation_of_another_protocol_has_no_published_value(translation: Material, other: dict[str, Any]) -> None:
    [record] = [json.loads(path.read_text()) for path in sorted((translation.folder / "runs").glob("*.json"))[:1]]
    setting = {name: value for name, value in record["config"].items() if name != "seed"}
    setting |= other | {"task": setting["task"] | other.get("task", {})}
    add(translation.folder, setting, 0, 1.2, PAIRS_SHA256, course_bleu=0.5, course_loss=0.03)
    both = gathered(translation.folder)
    assert len(both.settings) == 2
    assert len(both.published) == 1


def test_other_translations_have_no_published_counterpart(tmp_path: Path) -> None:
    setting = of_task("translation", num_hiddens=64, **{"data.name": "number_pairs"})
    for seed in range(2):
        add(tmp_path, setting, seed, 1.2, "0" * 64, course_bleu=0.5)
    said = deviations(gathered(tmp_path))
    assert len(said) == 1
    assert "published translation" in said[0]


def test_translations_stand_beside_their_references(translation: Material) -> None:
    [sample] = samples(translation)
    assert sample.who == "gru (seed 1, course BLEU 0.9)"  # of three that end alike, the middle one
    assert sample.texts == [
        ("go .", " → va ! (as the reference)"),
        ("i lost .", " → je <unk> . (reference: j'ai perdu .)"),
    ]


@pytest.mark.full
def test_one_change_at_a_time_is_shown_in_rows(tmp_path: Path) -> None:
    """Against num_hiddens two of three settings would be a single point."""
    for changed in ({"num_hiddens": 16}, {"num_hiddens": 32}, {"dropout": 0.3}, {"layers": 2}):
        setting = of_task("translation", **{"data.name": "number_pairs", "num_hiddens": 32} | changed)
        for seed in range(3):
            add(tmp_path, setting, seed, 1.2 + 0.1 * seed, "0" * 64, course_bleu=0.5)
    m = gathered(tmp_path)
    figure = plots.by_value(m.runs, m.settings, m.swept)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["num_hiddens=16", "num_hiddens=32"]
    assert not any(panel.get_xlabel().startswith("num_hiddens") for panel in figure.axes)


@pytest.mark.full
def test_figures_wrap_where_measures_are_many(tmp_path: Path) -> None:
    for hidden in (16, 32, 64):
        setting = of_task("translation", num_hiddens=hidden, **{"data.name": "number_pairs"})
        for seed in range(3):
            add(tmp_path, setting, seed, 1.2 + hidden / 100, "0" * 64, course_bleu=0.5, bleu=40.0 + seed)
    m = gathered(tmp_path)
    figure = plots.by_value(m.runs, m.settings.assign(repeats_course=True), m.swept)
    labels = [" ".join(panel.get_ylabel().split()) for panel in figure.axes]
    assert labels == [
        "BLEU of held-out pairs",
        "course BLEU, sentences shown",
        "training perplexity (last epoch) of target words",
        "held-out perplexity of target words",
    ]
    assert figure.axes[0].get_ylim() == pytest.approx((-1.5, 51.5))  # from 0 to 50: BLEUs are up to 42
    rows = {round(panel.get_subplotspec().rowspan.start) for panel in figure.axes}
    assert rows == {0, 1}


@pytest.mark.full
def test_what_the_course_measures_is_shown_only_beside_what_it_published(
    translation: Material, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The course's BLEU and loss are columns of a sweep that repeats the course, and of no other."""
    other = tmp_path_factory.mktemp("other")
    setting = of_task("translation", num_hiddens=64, **{"data.name": "number_pairs"})
    for seed in range(2):
        add(other, setting, seed, 1.2, "0" * 64, accuracy=0.9, course_bleu=0.5, course_loss=0.1)
    for material, shown in ((translation, True), (gathered(other), False)):
        headings = {column.heading for column in sheets(material)["settings"]().columns}
        assert ({"course BLEU", "course loss"} <= headings) == shown
        assert "accuracy" in headings


@pytest.mark.full
def test_the_whole_report(translation: Material, capsys: pytest.CaptureFixture[str]) -> None:
    page = write_report(translation.folder)
    assert "could not be made" not in capsys.readouterr().err
    text = (translation.folder / "report.html").read_text(encoding="utf-8")
    assert "per target word divided by num_steps" in text
    assert page.settings == len(translation.settings)
