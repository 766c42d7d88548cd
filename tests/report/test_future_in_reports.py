"""Reports of what sees the future: never the best, and marked wherever it stands. CPU, 3 s."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.text import Text

from ablate.claims import Frames, evaluate, read_claims, verdicts_frame
from ablate.config.schema import CONFIG_ROOT
from ablate.report import plots, write_report
from ablate.report.answer import answer
from ablate.report.blocks import Attempts
from ablate.report.claim_cards import cards
from ablate.report.contents import sheets, wanted
from ablate.report.material import Material
from ablate.report.samples import samples
from ablate.report.wording import DAGGER, FUTURE_NOTE
from tests.report.made import config
from tests.report.made_tasks import SEEDS, add, gathered, texts


@pytest.fixture
def future(tmp_path: Path) -> Material:
    """A language model that reads both ways has the lowest perplexity by far."""
    for both in (False, True):
        setting = config("lstm", **{"model.bidirectional": both, "sampling": "random"})
        for seed in range(SEEDS):
            add(tmp_path, setting, seed, 1.1 + 0.01 * seed if both else 6.0 + 0.1 * seed, sees_future=both or None)
    return gathered(tmp_path)


def test_what_sees_the_future_is_never_the_best(future: Material) -> None:
    said = answer(future)
    assert any(line.startswith("Lowest tail perplexity: lstm, bidirectional=false") for line in said)
    assert not any("bidirectional=true" in line for line in said if line.startswith("Lowest"))
    assert any(re.search(rf"^1 setting .*\({DAGGER}\) .*not ranked", line) for line in said)
    [warning] = [warning.text for warning in future.warnings if warning.kind == "sees the future"]
    assert re.search(r"\b1 of 2 settings, .*bidirectional=true", warning)


@pytest.mark.full
def test_what_sees_the_future_has_a_dagger_everywhere(future: Material) -> None:
    for name in ("settings", "spread", "comparisons", "effects"):
        sheet = sheets(future)[name]()
        marked = [row for row in sheet.rows if any(DAGGER in setting for setting in row)]
        assert marked, name
        assert all(f"true {DAGGER}" in row for row in marked), name
        assert FUTURE_NOTE in sheet.notes, name
    assert sheets(future)["settings"]().data["sees_future"].tolist() == [False, True]
    for name in ("by_value", "curves"):
        texts = " ".join(text.get_text() for text in wanted(future)[name][1]().findobj(Text))
        assert f"bidirectional=true {DAGGER}" in " ".join(texts.split())
        assert "sees the future" in " ".join(texts.split())
    assert {DAGGER in sample.who for sample in samples(future)} == {False, True}


def test_what_is_claimed_of_it_has_a_dagger_too(future: Material) -> None:
    assert future.verdicts == []  # of a sweep without a preset: no shipped claim judges it
    claims = {claim.id: claim for claim in read_claims(CONFIG_ROOT / "sweeps" / "claims" / "bidirectional.yaml")}
    (seen,) = evaluate(Frames(future.runs), [claims["bidirectional-useless"]])
    assert seen.fact
    future.verdicts.append(seen)
    future.verdicts.append(replace(seen, statement="Another claim.", sees_future=False))
    sheet = sheets(future)["verdicts"]()
    assert [row[0] for row in sheet.rows if DAGGER in row[0]] == [f"{seen.statement} {DAGGER}"]
    assert FUTURE_NOTE in sheet.notes
    noted = [card.statement for card in cards(future) if FUTURE_NOTE in card.details]
    assert noted == [f"{seen.statement} {DAGGER}"]
    figure = plots.verdicts(verdicts_frame(future.verdicts))
    drawn = " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
    assert f"{seen.statement} {DAGGER}" in drawn
    assert f"Another claim. {DAGGER}" not in drawn
    assert FUTURE_NOTE in drawn


def test_what_it_does_to_an_average_is_noted(future: Material) -> None:
    [said] = [line for line in answer(future) if "of the variance" in line]
    assert f"is due to bidirectional {DAGGER}; " in said
    assert said.endswith(FUTURE_NOTE)
    variance = sheets(future)["variance"]()
    assert [row[0] for row in variance.rows] == [f"bidirectional {DAGGER}", "seed", "residual"]
    assert FUTURE_NOTE in variance.notes
    drawn = texts(wanted(future)["variance"][1]())
    assert f"bidirectional {DAGGER}" in drawn
    assert FUTURE_NOTE in drawn
    [row] = sheets(future)["comparisons"]().rows
    headings = [column.heading for column in sheets(future)["comparisons"]().columns]
    assert row[headings.index("P(better)")] == "–"


def test_a_front_leaves_out_what_sees_the_future(future: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate.report import material

    seen = []
    monkeypatch.setattr(material, "pareto", lambda settings, metric: seen.append(settings["bidirectional"].tolist()))
    monkeypatch.setattr(Material, "timed", property(lambda m: True))
    material._analyse(future, Attempts(lambda line: pytest.fail(line)))
    assert seen == [[False]]


@pytest.mark.full
def test_the_whole_report(future: Material, capsys: pytest.CaptureFixture[str]) -> None:
    page = write_report(future.folder)
    assert "could not be made" not in capsys.readouterr().err
    text = (future.folder / "report.html").read_text(encoding="utf-8")
    assert FUTURE_NOTE in text
    assert page.settings == len(future.settings)
